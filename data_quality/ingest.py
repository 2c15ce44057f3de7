"""Ingest: any source in, document shards out.

Sources are resolved to files, files are fingerprinted by content and grouped into pieces, and a piece is a pure
function of its content: it is ingested once and reused in every corpus that holds it.
"""

import platform
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from data_quality.config import (
    CsvSource,
    HtmlSource,
    HuggingFaceSource,
    IngestConfig,
    JsonlSource,
    MailSource,
    MediaWikiSource,
    ParquetSource,
    PythonDocsSource,
    ShardConfig,
    SourceConfig,
    StrictModel,
    TextSource,
    WarcSource,
)
from data_quality.documents import Document, ShardWriter
from data_quality.hashing import combine_digests, unit_hash
from data_quality.sources import delimited, html, huggingface, jsonl, mail, mediawiki, parquet, python_docs, text, warc
from data_quality.sources.base import (
    BENIGN_REASONS,
    BadInput,
    FileRef,
    InputError,
    Reading,
    Record,
    Skip,
    SourceNotFound,
)
from data_quality.sources.fingerprint import Fingerprints
from data_quality.sources.resolve import find_files, is_selected

FILES_SCHEMA = pa.schema(
    [
        ("file", pa.string()),
        ("records", pa.int64()),
        ("documents", pa.int64()),
        ("skipped", pa.int64()),
        ("bytes", pa.int64()),
        ("sha256", pa.string()),
    ]
)
SKIPPED_SCHEMA = pa.schema(
    [
        ("file", pa.string()),
        ("line", pa.int64()),
        ("record", pa.int64()),
        ("reason", pa.string()),
        ("detail", pa.string()),
    ]
)
EXTENSIONS = {
    "text": text.EXTENSIONS,
    "jsonl": jsonl.EXTENSIONS,
    "csv": delimited.EXTENSIONS,
    "parquet": parquet.EXTENSIONS,
    "html": html.EXTENSIONS,
    "warc": warc.EXTENSIONS,
    "mediawiki": mediawiki.EXTENSIONS,
    "mail": mail.EXTENSIONS,
}
# What a file weighs besides its bytes when pieces are cut: thousands of tiny files are work too.
FILE_OVERHEAD_BYTES = 4096
MAX_DETAIL = 500
MAX_EXAMPLES = 5


class Piece(StrictModel):
    """Some files of one source: the unit of ingest. JSON-able; ``model_validate`` brings it back."""

    source: SourceConfig
    shards: ShardConfig
    files: tuple[FileRef, ...]
    revision: str | None = None

    @property
    def key_material(self) -> dict[str, Any]:
        """Everything that determines the documents and shards, and nothing else: no place, no time."""
        return {
            "source": self.source.model_dump(mode="json", exclude=set(self.source.SELECTION)),
            "shards": self.shards.model_dump(mode="json"),
            "files": [[file.path, file.sha256, file.extra] for file in self.files],
            "revision": self.revision,
            # Which syntax `ast` knows decides what it refuses.
            "python": platform.python_version_tuple()[:2] if isinstance(self.source, PythonDocsSource) else None,
        }


def list_pieces(config: IngestConfig, fingerprint_cache: Path | None = None) -> list[Piece]:
    """The pieces of all sources, by source name and path.

    Within a source, files in the order of their paths are cut into pieces of about ``config.piece_bytes``: after a file
    whose path hashes below its share of a piece. Whether a file ends a piece depends on that file alone, so that a new
    file changes, or splits, no piece but its own.

    Raises :class:`SourceNotFound` for a path, package or dataset that is not there.
    """
    pieces: list[Piece] = []
    with Fingerprints(fingerprint_cache, config.trust_mtime) as fingerprints:
        for source in sorted(config.sources, key=lambda source: source.name):
            files = list(_files(source, fingerprints))
            if isinstance(source, HuggingFaceSource):
                revision = None if files else huggingface.resolve_revision(source)
                pieces.append(Piece(source=source, shards=config.shards, files=tuple(files), revision=revision))
                continue
            for group in _cut(files, config.piece_bytes):
                pieces.append(Piece(source=source, shards=config.shards, files=tuple(group)))
    return pieces


