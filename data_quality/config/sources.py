"""Configuration of ingest: what is read, and how it is cut into shards."""

import codecs
from datetime import date
from typing import Annotated, ClassVar, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from data_quality.config.base import StrictModel


class SourceBase(StrictModel):
    """What every source has: a name, what to do with bad input, and limits.

    ``SELECTION`` names the fields that only say *which* files are read. They are no part of a piece's key:
    the content of the files is. Nor are those of ``RECORDED``, which are written down and change nothing.
    """

    SELECTION: ClassVar[frozenset[str]] = frozenset({"paths", "include", "exclude"})
    RECORDED: ClassVar[frozenset[str]] = frozenset({"license"})

    name: str = Field(
        pattern=r"^[^\s:#]+$",
        description="Prefix of the ids made from paths (`name:path#record`) and the default of the `source` "
        "column. Two sources may not share it.",
    )
    language: str | None = Field(None, description="Language code given to every document, when it is known.")
    license: str | None = Field(
        None,
        exclude_if=lambda value: value is None,
        description="Licence of the documents, best as an SPDX identifier such as `CC-BY-SA-4.0`. It is written on the "
        "cards of models and changes no document.",
    )
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
    encoding: str = Field(
        "utf-8",
        description="Character encoding of the files. `auto` finds it for each file (each page, each message) by byte "
        "order mark, what it declares, and its bytes.",
    )

    @field_validator("paths")
    @classmethod
    def _no_credentials(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        # the paths of a source go into manifests, messages and the tracking server
        if any(urlsplit(path).password for path in value if "://" in path):
            raise ValueError("a password stands in an address: credentials belong into the environment")
        return value

    @field_validator("encoding")
    @classmethod
    def _known_encoding(cls, value: str) -> str:
        if value == "auto":
            return value
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
    """Plain text and Markdown: `.txt`, `.md`, each also `.gz`, `.zst` and `.bz2`."""

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
    """One JSON object a line: `.jsonl`, `.ndjson`, each also `.gz`, `.zst` and `.bz2`."""

    format: Literal["jsonl"]
    name: str = Field("jsonl", pattern=r"^[^\s:#]+$", description="See `SourceBase.name`.")


class CsvSource(FileSource, ColumnSource):
    """Delimited tables (RFC 4180): `.csv`, `.tsv`, each also `.gz`, `.zst` and `.bz2`."""

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


class PdfSource(FileSource):
    """PDF files, one document each: lines joined to paragraphs, running headers, footers and page numbers removed."""

    format: Literal["pdf"]
    name: str = Field("pdf", pattern=r"^[^\s:#]+$", description="See `SourceBase.name`.")
    max_pages: int = Field(10_000, ge=1, description="A file with more pages is skipped. Pages.")


class ArchiveSource(FileSource):
    """A source of files that are ZIP archives of XML."""

    max_unpacked_bytes: int = Field(
        1 << 30,
        ge=1,
        description="A file whose texts unpack to more is skipped, as are archives packed too well to be "
        "honest. Bytes.",
    )


class EpubSource(ArchiveSource):
    """EPUB books, one document each: the chapters in reading order."""

    format: Literal["epub"]
    name: str = Field("epub", pattern=r"^[^\s:#]+$", description="See `SourceBase.name`.")


class DocxSource(ArchiveSource):
    """Word documents (`.docx`), one document each: tracked insertions are kept, deletions left out."""

    format: Literal["docx"]
    name: str = Field("docx", pattern=r"^[^\s:#]+$", description="See `SourceBase.name`.")
    footnotes: bool = Field(False, description="Put the footnotes at the end of the text.")


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


class HtmlExtraction(StrictModel):
    """How pages become text."""

    encoding: str = Field("auto", description="See `FileSource.encoding`.")
    main_content: bool = Field(
        True,
        description="Leave out navigation, adverts, comments and footers. With false everything that a reader sees is "
        "text.",
    )
    max_nesting: int = Field(
        512,
        ge=1,
        le=2000,
        description="A page with elements nested more deeply is skipped. (Browsers build no deeper page than 512.)",
    )


class HtmlSource(HtmlExtraction, FileSource):
    """Web pages, one a file: `.html`, `.htm`, `.xhtml`, each also `.gz`, `.zst` and `.bz2`."""

    format: Literal["html"]
    name: str = Field("html", pattern=r"^[^\s:#]+$", description="See `SourceBase.name`.")


class WarcSource(HtmlExtraction, FileSource):
    """Crawled pages: `.warc` (HTML and plain text) and `.wet` (text already extracted), each also `.gz` and `.zst`.
    The document id is the WARC record id."""

    format: Literal["warc"]
    name: str = Field("warc", pattern=r"^[^\s:#]+$", description="See `SourceBase.name`.")
    content_types: tuple[str, ...] = Field(
        ("text/html", "application/xhtml+xml", "text/plain"),
        description="Pages of other content types are counted as skipped. Only responses with status 200 are read.",
    )


class MediaWikiSource(FileSource):
    """MediaWiki XML dumps (`pages-articles.xml`): articles as plain text, `.xml`, also `.gz`, `.zst` and `.bz2`."""

    format: Literal["mediawiki"]
    name: str = Field("mediawiki", pattern=r"^[^\s:#]+$", description="See `SourceBase.name`.")
    namespaces: tuple[int, ...] = Field((0,), description="Numbers of the namespaces to read; 0 is articles.")


class MailSource(HtmlExtraction, FileSource):
    """Mailboxes and messages: `.mbox`, `.eml`, each also `.gz`, `.zst` and `.bz2`. The text is the body,
    headers are metadata, attachments are left out."""

    format: Literal["mail"]
    name: str = Field("mail", pattern=r"^[^\s:#]+$", description="See `SourceBase.name`.")
    main_content: bool = Field(
        False, description="Treat a body that is only HTML as a web page and leave out what looks like navigation."
    )


SourceConfig = Annotated[
    TextSource
    | JsonlSource
    | CsvSource
    | ParquetSource
    | PdfSource
    | EpubSource
    | DocxSource
    | HuggingFaceSource
    | PythonDocsSource
    | HtmlSource
    | WarcSource
    | MediaWikiSource
    | MailSource,
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
        description="Input files are grouped into pieces of about this size, the unit of work and of reuse; a larger "
        "uncompressed text (except `document: file`), JSON Lines, CSV, Parquet, WARC, mbox or MediaWiki file is cut "
        "into several, between documents. So is a `.gz` of many members (`.warc.gz`) and a `.bz2` of many streams "
        "(multistream dumps), where a document ends with one. A file that was compressed as one stream, as `gzip` and "
        "`bzip2` do, and every `.zst` is one piece and keeps one core. Bytes of input as stored.",
    )
    until: date | None = Field(
        None,
        description="Leave out files whose path names a later date (2026-11-20, 20261120, 2026/11/20; the last one in "
        "the path counts): the corpus as it was at the end of that day. Files without a date are read. Such a corpus "
        "passes no gates and is no measure for others. null: everything.",
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
