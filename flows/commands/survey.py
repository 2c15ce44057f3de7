"""A quick look at a folder of documents, here or at a URI: which formats, how much text, which column, which language.

Reads at most SAMPLE_FILES files of each format in each subfolder, and SAMPLE_BYTES of each (LONG_SAMPLE_BYTES where
records are that long), so that it takes seconds on any folder. What it says are guesses for a person to check;
`textmill clean` takes them as they are where nothing else is said.
"""

import csv
import io
import os
import re
import statistics
import tempfile
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path, PurePath
from typing import Any, BinaryIO, NamedTuple

from pydantic_core import from_json

from data_quality.sources.delimited import SEPARATOR_NOTE, usual_delimiter
from flows.config.loading import ConfigError

EXTENSIONS = {
    ".txt": "text", ".md": "text", ".jsonl": "jsonl", ".ndjson": "jsonl",
    ".csv": "csv", ".tsv": "csv", ".parquet": "parquet",
    ".pdf": "pdf", ".epub": "epub", ".docx": "docx",
    ".html": "html", ".htm": "html", ".xhtml": "html", ".warc": "warc", ".wet": "warc",
    ".xml": "mediawiki", ".mbox": "mail", ".eml": "mail",
}  # fmt: skip
COMPRESSIONS = {".gz": "gzip", ".zst": "zstd", ".bz2": "bz2"}
MARKUP = frozenset({"html", "warc", "mediawiki", "mail"})
"""Formats whose documents only their reader can find."""
COMPRESSION_RATIO = 3.5
"""Bytes of text in a byte of gzip or zstd; prose is between 2.5 and 4."""
SAMPLE_FILES = 8
SAMPLE_BYTES = 256 << 10
PACKED_BYTES = 1 << 20
"""Of a compressed file as many are read for that: a block of bzip2, of which no part can be unpacked, has 900 kB."""
SAMPLE_ROWS = 200
FEW_ROWS = 3
"""Where fewer rows end in a sample, the file is read on, up to LONG_SAMPLE_BYTES: of no row no column is known."""
LONG_SAMPLE_BYTES = 4 << 20
VALUE_CHARACTERS = 64 << 10
"""Of one text as many are enough to tell its language."""
TABLES = ("jsonl", "csv", "parquet")
"""Formats whose records have columns."""
DELIMITERS = (",", ";", "\t", "|")
SAMPLE_OFFICE_BYTES = 8 << 20
"""Larger PDF, EPUB and DOCX files are not opened for a look: they can only be read whole."""
OFFICE_FORMATS = ("pdf", "epub", "docx")
LARGE_FILE = 1 << 20
"""Bytes: larger text files usually hold many documents."""

TEXT_NAMES = ("text", "content", "body", "document", "article", "raw_content", "markdown", "message", "abstract")
ID_NAMES = ("id", "doc_id", "docid", "document_id", "uuid", "guid", "url", "uri", "key")


class File(NamedTuple):
    """A file to look into: a path or URI, and its bytes as stored."""

    uri: str
    size: int


@dataclass
class Found:
    """The files of one format in one subfolder, and what a sample of them says."""

    format: str
    subfolder: str = ""
    """First folder below the one surveyed; "" for files directly in it."""
    extensions: set[str] = field(default_factory=set)
    """As the names have them: `.jsonl.gz`."""
    files: int = 0
    stored_bytes: int = 0
    text_bytes: int = 0
    """Estimated, uncompressed."""
    largest: list[File] = field(default_factory=list)
    """The few that are looked into."""
    sample: str = ""
    """Text of the sampled documents, for guessing the language."""
    encoding: str = "utf-8"
    delimiter: str | None = None
    """Of CSV, where it is one for all files and not what their extensions say."""
    mixed_delimiters: bool = False
    """Whether some of the sampled files have another than their extension says, and not all of them the same."""
    document: str = "file"
    columns: dict[str, list[str]] = field(default_factory=dict)
    """Column name -> sampled values that are strings."""
    text_column: str | None = None
    id_column: str | None = None
    repeated_id: tuple[str, str] | None = None
    """A column that would hold the ids if a value did not repeat in the sample, and that value."""


