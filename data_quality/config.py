"""Configuration of the data_quality library: one strict pydantic model per concept, importable in milliseconds."""

import codecs
from typing import Annotated, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator


class StrictModel(BaseModel):
    """A frozen model that refuses unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


# --- sources ---------------------------------------------------------------------------------------------------------


class SourceBase(StrictModel):
    """What every source has: a name, what to do with bad input, and limits.

    ``SELECTION`` names the fields that only say *which* files are read. They are no part of a piece's key:
    the content of the files is.
    """

    SELECTION: ClassVar[frozenset[str]] = frozenset({"paths", "include", "exclude"})

    name: str = Field(
        pattern=r"^[^\s:#]+$",
        description="Prefix of the ids made from paths (`name:path#record`) and the default of the `source` "
        "column. Two sources may not share it.",
    )
    language: str | None = Field(None, description="Language code given to every document, when it is known.")
    on_bad_input: Literal["skip", "error"] = Field(
        "skip",
        description="`skip` records and counts a bad record or file and goes on; `error` stops at the first.",
    )
    max_record_bytes: int = Field(
        64 << 20,
        ge=1,
        le=512 << 20,
        description="A longer record is skipped without being held in memory. Bytes.",
    )


class FileSource(SourceBase):
    """A source made of files."""

    paths: tuple[str, ...] = Field(
        min_length=1,
        description="Files, directories (searched recursively), globs (`data/**/*.jsonl.zst`), local or as fsspec "
        "URIs (`s3://bucket/folder`).",
    )
    include: tuple[str, ...] = Field(
        (),
        description="Take only files whose path below the root matches one of these (`*` crosses `/`).",
    )
    exclude: tuple[str, ...] = Field((), description="Leave out files that match one of these patterns.")
    encoding: str = Field("utf-8", description="Character encoding of the files.")

    @field_validator("encoding")
    @classmethod
    def _known_encoding(cls, value: str) -> str:
        try:
            return codecs.lookup(value).name
        except LookupError:
            raise ValueError(f"unknown encoding {value!r}: use a name Python knows, such as utf-8 or gb18030") from None


class ColumnSource(StrictModel):
    """Which columns of a record become which fields of a document."""

    text_column: str = Field("text", description="Column that holds the text.")
    id_column: str | None = Field(
        None, description="Column that holds the document's own id. Without it the id is `name:path#record`."
    )
    source_column: str | None = Field(None, description="Column for `source`. Without it every record gets `name`.")
    language_column: str | None = Field(None, description="Column for `language`. Without it `language` is used.")
    metadata_columns: tuple[str, ...] = Field((), description="Columns kept in the document's `metadata`.")


class TextSource(FileSource):
    """Plain text and Markdown: `.txt`, `.md`, each also `.gz` and `.zst`."""

    format: Literal["text"]
    name: str = Field("text", pattern=r"^[^\s:#]+$", description="See `SourceBase.name`.")
    document: Literal["file", "line", "paragraph", "separator"] = Field(
        "file",
        description="What is one document: the file, a line, a block between blank lines, or what stands "
        "between two separators.",
    )
    separator: str = Field(
        "\n<|endoftext|>\n",
        min_length=1,
        description="The string between documents when `document: separator`.",
    )


class JsonlSource(FileSource, ColumnSource):
    """One JSON object a line: `.jsonl`, `.ndjson`, each also `.gz` and `.zst`."""

    format: Literal["jsonl"]
    name: str = Field("jsonl", pattern=r"^[^\s:#]+$", description="See `SourceBase.name`.")


class CsvSource(FileSource, ColumnSource):
    """Delimited tables (RFC 4180): `.csv`, `.tsv`, each also `.gz` and `.zst`."""

    format: Literal["csv"]
    name: str = Field("csv", pattern=r"^[^\s:#]+$", description="See `SourceBase.name`.")
    delimiter: str | None = Field(
        None, min_length=1, max_length=1, description="Without it: a tab for `.tsv`, a comma otherwise."
    )
    quote: str | None = Field(
        '"',
        min_length=1,
        max_length=1,
        description="Quote character; null when quotes are ordinary characters.",
    )
    columns: tuple[str, ...] | None = Field(
        None,
        description="Column names of a file without a header line. Without it the first line is the header.",
    )


class ParquetSource(FileSource, ColumnSource):
    """Parquet files, read row group by row group."""

    format: Literal["parquet"]
    name: str = Field("parquet", pattern=r"^[^\s:#]+$", description="See `SourceBase.name`.")


class HuggingFaceSource(SourceBase, ColumnSource):
    """A dataset read through the `datasets` library in streaming mode."""

    SELECTION: ClassVar[frozenset[str]] = frozenset({"data_files"})

    format: Literal["huggingface"]
    name: str = Field("huggingface", pattern=r"^[^\s:#]+$", description="See `SourceBase.name`.")
    dataset: str = Field(
        min_length=1,
        description="Id on the Hugging Face hub, a local directory, or a builder (`json`, `parquet`, ...).",
    )
    config_name: str | None = Field(None, description="Configuration (subset) of the dataset.")
    split: str = Field("train", description="Split to read.")
    revision: str | None = Field(
        None,
        description="Commit of a hub dataset. A full 40-digit commit is used as it is; a branch, a tag or nothing "
        "asks the hub at every run which commit that is now.",
    )
    data_files: tuple[str, ...] = Field((), description="Files for a builder such as `json`; paths or globs.")


class PythonDocsSource(SourceBase):
    """The docstrings of Python packages installed on this machine; nothing is imported."""

    SELECTION: ClassVar[frozenset[str]] = frozenset({"packages", "search_path", "include", "exclude"})

    format: Literal["python_docs"]
    name: str = Field("python-docs", pattern=r"^[^\s:#]+$", description="See `SourceBase.name`.")
    packages: Literal["all installed"] | tuple[str, ...] = Field(
        description="Import names or distribution names, or `all installed`."
    )
    include: tuple[str, ...] = Field((), description="Take only files whose `package/path` matches one of these.")
    exclude: tuple[str, ...] = Field(
        ("*/tests/*", "*/test/*", "*/_vendor/*"),
        description="Leave out files that match one of these patterns.",
    )
    minimum_characters: int = Field(
        1, ge=1, description="A file with fewer characters of docstring gives no document. Characters."
    )
    search_path: tuple[str, ...] = Field((), description="Directories to look in instead of `sys.path`.")


SourceConfig = Annotated[
    TextSource | JsonlSource | CsvSource | ParquetSource | HuggingFaceSource | PythonDocsSource,
    Field(discriminator="format"),
]


class ShardConfig(StrictModel):
    """Where a corpus is cut into shards (DESIGN, idea 2)."""

    max_rows: int = Field(50_000, ge=1, description="A shard never has more documents.")
    max_bytes: int = Field(64 << 20, ge=1, description="A shard is closed at this much text. UTF-8 bytes.")


class IngestConfig(StrictModel):
    """What is read and how it is cut. The order of `sources` and of files has no influence on the result."""

    sources: tuple[SourceConfig, ...] = Field(min_length=1, description="The inputs.")
    shards: ShardConfig = Field(ShardConfig(), description="Size of the document shards.")
    piece_bytes: int = Field(
        16 << 20,
        ge=1,
        description="Input files are grouped into pieces of about this size, the unit of work and of reuse. "
        "Bytes of input as stored.",
    )
    trust_mtime: bool = Field(
        True,
        description="Take a file's hash from the cache when size and modification time are unchanged. With false "
        "every file is read at every run.",
    )

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        names = [source.name for source in self.sources]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(
                f"two sources are named {', '.join(twice)}: give each a `name` of its own, since ids made from "
                "paths begin with it"
            )
        return self


# --- normalize -------------------------------------------------------------------------------------------------------


class NormalizeConfig(StrictModel):
    """Unicode and whitespace normalisation of document text."""

    fix_mojibake: bool = Field(
        True,
        description="Repair text decoded with the wrong encoding (ftfy). Only lines with suspect characters pay.",
    )
    unicode_form: Literal["NFC", "NFKC"] | None = Field(
        "NFC",
        description="NFC keeps full-width punctuation; NFKC folds it to ASCII, and ligatures to letters.",
    )
    max_blank_lines: int = Field(2, ge=0, description="Longer runs of blank lines are cut to this many.")
    drop_empty: bool = Field(True, description="Leave out documents with no text after normalisation.")


# --- dedupe ----------------------------------------------------------------------------------------------------------


class SignatureConfig(StrictModel):
    """What a MinHash signature is made of; a change recomputes every signature."""

    unit: Literal["word", "character"] = Field(
        default="word",
        description="What a shingle counts: words (a Han or Kana character is a word of its own) or characters "
        "of the normal form.",
    )
    size: int = Field(
        default=5,
        ge=1,
        le=100,
        description="Units per shingle. 5 words: FineWeb (datatrove), Lee et al. 2022. 13 characters: MAP-CC.",
    )
    bands: int = Field(
        default=14,
        ge=1,
        le=1000,
        description="Bands of the signature. A pair of Jaccard s is compared with probability 1-(1-s^rows)^bands; "
        "14 x 8 is FineWeb's.",
    )
    rows: int = Field(default=8, ge=1, le=128, description="Minimum hashes per band.")
    seed: int = Field(default=1, ge=0, lt=2**63, description="Seed of the hash functions.")


class ExactDedupeConfig(StrictModel):
    """Removal of documents whose text is equal byte for byte."""

    enabled: bool = Field(default=True, description="Whether equal texts are removed.")


class NearDedupeConfig(StrictModel):
    """Removal of documents that are nearly equal to one that is kept."""

    enabled: bool = Field(default=True, description="Whether near-duplicates are removed.")
    threshold: float = Field(
        default=0.8,
        gt=0,
        le=1,
        description="A document goes only if the true Jaccard similarity of its shingles with those of a kept document "
        "is at least this. 0.8: RedPajama, SlimPajama. At 0.7 pages and mails that only share a template go too.",
    )
    max_comparisons: int = Field(
        default=1000,
        ge=1,
        description="Kept documents that one document is compared with at most, those that share its smallest buckets "
        "first. Documents with more are kept if none of these is a twin, and counted as bounded.",
    )


class KeepConfig(StrictModel):
    """Which document of a family of duplicates stays. Ties, and nothing else, are broken by id."""

    policy: Literal["longest", "shortest", "source_priority", "first_id"] = Field(
        default="longest",
        description="longest and shortest count characters; source_priority goes by the list below, then longest; "
        "first_id takes the lowest id. A document that fails the rules comes after all that pass.",
    )
    source_priority: tuple[str, ...] = Field(
        default=(),
        description="Sources from most to least wanted; those not listed come last. Only for policy source_priority.",
    )

    @model_validator(mode="after")
    def _priority_goes_with_its_policy(self) -> Self:
        if bool(self.source_priority) != (self.policy == "source_priority"):
            raise ValueError(
                f"source_priority is {list(self.source_priority)} but policy is {self.policy!r}: "
                "list the sources and set policy to source_priority, or neither"
            )
        if len(set(self.source_priority)) != len(self.source_priority):
            raise ValueError(f"source_priority names a source twice: {list(self.source_priority)}")
        return self


class DedupeConfig(StrictModel):
    """Exact and near deduplication. The signatures have a config of their own: they are made shard by shard."""

    exact: ExactDedupeConfig = Field(default=ExactDedupeConfig(), description="Equal texts.")
    near: NearDedupeConfig = Field(default=NearDedupeConfig(), description="Nearly equal texts.")
    keep: KeepConfig = Field(default=KeepConfig(), description="Which document of a family stays.")


class SplitConfig(StrictModel):
    """Train, valid and test. Membership is a function of the document id and the salt alone, and permanent."""

    test_fraction: float = Field(default=0.01, ge=0, le=1, description="Share of document ids that are test.")
    valid_fraction: float = Field(default=0.01, ge=0, le=1, description="Share of document ids that are valid.")
    salt: str = Field(
        default="textmill",
        description="Hashed with the id. Another salt draws another test set: never change it for a living corpus.",
    )
    threshold: float = Field(
        default=0.7,
        gt=0,
        le=1,
        description="A training document with a true Jaccard similarity of at least this to a test or valid document "
        "is kept out of training.",
    )
    max_comparisons: int = Field(
        default=1000,
        ge=1,
        description="Test (or valid) documents that one document is compared with at most, those that share its "
        "smallest buckets first.",
    )

    @model_validator(mode="after")
    def _something_is_left_for_training(self) -> Self:
        if self.test_fraction + self.valid_fraction >= 1:
            raise ValueError(
                f"test_fraction {self.test_fraction} + valid_fraction {self.valid_fraction} leaves nothing to train on"
            )
        return self


# --- signals and rules -----------------------------------------------------------------------------------------------


class C4LineEdits(StrictModel):
    """C4's line rules (arXiv 1910.10683, section 2.2; datatrove `C4QualityFilter`): they make the text version `c4`."""

    filter_no_terminal_punct: bool = Field(
        default=False,
        description="Remove lines that do not end in . ? ! \" or ', or end in `...`. C4 paper: true; FineWeb: false.",
    )
    min_words_per_line: int = Field(
        default=3,
        ge=0,
        description="Remove lines with fewer words, as white space parts them; a Han or Kana character is a word "
        "(C4 code: 3); 0 switches it off.",
    )
    max_word_length: int | None = Field(
        default=1000, ge=1, description="Remove lines with a longer word, in characters (C4 code: 1000); null: off."
    )
    remove_citations: bool = Field(
        default=True, description="Cut [12], [], [edit] and [citation needed] out of lines (C4 code)."
    )
    filter_javascript: bool = Field(default=True, description="Remove lines that mention javascript (C4 paper).")
    filter_policy: bool = Field(
        default=True, description="Remove lines on cookies, terms of use and privacy policy (C4 code)."
    )


