"""Configuration of the data_quality library: one strict pydantic model per concept, importable in milliseconds."""

from data_quality.config.base import (
    StrictModel,
)
from data_quality.config.classifier import (
    ClassifierConfig,
    Selection,
)
from data_quality.config.custom import (
    CustomSignal,
)
from data_quality.config.decontaminate import (
    BenchmarkConfig,
    DecontaminateConfig,
)
from data_quality.config.dedupe import (
    DedupeConfig,
    ExactDedupeConfig,
    KeepConfig,
    NearDedupeConfig,
    SignatureConfig,
)
from data_quality.config.dedupe_presets import (
    PRESETS,
)
from data_quality.config.gates import (
    GatesConfig,
)
from data_quality.config.labelled import (
    LabelledClass,
    LabelledConfig,
)
from data_quality.config.language import (
    LanguageConfig,
)
from data_quality.config.line_edits import (
    C4LineEdits,
    RefinedWebLineEdits,
)
from data_quality.config.lines import (
    BOILERPLATE_PRESETS,
    BoilerplateConfig,
    LineTableConfig,
)
from data_quality.config.lists import (
    BadWordList,
    BadWordsConfig,
    DocumentList,
    ListFile,
    UrlLists,
)
from data_quality.config.mixture import (
    FINEWEB2_REHYDRATION,
    FamilyWeight,
    MixtureConfig,
)
from data_quality.config.normalize import (
    NormalizeConfig,
)
from data_quality.config.perplexity import (
    PerplexityConfig,
)
from data_quality.config.pii import (
    PiiConfig,
)
from data_quality.config.quality import (
    QualityConfig,
    SignalsConfig,
)
from data_quality.config.sources import (
    ArchiveSource,
    ColumnSource,
    CsvSource,
    DocxSource,
    EpubSource,
    FileSource,
    HtmlExtraction,
    HtmlSource,
    HuggingFaceSource,
    IngestConfig,
    JsonlSource,
    MailSource,
    MediaWikiSource,
    ParquetSource,
    PdfSource,
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
from data_quality.config.substring import (
    SubstringConfig,
    WindowConfig,
)
from data_quality.config.url import (
    UrlDedupeConfig,
    UrlFormConfig,
)

__all__ = [
    "BOILERPLATE_PRESETS",
    "FINEWEB2_REHYDRATION",
    "PRESETS",
    "ArchiveSource",
    "BadWordList",
    "BadWordsConfig",
    "BenchmarkConfig",
    "BoilerplateConfig",
    "C4LineEdits",
    "ClassifierConfig",
    "ColumnSource",
    "CsvSource",
    "CustomSignal",
    "DecontaminateConfig",
    "DedupeConfig",
    "DocumentList",
    "DocxSource",
    "EpubSource",
    "ExactDedupeConfig",
    "FamilyWeight",
    "FileSource",
    "GatesConfig",
    "HtmlExtraction",
    "HtmlSource",
    "HuggingFaceSource",
    "IngestConfig",
    "JsonlSource",
    "KeepConfig",
    "LabelledClass",
    "LabelledConfig",
    "LanguageConfig",
    "LineTableConfig",
    "ListFile",
    "MailSource",
    "MediaWikiSource",
    "MixtureConfig",
    "NearDedupeConfig",
    "NormalizeConfig",
    "ParquetSource",
    "PdfSource",
    "PerplexityConfig",
    "PiiConfig",
    "PythonDocsSource",
    "QualityConfig",
    "RefinedWebLineEdits",
    "Selection",
    "ShardConfig",
    "SignalsConfig",
    "SignatureConfig",
    "SourceBase",
    "SourceConfig",
    "SplitConfig",
    "StrictModel",
    "SubstringConfig",
    "TextSource",
    "UrlDedupeConfig",
    "UrlFormConfig",
    "UrlLists",
    "WarcSource",
    "WindowConfig",
]