@dataclass
class Survey:
    """What lies in a folder."""

    folder: str
    """As it was given: a path or a URI."""
    found: list[Found]
    """One for each format and subfolder, the most text first."""
    other: dict[str, int]
    """Extension -> files that no source reads."""

    @property
    def text_bytes(self) -> int:
        """Estimated UTF-8 bytes of text in all files."""
        return sum(found.text_bytes for found in self.found)


def survey(folder: Path | str) -> Survey:
    """Look at every file name below a folder, which may be a URI, and into a few files of each format.

    Raises:
        ConfigError: it is not a folder, or has no file that Textmill can read; says what it has.
    """
    folder = str(folder)
    if "://" not in folder and not Path(folder).is_dir():
        raise ConfigError(f"{folder} is not a folder: name the folder that holds the documents")
    groups: dict[tuple[str, str], Found] = {}
    other: dict[str, int] = {}
    for below, file in _files_at(folder) if "://" in folder else _files(Path(folder)):
        extension, compression = kind_of(file.uri)
        if extension not in EXTENSIONS or (extension == ".xml" and b"<mediawiki" not in _head(file)[:4096]):
            other[extension or "(none)"] = other.get(extension or "(none)", 0) + 1
            continue
        parts = below.parts
        key = (EXTENSIONS[extension], parts[0] if len(parts) > 1 else "")
        found = groups.setdefault(key, Found(*key))
        found.extensions.add(extension + (below.suffix.lower() if compression else ""))
        found.files += 1
        found.stored_bytes += file.size
        packed = compression is not None or extension == ".parquet"
        found.text_bytes += int(file.size * (COMPRESSION_RATIO if packed else 1))
        found.largest = sorted([*found.largest, file], key=lambda f: (-f.size, PurePath(f.uri)))[:SAMPLE_FILES]
    if not groups:
        seen = ", ".join(f"{count} {extension}" for extension, count in sorted(other.items())) or "no file"
        readable = ", ".join(EXTENSIONS)
        raise ConfigError(
            f"{folder} has nothing that can be read ({seen}); readable: {readable}, each also .gz, .zst, .bz2"
        )
    for found in groups.values():
        _sample(found)
    most_first = sorted(groups.values(), key=lambda f: (-f.text_bytes, f.format, f.subfolder))
    return Survey(folder, most_first, other)


def look_at(uri: str) -> Found:
    """One file, at a path or a URI, by itself."""
    from data_quality.sources.resolve import file_stamp

    extension, compression = kind_of(uri)
    suffix = PurePath(uri).suffix.lower() if compression else ""
    found = Found(EXTENSIONS[extension], extensions={extension + suffix}, files=1)
    found.stored_bytes = found.text_bytes = file_stamp(uri)[0]
    found.largest = [File(uri, found.stored_bytes)]
    _sample(found)
    return found


def kind_of(uri: str) -> tuple[str, str | None]:
    """`(".jsonl", "gzip")` for `a.jsonl.gz`: the extension in lower case, and the compression."""
    suffixes = [suffix.lower() for suffix in PurePath(uri).suffixes]
    compression = COMPRESSIONS.get(suffixes[-1]) if suffixes else None
    if compression:
        suffixes.pop()
    return (suffixes[-1] if suffixes else ""), compression


def guess_language(sample: str) -> str | None:
    """`zh`, `ja`, `ko` by script, `en` by its commonest words; None if it is something else or a mixture."""
    letters = sum(character.isalpha() for character in sample)
    if not letters:
        return None
    if len(re.findall(r"[\uac00-\ud7af]", sample)) > 0.3 * letters:
        return "ko"
    if len(re.findall(r"[\u3040-\u30ff]", sample)) > 0.1 * letters:
        return "ja"
    if han_share(sample) > 0.3:
        return "zh"
    words = re.findall(r"[a-z]+", sample.lower())
    common = sum(word in {"the", "of", "and", "to", "in", "is", "that", "for"} for word in words)
    return "en" if words and common > 0.12 * len(words) else None


