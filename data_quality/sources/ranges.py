"""Large files cut into ranges that are read alone, so that one file is work for all cores and is reused in parts.

A cut falls between two documents, where the content just before it says so (content-defined chunking; Xia et al.,
"FastCDC", USENIX ATC 2016, with its smallest and largest size): what is appended or inserted changes the ranges around
it, and the later cuts fall where they fell. The units between which cuts may fall are found by the code that reads
them, and counted as it counts, so that a range knows how many records and lines lie before it.

A compressed file can be cut where it was written in several parts: at gzip members (Common Crawl has one for each
record) and at bzip2 streams (multistream dumps have one for each hundred pages), where a document ends with one. That
is found by decompressing it all, one pass that takes a core a small part of what reading takes.

Left whole: files of one gzip member or bzip2 stream, zstd, encodings in which a line feed is not one byte (UTF-16,
UTF-32, UTF-7), text with one document a file, every format that is not named in :func:`_units_of`, and files that are
damaged so that reading ends there; what reading goes on behind is in the range that holds it.
"""

import codecs
import hashlib
import threading
import zlib
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from data_quality.config import (
    ColumnSource,
    CsvSource,
    JsonlSource,
    MailSource,
    MediaWikiSource,
    ParquetSource,
    StrictModel,
    TextSource,
    WarcSource,
)
from data_quality.sources import (
    bzip2_streams,
    delimited,
    gzip_members,
    mail,
    mediawiki,
    parquet,
    parquet_pages,
    text,
    warc,
)
from data_quality.sources.base import InputError, Range, Skip, pick_columns
from data_quality.sources.streams import (
    CHUNK_BYTES,
    Unit,
    as_utf8,
    byte_order_mark,
    is_reencoded,
    line_units,
    open_binary,
    split_compression,
)

LOOK_BACK_BYTES = 2 << 20
"""A cut falls into so many of the bytes read last: more than is read ahead to see that a document ended."""
GIVE_UP_BYTES = 16 << 20
"""A compressed file with no place for a cut in so much of it is taken for one that has none."""
CUT_VERSION = 2
"""Raised when the same file would be cut elsewhere, so that no cache answers with the old cuts."""


class FileRange(StrictModel):
    """One range of a file: where and what it is, the SHA-256 of its content and its size in bytes."""

    range: Range
    sha256: str
    bytes: int


def cutting_settings(source: Any, path: str, target: int) -> dict[str, Any]:
    """Everything besides the file that says where its cuts fall; JSON-able."""
    fields = {"format", "encoding", "max_record_bytes", "document", "separator", "delimiter", "quote", "columns"}
    fields |= set(ColumnSource.model_fields)  # a file that lacks one of them is read, and complained about, whole
    name = split_compression(path)[0].lower()
    return {
        **source.model_dump(mode="json", include=fields),
        "tsv": name.endswith(".tsv"),
        "target": target,
        "version": CUT_VERSION,
    }


def is_cuttable(source: Any, path: str) -> bool:
    """Whether files of this source and name can be cut at all."""
    compression = split_compression(path)[1]
    match source:
        case ParquetSource():
            return compression is None
        case WarcSource() | MailSource():
            return compression != "zstd"
        case TextSource(document="file"):
            return False
        case TextSource() | JsonlSource() | CsvSource() | MediaWikiSource():
            return compression != "zstd" and not is_reencoded(source.encoding)
    return False


def cut_file(uri: str, path: str, source: Any, target: int, stop: threading.Event | None = None) -> list[FileRange]:
    """The ranges of a file, between half of ``target`` and four times ``target`` bytes but for the last and for single
    longer documents, or parts of compressed files. Empty when the file is better read whole: it has one range, no
    record, or a header that cannot be read, or ``stop`` was set meanwhile. One pass; memory: ``max_record_bytes`` and
    some chunks, and some streams of a bzip2 file with what is in them (:mod:`data_quality.sources.bzip2_streams`).
    """
    try:
        if isinstance(source, ParquetSource):
            ranges = _cut_row_groups(uri, source, target, stop)
        else:
            ranges = _cut_stream(uri, path, source, target, stop)
    except (InputError, pa.ArrowException, OSError, ValueError, EOFError, zlib.error):
        return []  # broken, or gone by now: reading it whole says so
    return ranges if len(ranges) > 1 else []