class SignalsConfig(StrictModel):
    """What `compute_signals` measures. A change here recomputes signals; a change of rules or thresholds does not."""

    c4: C4LineEdits | None = Field(
        default=C4LineEdits(),
        description="Line edits of the text version `c4`, on which FineWeb's rules stand; null: no such version.",
    )
    short_line_length: int = Field(
        default=30, ge=0, description="Longest line, in characters, that short_line_ratio counts (FineWeb: 30)."
    )


class QualityConfig(StrictModel):
    """Which rules judge a document, at which thresholds, from which signals."""

    rulesets: tuple[str, ...] = Field(
        default=("gopher_repetition", "gopher_quality", "c4", "fineweb"),
        description="Rulesets in order: names of shipped ones (data_quality/rulesets/) or paths of YAML files. The "
        "first reason of a document is that of the first rule that fires; the default is FineWeb's order.",
    )
    thresholds: dict[str, float] = Field(
        default_factory=dict,
        description="Other thresholds for single rules, for instance {gopher_quality.gopher_short_doc: 30}.",
    )
    signals: SignalsConfig = Field(default=SignalsConfig(), description="How the signals are measured.")

    @model_validator(mode="after")
    def _rules_exist(self) -> Self:
        from data_quality.rules import choose_rulesets  # rules.py builds on this module

        choose_rulesets(self)
        return self