def han_share(sample: str) -> float:
    """Han characters as a share of all letters."""
    letters = sum(character.isalpha() for character in sample)
    return len(re.findall(r"[\u3400-\u4dbf\u4e00-\u9fff\U00020000-\U0003ffff]", sample)) / letters if letters else 0.0


def _files(folder: Path) -> Iterator[tuple[PurePath, File]]:
    """Each file that is not hidden, and its path below the folder."""
    for directory, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(directory) / name
            if not name.startswith(".") and path.is_file():
                yield path.relative_to(folder), File(str(path), path.stat().st_size)


def _files_at(uri: str) -> Iterator[tuple[PurePath, File]]:
    """:func:`_files` of a folder at a URI."""
    from fsspec.core import url_to_fs

    system, root = url_to_fs(uri)
    for path, about in sorted(system.find(root, detail=True).items()):
        below = PurePath(path.removeprefix(root).lstrip("/"))
        if not any(part.startswith(".") for part in below.parts):
            yield below, File(system.unstrip_protocol(path), int(about["size"] or 0))  # a web server lists names only


def _open(uri: str) -> BinaryIO:
    if "://" not in uri:
        return open(uri, "rb")
    from fsspec.core import url_to_fs

    system, path = url_to_fs(uri)
    return system.open(path, "rb", block_size=SAMPLE_BYTES)  # s3fs would read 50 MB ahead


def _sample(found: Found) -> None:
    if found.format in MARKUP:
        _sample_markup(found)
        return
    if found.format in OFFICE_FORMATS:
        sampled = [file for file in found.largest if file.size <= SAMPLE_OFFICE_BYTES]
        texts = [_office_text(file, found.format) for file in sampled]
        found.sample = "\n".join(text[:SAMPLE_BYTES] for text in texts)
        stored = sum(file.size for file in sampled)
        found.text_bytes = found.stored_bytes * sum(len(text.encode()) for text in texts) // max(1, stored)
        return
    if found.format == "parquet":
        rows = [row for file in found.largest for row in _parquet_rows(file)]
    else:
        heads = [_head(file) for file in found.largest]
        found.encoding = _encoding(heads, found.files)
        texts = [_decoded(head, found.encoding) for head in heads]
        if found.format == "text":
            found.document = _document_unit(found, texts)
            found.sample = "\n".join(texts)
            return
        if found.format == "jsonl":
            readers: list[Callable[[str], Iterator[dict[str, Any]]]] = [_jsonl_rows] * len(heads)
        else:
            csv.field_size_limit(max(csv.field_size_limit(), LONG_SAMPLE_BYTES))  # no value of a sample is longer
            delimiters = [_delimiter(*each) for each in zip(found.largest, texts, strict=True)]
            if delimiters != [usual_delimiter(file.uri) for file in found.largest]:
                found.mixed_delimiters = len(set(delimiters)) > 1
                found.delimiter = None if found.mixed_delimiters else delimiters[0]
            readers = [partial(_csv_rows, delimiter=delimiter) for delimiter in delimiters]
        read = zip(found.largest, heads, readers, strict=True)
        rows = [row for file, head, rows_of in read for row in _rows(file, head, found.encoding, rows_of)]
    for row in rows:
        for name, value in row.items():
            if isinstance(value, str):
                found.columns.setdefault(name, []).append(value)
    found.text_column = _text_column(found.columns)
    found.id_column, found.repeated_id = _id_column(found.columns, len(rows))
    found.sample = "\n".join(text[:VALUE_CHARACTERS] for text in found.columns.get(found.text_column or "", ()))


