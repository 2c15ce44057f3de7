"""Configuration of the data_quality library: one strict pydantic model per concept, importable in milliseconds."""

from data_quality.config.base import (
    StrictModel,
)
from data_quality.config.custom import (
    CustomSignal,
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
from data_quality.config.line_edits import (
    C4LineEdits,
    RefinedWebLineEdits,
)
from data_quality.config.lists import (
    BadWordList,
    BadWordsConfig,
    DocumentList,
    ListFile,
    UrlLists,
)
from data_quality.config.normalize import (
    NormalizeConfig,
)
from data_quality.config.quality import (
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
    "BadWordList",
    "BadWordsConfig",
    "C4LineEdits",
    "ColumnSource",
    "CsvSource",
    "CustomSignal",
    "DedupeConfig",
    "DocumentList",
    "ExactDedupeConfig",
    "FileSource",
    "HuggingFaceSource",
    "IngestConfig",
    "JsonlSource",
    "KeepConfig",
    "LabelledClass",
    "LabelledConfig",
    "ListFile",
    "NearDedupeConfig",
    "NormalizeConfig",
    "ParquetSource",
    "PythonDocsSource",
    "QualityConfig",
    "RefinedWebLineEdits",
    "ShardConfig",
    "SignalsConfig",
    "SignatureConfig",
    "SourceBase",
    "SourceConfig",
    "SplitConfig",
    "StrictModel",
    "TextSource",
    "UrlLists",
]