def _cut_stream(uri: str, path: str, source: Any, target: int, stop: threading.Event | None) -> list[FileRange]:
    ranges: list[FileRange] = []
    with open_binary(uri) as raw:
        compression = split_compression(path)[1]
        look_back = bzip2_streams.LOOK_BACK_BYTES if compression == "bz2" else LOOK_BACK_BYTES
        hashed = _Hashed(raw, look_back, stop)
        content = _Plain(hashed) if compression is None else _Compressed(hashed, compression, target)
        header, units = _units_of(source, path, content)

        def close(end: int, last: bool) -> None:
            size, sha256 = hashed.cut(end)
            start = hashed.position - size
            position = Range(
                start=start,
                first=not ranges,
                last=last,
                header=header if ranges else None,
                wiki=before.wiki if ranges else None,
                block=start % gzip_members.INPUT_BYTES if content.damaged else None,
                records_before=before.records,
                lines_before=before.lines,
            )
            ranges.append(FileRange(range=position, sha256=sha256, bytes=size))
            content.damaged = False

        before = last = Unit(0, None, 0, 0)
        cut = offered = 0  # where the last range and the last unit before which it may be cut end, as stored
        blank = True  # blank lines count in a record's number, but are no records
        for unit in units:
            blank = blank and unit.content is not None and not unit.content.strip()
            last = unit
            end = content.stored(unit.end)
            if end is None or end + content.mark < hashed.position:
                continue
            if _is_cut(unit.content, end - offered, end - cut, target):
                close(end + content.mark, last=False)
                before, cut = unit, end
            offered = end
        if hashed.offset > hashed.position:
            close(hashed.offset, last=True)
        elif ranges:
            ranges[-1] = ranges[-1].model_copy(update={"range": ranges[-1].range.model_copy(update={"last": True})})
    return ranges if last.records and not blank else []


def _units_of(source: Any, path: str, content: "_Plain | _Compressed") -> tuple[tuple[str, ...] | None, Iterator[Unit]]:
    """The header of a table, and where the content of a file may be cut."""
    match source:
        case WarcSource():
            return None, warc.units(content.chunks_and_faults(), source)
        case MailSource():
            return None, mail.units(content.chunks(), source)
        case MediaWikiSource():
            return None, mediawiki.units(content.chunks(), source)
    chunks = content.without_mark(source.encoding)
    match source:
        case CsvSource():
            return delimited.units(chunks, source, path)
        case TextSource():
            return None, text.units(chunks, source)
    return None, line_units(chunks, source.max_record_bytes)


class _Plain:
    """The content of a file that is not compressed."""

    def __init__(self, file: "_Hashed") -> None:
        self._file = file
        self.mark = 0  # bytes of a byte order mark, after which units are counted
        self.damaged = False

    def chunks(self) -> Iterator[bytes]:
        while chunk := self._file.read(CHUNK_BYTES):
            yield chunk

    def chunks_and_faults(self) -> Iterator[bytes | Skip]:
        return self.chunks()

    def without_mark(self, encoding: str) -> Iterator[bytes]:
        self.mark = byte_order_mark(self._file.file, encoding)
        return as_utf8(self.chunks(), encoding)

    def stored(self, end: int) -> int | None:
        """Where what ends at ``end`` of the content ends in the file; None: in the middle of a compressed part."""
        return end


class _Compressed:
    """The content of a file that is compressed in parts, and where they end."""

    def __init__(self, file: "_Hashed", compression: str, target: int) -> None:
        self._file, self._compression, self._target = file, compression, target
        self._ends: deque[tuple[int, int]] = deque()  # (of the content, of the file), those not yet passed
        self._unpacked = 0  # bytes of the file up to the last of them
        self._cuttable = False
        self._marked = 0
        self.mark = 0
        self.damaged = False  # something before the next unit could not be read; whoever cuts there resets it

    def chunks(self) -> Iterator[bytes]:
        unpacked = _gzip if self._compression == "gzip" else bzip2_streams.unpacked
        for chunk in unpacked(self._file, self._ended):
            self._give_up()
            yield chunk

    def chunks_and_faults(self) -> Iterator[bytes | Skip]:
        """As a WARC is read, where a broken member costs itself only."""
        if self._compression != "gzip":
            yield from self.chunks()
            return
        for piece in gzip_members.members(self._file, self._ended):
            self._give_up()
            self.damaged |= isinstance(piece, Skip)
            yield piece

    def without_mark(self, encoding: str) -> Iterator[bytes]:
        chunks = self.chunks()
        head = b""
        while len(head) < len(codecs.BOM_UTF8) and (chunk := next(chunks, b"")):
            head += chunk
        for kept in as_utf8(iter([head]), encoding):
            self._marked = len(head) - len(kept)
            yield kept
        yield from chunks

    def stored(self, end: int) -> int | None:
        """See :meth:`_Plain.stored`."""
        end += self._marked
        while self._ends and self._ends[0][0] < end:
            self._ends.popleft()
        if not self._ends or self._ends[0][0] > end:
            return None
        self._cuttable = True
        return self._ends[0][1]

    def _ended(self, content: int, stored: int) -> None:
        while self._ends and self._ends[0][1] < self._file.position:
            self._ends.popleft()  # out of reach: a record may go through any number of parts
        self._ends.append((content, stored))
        self._unpacked = stored

    def _give_up(self) -> None:
        # Most files that are compressed are so as a whole, and are not worth the time. Of bzip2 streams as many are
        # read ahead as there are cores, which must not decide.
        at = self._file.offset if self._compression == "gzip" else self._unpacked
        if not self._cuttable and at > max(self._target, GIVE_UP_BYTES):
            raise InputError("whole", f"no document ends with a part of the {self._compression} stream")