def _files(source: SourceConfig, fingerprints: Fingerprints) -> Iterator[FileRef]:
    if isinstance(source, PythonDocsSource):
        located = [
            (uri, path, extra)
            for uri, path, extra in python_docs.find_files(source)
            if is_selected(path, source.include, source.exclude)
        ]
        if not located:
            raise SourceNotFound(f"source {source.name!r}: no Python file in {source.packages}")
    elif isinstance(source, HuggingFaceSource):
        located = [(uri, path, {}) for uri, path in huggingface.find_files(source)]
    else:
        located = [(uri, path, {}) for uri, path in find_files(source, EXTENSIONS[source.format])]
    for uri, path, extra in sorted(located, key=lambda file: (file[1], file[0])):
        sha256, size = fingerprints.of(uri)
        yield FileRef(path=path, uri=uri, sha256=sha256, bytes=size, extra=extra)


def _cut(files: list[FileRef], piece_bytes: int) -> Iterator[list[FileRef]]:
    group: list[FileRef] = []
    for file in files:
        group.append(file)
        if unit_hash(file.path) * piece_bytes < file.bytes + FILE_OVERHEAD_BYTES:
            yield group
            group = []
    if group:
        yield group


def ingest_piece(piece: Piece, directory: Path, progress: Callable[[int], None] = lambda bytes: None) -> dict[str, Any]:
    """Read a piece into ``directory``: document shards, ``files.parquet`` and ``skipped.parquet``.

    ``progress`` is advanced by the bytes of each finished file. What an interrupted attempt left is removed first.
    Memory: one row group and one record. Returns counts (files, records, documents, skipped, bytes read, text_bytes),
    skipped_by_reason, skip_examples, the shards (name, rows, bytes, digest) and the digest of the documents.

    Raises :class:`BadInput` at the first fault under ``on_bad_input: error``, and ``SourceChanged`` if a file is not
    what was fingerprinted.
    """
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    for leftover in [*directory.glob("*.parquet"), *directory.glob("*.tmp")]:
        leftover.unlink()
    skipped = _SkippedTable(directory / "skipped.parquet", piece.source.on_bad_input == "error")
    rows: list[tuple[str, int, int, int, int, str]] = []
    with ShardWriter(directory, piece.shards.max_rows, piece.shards.max_bytes) as writer, skipped:
        for file, size, sha256, reading in _readings(piece):
            records = documents = skips = 0
            for item in _until_error(reading):
                if isinstance(item, Record):
                    records += 1
                    made = make_document(item, file, piece.source)
                    if isinstance(made, Document):
                        writer.add(made)
                        documents += 1
                        continue
                    item = made
                elif item.record is not None:
                    records += 1
                skips += 1
                skipped.add(file, item)
            if records == skips == 0:
                skips += 1
                skipped.add(file, Skip("empty_file", "no record in it"))
            rows.append((file, records, documents, skips, size, sha256))
            progress(size)
    columns = [
        pa.array(column, field.type) for column, field in zip(zip(*rows, strict=True), FILES_SCHEMA, strict=True)
    ]
    pq.write_table(pa.Table.from_arrays(columns, schema=FILES_SCHEMA), directory / "files.parquet", compression="zstd")
    return {
        "files": len(rows),
        "records": sum(row[1] for row in rows),
        "documents": sum(row[2] for row in rows),
        "skipped": sum(row[3] for row in rows),
        "bytes": sum(row[4] for row in rows),
        "text_bytes": sum(shard.bytes for shard in writer.shards),
        "skipped_by_reason": dict(sorted(skipped.reasons.items())),
        "skip_examples": skipped.examples,
        "shards": [
            {"name": shard.name, "rows": shard.rows, "bytes": shard.bytes, "digest": shard.digest}
            for shard in writer.shards
        ],
        "digest": combine_digests(shard.digest for shard in writer.shards),
    }


def require_documents(results: Sequence[dict[str, Any]]) -> None:
    """Raise :class:`BadInput` when the pieces together gave no document: going on would make no sense."""
    if any(result["documents"] for result in results):
        return
    reasons: Counter[str] = Counter()
    for result in results:
        reasons.update(result["skipped_by_reason"])
    counts = ", ".join(f"{count} {reason}" for reason, count in sorted(reasons.items()))
    examples = [example for result in results for example in result["skip_examples"]]
    first = f"; the first: {examples[0]}" if examples else ""
    files = sum(result["files"] for result in results)
    raise BadInput(f"{files} files", None, "no_documents", f"nothing could be read ({counts}){first}")