def _office_text(file: File, format: str) -> str:
    """The text of a PDF, EPUB or DOCX file; nothing where it cannot be read, which ingest will say."""
    from pydantic import TypeAdapter

    from data_quality.config import SourceConfig
    from data_quality.hashing import sha256_stream
    from data_quality.ingest import read_file
    from data_quality.sources.base import FileRef, InputError, Record, SourceNotFound

    source = TypeAdapter(SourceConfig).validate_python({"format": format, "paths": [file.uri]})
    with _open(file.uri) as raw:
        sha256 = sha256_stream(raw)
    ref = FileRef(path=PurePath(file.uri).name, uri=file.uri, sha256=sha256, bytes=file.size)
    try:
        return "".join(item.text for item in read_file(ref, source) if isinstance(item, Record))
    except (InputError, SourceNotFound):
        return ""


def _sample_markup(found: Found) -> None:
    """Reads the heads of the files as ingest would, for their language and for how much of them is text."""
    from data_quality.config import IngestConfig
    from data_quality.documents import iter_documents
    from data_quality.ingest import ingest_piece
    from data_quality.pieces import list_pieces

    stored = 0
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory) / "heads"
        folder.mkdir()
        for number, file in enumerate(found.largest):
            head = _head(file)
            stored += len(head)
            (folder / f"{number}{kind_of(file.uri)[0]}").write_bytes(head)
        source = {"format": found.format, "paths": [str(folder)]}
        (piece, *_) = list_pieces(IngestConfig.model_validate({"sources": [source], "piece_bytes": 1 << 40}))
        ingest_piece(piece, Path(directory) / "shards")
        texts = [document.text for document in iter_documents(sorted(Path(directory).glob("shards/0*.parquet")))]
    found.sample = "\n".join(texts)
    found.text_bytes = int(found.text_bytes * min(1.0, len(found.sample.encode()) / max(stored, 1)))


def _rows(
    file: File, head: bytes, encoding: str, rows_of: Callable[[str], Iterator[dict[str, Any]]]
) -> list[dict[str, Any]]:
    """The rows of a file's head, which is read on where its rows are so long that only a few end in it."""
    size = SAMPLE_BYTES
    rows = list(rows_of(_decoded(head, encoding)))
    while len(rows) < FEW_ROWS and len(head) >= size and size < LONG_SAMPLE_BYTES:
        size *= 4
        head = _head(file, size)
        rows = list(rows_of(_decoded(head, encoding)))
    return rows


def _head(file: File, size: int = SAMPLE_BYTES) -> bytes:
    """The first bytes of a file, decompressed. A broken file gives what comes before the break."""
    import pyarrow as pa

    compression = kind_of(file.uri)[1]
    with _open(file.uri) as raw:
        packed = raw.read(size if compression is None else max(size, PACKED_BYTES))
    if compression is None:
        return packed
    blocks: list[bytes] = []
    with pa.CompressedInputStream(pa.BufferReader(packed), compression) as stream:
        try:
            while sum(map(len, blocks)) < size and (block := stream.read(16 << 10)):
                blocks.append(block)
        except (OSError, pa.ArrowException):
            return b"".join(blocks)  # ingest will say so; for a look, what is there is enough
    return b"".join(blocks)


def _encoding(heads: list[bytes], files: int) -> str:
    """The encoding of all files; `auto`, for each its own, if they are in several or there are more than the heads."""
    from data_quality.sources.charset import detect

    others = [head for head in heads if not _decodes(head, "utf-8")]
    if not others:
        return "utf-8"
    if any(head.startswith((BOM_UTF16_LE, BOM_UTF16_BE)) for head in others):
        return "auto"  # in an encoding that is named the mark would be text
    found = {detect(head) for head in others}
    alike = len(found) == 1 and all(head.isascii() for head in heads if head not in others)
    return found.pop() if alike and len(heads) == files else "auto"


def _decoded(head: bytes, encoding: str) -> str:
    from data_quality.sources.charset import detect

    own = detect(head) if encoding == "auto" else encoding
    return head.decode(own, errors="ignore").removeprefix("\ufeff")


def _decodes(head: bytes, encoding: str) -> bool:
    try:
        head.decode(encoding)
    except UnicodeDecodeError as error:
        return error.start >= len(head) - 4 and len(head) >= SAMPLE_BYTES  # only cut off in the middle
    return True


