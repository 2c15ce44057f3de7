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
from data_quality.config.language import (
    LanguageConfig,
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
    HuggingFaceSource,
    IngestConfig,
    JsonlSource,
    ParquetSource,
    PythonDocsSource,
    ShardConfig,
    SourceBase,
    SourceConfig,
    TextSource,
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
    "HuggingFaceSource",
    "IngestConfig",
    "JsonlSource",
    "KeepConfig",
    "LabelledClass",
    "LabelledConfig",
    "LanguageConfig",
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
]