def _gzip(file: "_Hashed", ended: Callable[[int, int], None]) -> Iterator[bytes]:
    """The content of gzip members without a byte between them; ``ended`` is told as by :func:`gzip_members.members`.
    Raises what zlib does for anything else."""
    data, at = file.read(gzip_members.INPUT_BYTES), 0
    given = 0
    while data:
        stream = zlib.decompressobj(31)
        step = gzip_members.FIRST_BYTES
        held = b""
        while not stream.eof:
            if at == len(data):
                data, at = file.read(gzip_members.INPUT_BYTES), 0
                if not data:
                    raise EOFError("the gzip stream ends early")
            piece = data[at : at + step]
            out = stream.decompress(piece, CHUNK_BYTES)
            at += len(piece) - len(stream.unconsumed_tail or stream.unused_data)
            step = min(4 * step, gzip_members.INPUT_BYTES)
            if out:
                if held:
                    yield held
                held = out
                given += len(out)
        if at == len(data):
            data, at = file.read(gzip_members.INPUT_BYTES), 0
        ended(given, file.offset - len(data) + at)
        if held:
            yield held


def _is_cut(content: bytes | None, unit_bytes: int, range_bytes: int, target: int) -> bool:
    """Whether a range of ``range_bytes`` ends after a unit: its content hashes below its share of a range."""
    smallest = target // 2
    if range_bytes < smallest:
        return False
    if range_bytes >= 4 * target:
        return True
    hashed = zlib.crc32(content if content is not None else str(unit_bytes).encode())
    return hashed * (target - smallest) < unit_bytes << 32


class _Hashed:
    """A file as it is read, and the SHA-256 of what lies between the cuts, which fall into the last of it."""

    def __init__(self, file: BinaryIO, look_back: int, stop: threading.Event | None) -> None:
        self.file, self._look_back, self._stop = file, look_back, stop
        self._waiting: deque[memoryview] = deque()  # read, not hashed yet
        self._sha256 = hashlib.sha256()
        self.offset = 0  # bytes read
        self.position = 0  # bytes hashed
        self._last_cut = 0

    def read(self, size: int) -> bytes:
        _check(self._stop)
        block = self.file.read(size)
        if block:
            self._hash_to(self.offset - self._look_back)
            self._waiting.append(memoryview(block))
            self.offset += len(block)
        return block

    def _hash_to(self, end: int) -> None:
        while self.position < end:
            block = self._waiting.popleft()
            piece = block[: end - self.position]
            self._sha256.update(piece)
            self.position += len(piece)
            if len(piece) < len(block):
                self._waiting.appendleft(block[len(piece) :])

    def cut(self, end: int) -> tuple[int, str]:
        """(Size, SHA-256) of what lies between the last cut and ``end``, which is none of the bytes already hashed."""
        self._hash_to(min(end, self.offset))
        size, self._last_cut = self.position - self._last_cut, self.position
        digest = self._sha256.hexdigest()
        self._sha256 = hashlib.sha256()
        return size, digest


def _check(stop: threading.Event | None) -> None:
    if stop is not None and stop.is_set():
        raise InterruptedError("nobody waits for the cuts any more")


def _cut_row_groups(uri: str, source: ParquetSource, target: int, stop: threading.Event | None) -> list[FileRange]:
    ranges: list[FileRange] = []
    with open_binary(uri) as raw:
        parquet_pages.check_footer(raw)
        file = pq.ParquetFile(raw, pre_buffer=False)
        pick_columns(source, file.schema_arrow.names)
        parquet.check_row_groups(raw, file)
        start = size = rows = rows_before = 0
        digests: list[str] = []
        groups = file.num_row_groups
        for group in range(groups):
            _check(stop)
            digest, group_bytes = parquet.row_group_digest(raw, file, group)
            digests.append(digest)
            rows += file.metadata.row_group(group).num_rows
            size += group_bytes
            if group + 1 < groups and not _is_cut(digest.encode(), group_bytes, size, target):
                continue
            position = Range(
                start=0, first=not ranges, row_groups=(start, group + 1), records_before=rows_before, lines_before=None
            )
            ranges.append(FileRange(range=position, sha256=parquet.row_groups_digest(digests), bytes=size))
            start, size, rows_before = group + 1, 0, rows
            digests = []
    return ranges if rows else []