# --- labelled paragraphs ---------------------------------------------------------------------------------------------


class LabelledClass(StrictModel):
    """One class of the paragraph classification task: a documents' `source`, and the names that would give it away."""

    name: str = Field(min_length=2, description="Value of `source` whose paragraphs carry this label.")
    aliases: tuple[str, ...] = Field(
        default=(),
        description="Further names to mask: import names, the project's spoken name, customary abbreviations"
        " (`np`, `pd`, `sklearn`). The name itself, also with `-` and `_` exchanged, is always masked.",
    )


class LabelledConfig(StrictModel):
    """Which paragraphs become examples of "which library does this paragraph document?"."""

    classes: tuple[LabelledClass, ...] = Field(
        min_length=2, description="The classes; label i is the i-th entry, so the order is part of the task."
    )
    also_mask: tuple[str, ...] = Field(
        default=(),
        description="Names masked for all classes though they are no class (parent projects, hosts).",
    )
    mask: str = Field(default="[LIB]", min_length=1, description="Text put in place of a library name or import path.")
    inside_words: int = Field(
        default=5,
        ge=2,
        description="Names of at least this many characters are masked inside identifiers too"
        " (`TorchDispatchMode`); shorter ones only as whole words (`np`, not `input`).",
    )
    min_chars: int = Field(
        default=150,
        ge=1,
        description="Characters of a masked paragraph at least; shorter neighbours are joined.",
    )
    max_chars: int = Field(
        default=800,
        ge=2,
        description="Characters of a masked paragraph at most; longer ones are cut at a space.",
    )
    per_class: int = Field(default=30, ge=1, description="Training paragraphs of each class at most.")
    per_class_eval: int = Field(
        default=40, ge=1, description="Paragraphs of each class at most in each of valid and test."
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        names = [c.name for c in self.classes]
        if twice := sorted({n for n in names if names.count(n) > 1}):
            raise ValueError(f"classes named twice: {', '.join(twice)}")
        if self.min_chars > self.max_chars:
            raise ValueError(f"min_chars {self.min_chars} is above max_chars {self.max_chars}")
        return self
