"""Ingest: a piece of any source in, document shards out."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from data_quality.config import (
    CsvSource,
    DocxSource,
    EpubSource,
    HtmlSource,
    HuggingFaceSource,
    JsonlSource,
    MailSource,
    MediaWikiSource,
    ParquetSource,
    PdfSource,
    PythonDocsSource,
    SourceConfig,
    TextSource,
    WarcSource,
)
from data_quality.documents import Document, ShardWriter, canonical_metadata
from data_quality.forgotten import REASON, Forgotten
from data_quality.hashing import combine_digests
from data_quality.pieces import Piece
from data_quality.skipped import SkippedTable
from data_quality.sources import (
    delimited,
    docx,
    epub,
    html,
    huggingface,
    jsonl,
    mail,
    mediawiki,
    parquet,
    pdf,
    python_docs,
    text,
    warc,
)
from data_quality.sources.base import (
    NAME_THE_COLUMN,
    SKIPPED,
    BadInput,
    FileRef,
    InputError,
    Range,
    Reading,
    Record,
    Skip,
)

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


def ingest_piece(
    piece: Piece,
    directory: Path,
    progress: Callable[[int], None] = lambda bytes: None,
    named: Callable[[str], str] = lambda name: name,
) -> dict[str, Any]:
    """Read a piece into ``directory``: document shards, ``files.parquet`` and ``skipped.parquet``.

    ``progress`` is advanced by the bytes of each finished file. ``named`` says how the ids of documents and the names
    of sources and files are written (:class:`data_quality.pii_names.Pseudonyms`), those of ``piece.forgotten``
    included. What an interrupted attempt left is removed first.
    In the tables, lines and records of a range count from its start; ``data_quality.skipped`` gives those of the file.
    Memory: one row group and one record. Returns counts (files, records, documents, skipped, bytes read, text_bytes),
    skipped_by_reason, skip_examples, the shards (name, rows, bytes, digest) and the digest of the documents.

    Raises :class:`BadInput` at the first fault under ``on_bad_input: error``, and ``SourceChanged`` if a file is not
    what was fingerprinted.
    """
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    for leftover in [*directory.glob("*.parquet"), *directory.glob("*.tmp")]:
        leftover.unlink()
    skipped = SkippedTable(directory / SKIPPED, piece.source.on_bad_input == "error", named)
    rows: list[tuple[str, int, int, int, int, str]] = []
    files = 0  # a file counts where it begins
    is_forgotten = (piece.forgotten or Forgotten()).test(named(piece.source.name))
    with ShardWriter(directory, piece.shards.max_rows, piece.shards.max_bytes) as writer, skipped:
        for file, size, sha256, range, reading in _readings(piece):
            records = documents = skips = 0
            place = named(f"{piece.source.name}:{file}")
            for item in _until_error(reading):
                if isinstance(item, Record):
                    records += 1
                    made = make_document(item, file, piece.source, range.records_before if range else 0, named)
                    if isinstance(made, Document) and is_forgotten(made.id, made.source, place):
                        made = Skip(REASON, made.id, item.line, item.number)
                    if isinstance(made, Document):
                        writer.add(made)
                        documents += 1
                        continue
                    item = made
                elif item.record is not None:
                    records += 1
                skips += 1
                skipped.add(file, item, range)
            if records == skips == 0 and range is None:
                skips += 1
                skipped.add(file, Skip("empty_file", "no record in it"), None)
            rows.append((named(file), records, documents, skips, size, sha256))
            files += range is None or range.first
            progress(size)
    columns = [
        pa.array(column, field.type) for column, field in zip(zip(*rows, strict=True), FILES_SCHEMA, strict=True)
    ]
    pq.write_table(pa.Table.from_arrays(columns, schema=FILES_SCHEMA), directory / "files.parquet", compression="zstd")
    return {
        "files": files,
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


def places_of(
    piece: Piece, wanted: Mapping[str, int], named: Callable[[str], str] = lambda name: name
) -> Iterator[tuple[str, str]]:
    """The first documents of a piece that have one of some ids, so many of each as are `wanted`: the id, and its file
    with the line or the number of the record. Documents do not say where they stood, so the piece is read again, until
    there are enough."""
    missing = Counter(wanted)
    uris = {file.path: file.uri for file in piece.files}
    is_forgotten = (piece.forgotten or Forgotten()).test(named(piece.source.name))
    for file, _, _, range, reading in _readings(piece):
        records_before = range.records_before if range else 0
        lines_before = range.lines_before if range else 0
        place = named(f"{piece.source.name}:{file}")
        for item in _until_error(reading):
            if not isinstance(item, Record):
                continue
            made = make_document(item, file, piece.source, records_before, named)
            if not isinstance(made, Document) or not missing[made.id] or is_forgotten(made.id, made.source, place):
                continue
            if item.line is None or lines_before is None:
                where = f"record {item.number + records_before}"
            else:
                where = f"line {item.line + lines_before}"
            yield made.id, f"{named(uris.get(file, file))}, {where}"
            missing[made.id] -= 1
            if not any(missing.values()):
                return


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
    advice = f". {NAME_THE_COLUMN}" if reasons["missing_column"] else ""
    raise BadInput(f"{files} files", None, "no_documents", f"nothing could be read ({counts}){first}{advice}")


def _readings(piece: Piece) -> Iterator[tuple[str, int, str, Range | None, Reading]]:
    """(name, bytes, sha256, range, records) of each input of a piece."""
    source = piece.source
    if isinstance(source, HuggingFaceSource):
        size = sum(file.bytes for file in piece.files)
        reading = huggingface.read(source, piece.revision, [file.uri for file in piece.files])
        sha256 = piece.revision or combine_digests(file.sha256 for file in piece.files)
        yield source.dataset, size, sha256, None, reading
        return
    for file in piece.files:
        yield file.path, file.bytes, file.sha256, file.range, read_file(file, source)


def read_file(file: FileRef, source: SourceConfig) -> Reading:
    """The records of one file of any source but a dataset of the hub."""
    match source:
        case TextSource():
            return text.read(file, source)
        case JsonlSource():
            return jsonl.read(file, source)
        case CsvSource():
            return delimited.read(file, source)
        case ParquetSource():
            return parquet.read(file, source)
        case PdfSource():
            return pdf.read(file, source)
        case EpubSource():
            return epub.read(file, source)
        case DocxSource():
            return docx.read(file, source)
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


def make_document(
    record: Record,
    file: str,
    source: SourceConfig,
    records_before: int = 0,
    named: Callable[[str], str] = lambda name: name,
) -> Document | Skip:
    """The document of a record of ``file``, or why there is none; ``records_before`` lie before what is read of it."""

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
        whole_file = isinstance(source, PythonDocsSource | HtmlSource | PdfSource | EpubSource | DocxSource) or (
            isinstance(source, TextSource) and source.document == "file"
        )
        id = f"{source.name}:{file}" if whole_file else f"{source.name}:{file}#{record.number + records_before}"
    else:
        id = str(record.id)
        if not id.strip():
            return skip("missing_id", "the id is empty")
    language = source.language if record.language is None else str(record.language)
    document = Document(
        id=named(id),
        text=content,
        source=named(source.name if record.source is None else str(record.source)),
        language=language,
        metadata=dict(record.metadata or {}),
    )
    for value in (document.id, document.text, document.source, language or "", canonical_metadata(document.metadata)):
        if not value.isascii():
            try:
                value.encode()
            except UnicodeEncodeError as error:
                return skip("bad_encoding", f"not valid Unicode at character {error.start}")
    return document