def _readings(piece: Piece) -> Iterator[tuple[str, int, str, Reading]]:
    """(name, bytes, sha256, records) of each input of a piece."""
    source = piece.source
    if isinstance(source, HuggingFaceSource):
        size = sum(file.bytes for file in piece.files)
        reading = huggingface.read(source, piece.revision, [file.uri for file in piece.files])
        yield source.dataset, size, piece.revision or combine_digests(file.sha256 for file in piece.files), reading
        return
    for file in piece.files:
        yield file.path, file.bytes, file.sha256, _read_file(file, source)


def _read_file(file: FileRef, source: SourceConfig) -> Reading:
    match source:
        case TextSource():
            return text.read(file, source)
        case JsonlSource():
            return jsonl.read(file, source)
        case CsvSource():
            return delimited.read(file, source)
        case ParquetSource():
            return parquet.read(file, source)
        case PythonDocsSource():
            return python_docs.read(file, source)
        case HtmlSource():
            return html.read(file, source)
        case WarcSource():
            return warc.read(file, source)
        case MediaWikiSource():
            return mediawiki.read(file, source)
        case MailSource():
            return mail.read(file, source)
    raise AssertionError(f"no reader for {source.format}")


def _until_error(reading: Reading) -> Iterator[Record | Skip]:
    """The records, and the error that ends them as a skip of the rest of the file."""
    line: int | None = None
    try:
        for item in reading:
            line = item.line or line
            yield item
    except InputError as error:
        after = f" (after line {line})" if line is not None else ""
        yield Skip(error.reason, f"{error.detail}{after}", line)


def make_document(record: Record, file: str, source: SourceConfig) -> Document | Skip:
    """The document of a record of ``file``, or why there is none."""

    def skip(reason: str, detail: str) -> Skip:
        return Skip(reason, detail, record.line, record.number)

    content = record.text
    if content is None or (isinstance(content, str) and not content.strip()):
        return skip("empty_document", "no text")
    if not isinstance(content, str):
        return skip("not_text", f"the text is a {type(content).__name__}")
    if "\0" in content:
        return skip("null_bytes", f"null character at {content.index(chr(0))}")
    if record.id is None:
        whole_file = isinstance(source, PythonDocsSource | HtmlSource) or (
            isinstance(source, TextSource) and source.document == "file"
        )
        id = f"{source.name}:{file}" if whole_file else f"{source.name}:{file}#{record.number}"
    else:
        id = str(record.id)
        if not id.strip():
            return skip("missing_id", "the id is empty")
    language = source.language if record.language is None else str(record.language)
    document = Document(
        id=id,
        text=content,
        source=source.name if record.source is None else str(record.source),
        language=language,
        metadata=dict(record.metadata or {}),
    )
    for value in (document.id, document.text, document.source, language or ""):
        if not value.isascii():
            try:
                value.encode()
            except UnicodeEncodeError as error:
                return skip("bad_encoding", f"not valid Unicode at character {error.start}")
    return document


class _SkippedTable:
    """skipped.parquet, written as it grows; raises at the first fault when told to."""

    def __init__(self, path: Path, raise_errors: bool) -> None:
        self._path, self._raise_errors = path, raise_errors
        self._rows: list[tuple[str, int | None, int | None, str, str]] = []
        self.reasons: Counter[str] = Counter()
        self.examples: list[str] = []

    def __enter__(self) -> "_SkippedTable":
        self._writer = pq.ParquetWriter(self._path, SKIPPED_SCHEMA, compression="zstd")
        return self

    def __exit__(self, *_: object) -> None:
        self._flush()
        self._writer.close()

    def add(self, file: str, skip: Skip) -> None:
        benign = skip.reason in BENIGN_REASONS
        if self._raise_errors and not benign:
            raise BadInput(file, skip.line, skip.reason, skip.detail)
        self.reasons[skip.reason] += 1
        detail = skip.detail.encode(errors="replace").decode()[:MAX_DETAIL]
        if not benign and len(self.examples) < MAX_EXAMPLES:
            self.examples.append(str(BadInput(file, skip.line, skip.reason, detail)))
        self._rows.append((file, skip.line, skip.record, skip.reason, detail))
        if len(self._rows) >= 10_000:
            self._flush()

    def _flush(self) -> None:
        if self._rows:
            columns = zip(*self._rows, strict=True)
            arrays = [pa.array(column, field.type) for column, field in zip(columns, SKIPPED_SCHEMA, strict=True)]
            self._writer.write_table(pa.Table.from_arrays(arrays, schema=SKIPPED_SCHEMA))
            self._rows = []
