"""Configuration of the data_quality library: one strict pydantic model per concept, importable in milliseconds."""

from data_quality.config.base import (
    StrictModel,
)
from data_quality.config.dedupe import (
    DedupeConfig,
    ExactDedupeConfig,
    KeepConfig,
    NearDedupeConfig,
    SignatureConfig,
)
from data_quality.config.labelled import (
    LabelledClass,
    LabelledConfig,
)
from data_quality.config.normalize import (
    NormalizeConfig,
)
from data_quality.config.quality import (
    C4LineEdits,
    QualityConfig,
    SignalsConfig,
)
from data_quality.config.sources import (
    ColumnSource,
    CsvSource,
    FileSource,
    HtmlExtraction,
    HtmlSource,
    HuggingFaceSource,
    IngestConfig,
    JsonlSource,
    MailSource,
    MediaWikiSource,
    ParquetSource,
    PythonDocsSource,
    ShardConfig,
    SourceBase,
    SourceConfig,
    TextSource,
    WarcSource,
)
from data_quality.config.split import (
    SplitConfig,
)

__all__ = [
    "C4LineEdits",
    "ColumnSource",
    "CsvSource",
    "DedupeConfig",
    "ExactDedupeConfig",
    "FileSource",
    "HtmlExtraction",
    "HtmlSource",
    "HuggingFaceSource",
    "IngestConfig",
    "JsonlSource",
    "KeepConfig",
    "LabelledClass",
    "LabelledConfig",
    "MailSource",
    "MediaWikiSource",
    "NearDedupeConfig",
    "NormalizeConfig",
    "ParquetSource",
    "PythonDocsSource",
    "QualityConfig",
    "ShardConfig",
    "SignalsConfig",
    "SignatureConfig",
    "SourceBase",
    "SourceConfig",
    "SplitConfig",
    "StrictModel",
    "TextSource",
    "WarcSource",
]