def _document_unit(found: Found, texts: list[str]) -> str:
    if any("<|endoftext|>" in text for text in texts):
        return "separator"
    if found.text_bytes / found.files < LARGE_FILE:
        return "file"
    lines = [line for text in texts for line in text.splitlines()]
    filled = [len(line) for line in lines if line.strip()]
    if filled and len(filled) > 0.98 * len(lines) and statistics.median(filled) > 200:
        return "line"
    return "paragraph"


def _jsonl_rows(text: str) -> Iterator[dict[str, Any]]:
    """The records of a sample, as the parser of the reader takes them: it is bounded in depth."""
    for line in text.split("\n", SAMPLE_ROWS)[:SAMPLE_ROWS]:
        try:
            row = from_json(line)
        except ValueError:
            continue  # a bad line, or the one that the sample ends in
        if isinstance(row, dict):
            yield row


def _delimiter(file: File, text: str) -> str:
    """What stands between the names of the columns: by what the most are told apart, the usual one where that is equal.

    In much of Europe it is a semicolon, and names may hold a comma.
    """
    names = (text.splitlines() or [""])[0]
    if said := SEPARATOR_NOTE.match(names):
        return said.group(1)
    usual = usual_delimiter(file.uri)

    def columns(delimiter: str) -> int:
        try:
            return max(len(row) for row in csv.reader([names], delimiter=delimiter))
        except csv.Error:  # a name longer than any: no names
            return 0

    return max(DELIMITERS, key=lambda each: (columns(each), each == usual)) if names.strip() else usual


def _csv_rows(text: str, delimiter: str) -> Iterator[dict[str, Any]]:
    first, _, rest = text.partition("\n")
    text = rest if SEPARATOR_NOTE.match(first) else text
    whole_lines = text[: text.rfind("\n") + 1] or text
    reader = csv.DictReader(io.StringIO(whole_lines, newline=""), delimiter=delimiter)
    for _, row in zip(range(SAMPLE_ROWS), reader, strict=False):
        yield {name: value for name, value in row.items() if name}


def _parquet_rows(file: File) -> list[dict[str, Any]]:
    from data_quality.sources.base import InputError
    from data_quality.sources.parquet import read_rows

    rows: list[dict[str, Any]] = []
    characters = 0
    try:
        with _open(file.uri) as raw:
            for row in islice(read_rows(file.uri, raw, LONG_SAMPLE_BYTES), SAMPLE_ROWS):
                rows.append(row)
                characters += sum(len(value) for value in row.values() if isinstance(value, str))
                if characters > LONG_SAMPLE_BYTES:
                    break
    except (InputError, OSError):
        pass  # no Parquet, whatever its name says, or a bomb: ingest will say so; for a look, what is there is enough
    return rows


def _text_column(columns: dict[str, list[str]]) -> str | None:
    """A usual name if its values are as long as text is, else the column with the longest values; never one of ids."""
    named = {name: values for name, values in columns.items() if name.lower() not in ID_NAMES}
    lengths = {name: statistics.fmean(map(len, values)) for name, values in named.items()}
    if not lengths:
        return None
    longest = max(lengths, key=lambda name: (lengths[name], name))
    usual = [name for wanted in TEXT_NAMES for name in lengths if name.lower() == wanted]
    return next((name for name in usual if lengths[name] >= 0.2 * lengths[longest]), longest)


def _id_column(columns: dict[str, list[str]], rows: int) -> tuple[str | None, tuple[str, str] | None]:
    """The first of the usual names whose values tell all rows apart; and the first before it whose values do not, with
    one that repeats."""
    repeated: tuple[str, str] | None = None
    for wanted in ID_NAMES:
        for name, values in columns.items():
            if name.lower() != wanted or len(values) != rows or not all(values):
                continue
            if len(set(values)) == rows:
                return name, repeated
            repeated = repeated or (name, Counter(values).most_common(1)[0][0])
    return None, repeated
