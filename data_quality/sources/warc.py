"""Web archives: WARC (ISO 28500) as crawlers write it, and WET (Common Crawl's extracted text).

Records are framed here and not by fastwarc's iterator, which ends at the first byte between records that belongs to
none; fastwarc decodes brotli, and writes the files of the tests.
"""

import re
import zlib
from collections.abc import Iterator
from typing import NamedTuple

from data_quality.config import WarcSource
from data_quality.sources import charset, http_body
from data_quality.sources.base import FileRef, InputError, Reading, Record, Skip
from data_quality.sources.gzip_members import read_members
from data_quality.sources.html import page_record
from data_quality.sources.streams import Unit, read_chunks, split_compression, too_long

EXTENSIONS = (".warc", ".wet")
MAX_HEADER_BYTES = 64 << 10
_MAGIC = b"WARC/"
_INNER = b"WARC/1."
_RECORD = re.compile(rb"WARC/1\.\d\r?\n(?:[\w-]{1,40}:[^\r\n]{0,2000}\r?\n){0,20}?WARC-Type:")
_WANTED = frozenset({"response", "resource", "conversion"})
_RECORD_END = b"\r\n\r\n"


class _Pieces:
    """A buffered stream out of chunks; a :class:`Skip` among them ends it until :meth:`resume`."""

    def __init__(self, chunks: Iterator[bytes | Skip]) -> None:
        self._chunks, self._buffer = chunks, bytearray()
        self._filled = 0
        self._reach = 0
        self._lineless = 0  # up to here no line ends in what is buffered
        self.fault: Skip | None = None
        self.ended = False
        self.long_line = False  # how such a line is read depends on where the chunks begin

    @property
    def position(self) -> int:
        """Bytes of content up to here; those before a break count."""
        return self._filled - len(self._buffer)

    def is_clean(self, position: int) -> bool:
        """Whether reading could go on at ``position`` alone: nothing behind it was met that is still in mind, and
        nothing was looked at before that would be missing."""
        return self.fault is None and not self.ended and position >= self._reach

    def resume(self) -> None:
        """Forget what came before the break, and go on after it."""
        self._buffer.clear()
        self.fault = None

    def take(self, size: int) -> bytes:
        """The next ``size`` bytes; fewer at an end or break."""
        while len(self._buffer) < size and self._fill():
            pass
        out = bytes(self._buffer[:size])
        del self._buffer[:size]
        return out

    def ahead(self, size: int) -> int:
        """How many of the next ``size`` bytes there are before an end or break; they are left where they are."""
        while len(self._buffer) < size and self._fill():
            pass
        return min(size, len(self._buffer))

    def has(self, data: bytes, at: int) -> bool:
        """Whether ``data`` follows the next ``at`` bytes."""
        return self.ahead(at + len(data)) == at + len(data) and self._buffer.startswith(data, at)

    def find_inner(self, size: int) -> int:
        """How many bytes lie before the first record that begins in the next ``size`` bytes; ``size`` if none does.
        What lies behind it is read again."""
        end = self.ahead(size + 2048)
        at = self._buffer.find(_INNER, 0, min(end, size + len(_INNER) - 1))
        while at >= 0:
            if _RECORD.match(self._buffer, at, end):
                self._reach = self._filled
                return at
            at = self._buffer.find(_INNER, at + 1, min(end, size + len(_INNER) - 1))
        return size

    def skip(self, size: int) -> int:
        """Read past ``size`` bytes without holding them; how many there were."""
        left = size
        while left > len(self._buffer):
            left -= len(self._buffer)
            self._buffer.clear()
            if not self._fill():
                return size - left
        del self._buffer[:left]
        return size

    def line(self) -> bytes | None:
        """The next line without its end; None if none ends within MAX_HEADER_BYTES."""
        while (at := self._buffer.find(b"\n", max(0, self._lineless - self.position))) < 0:
            self._lineless = self._filled
            if len(self._buffer) > MAX_HEADER_BYTES or not self._fill():
                self.long_line |= len(self._buffer) > MAX_HEADER_BYTES
                return None
        self.long_line |= at > MAX_HEADER_BYTES
        out = bytes(self._buffer[:at])
        del self._buffer[: at + 1]
        return out.rstrip(b"\r")

    def find_record(self) -> int:
        """Read past everything before the next record; how many bytes there were other than line ends."""
        strange = 0
        while True:
            at = self._buffer.find(_MAGIC)
            gone = at if at >= 0 else max(0, len(self._buffer) - len(_MAGIC) + 1)
            strange += len(bytes(self._buffer[:gone]).translate(None, b"\r\n"))
            del self._buffer[:gone]
            if at >= 0:
                return strange
            if not self._fill():
                strange += len(bytes(self._buffer).translate(None, b"\r\n"))
                self._buffer.clear()
                return strange

    def drained(self) -> bool:
        """Whether the end or a break was met; what is left before it is dropped then."""
        if self.fault is None and not self.ended:
            return False
        self._buffer.clear()
        return True

    def at_end(self) -> bool:
        """Whether nothing is left before the end or the break."""
        return not self._buffer and not self._fill()

    def _fill(self) -> bool:
        if self.fault is not None or self.ended:
            return False
        piece = next(self._chunks, None)
        if isinstance(piece, bytes):
            self._buffer += piece
            self._filled += len(piece)
            return True
        self.fault, self.ended = piece, piece is None
        return False


class _Framed(NamedTuple):
    """A record: its header, its block (None if it is too long, cut off, or no page), how many of its ``length`` bytes
    are there, and whether two line ends follow them, as they must."""

    headers: dict[str, str]
    block: bytes | None
    length: int
    found: int
    well_ended: bool

    @property
    def is_page(self) -> bool:
        return self.headers.get("warc-type") in _WANTED


def read(ref: FileRef, source: WarcSource) -> Reading:
    """The pages of one file, numbered by response (or resource, or conversion) record.

    What is damaged (gzip members, headers, bytes between records) is a skip, and reading goes on behind it.
    """
    _, compression = split_compression(ref.uri)
    stream = _Pieces(read_members(ref) if compression == "gzip" else read_chunks(ref))
    number = 0
    for item in _frames(stream, source.max_record_bytes):
        if isinstance(item, Skip):
            yield item
        elif item.is_page:
            number += 1
            yield _read_record(item, number, source)


def units(chunks: Iterator[bytes | Skip], source: WarcSource) -> Iterator[Unit]:
    """Where a file may be cut: after the two line ends behind a record that is all there.

    The records are framed as they are for reading, from the first on. So `WARC/1.0` within a page is never taken for a
    record, and a cut comes only where the reader is done with all that lies before, damaged or not: from there on it
    reads what it reads without the cut. Raises :class:`InputError` for a header that no writer makes, with a line
    beyond all limits.
    """
    stream = _Pieces(chunks)
    number = 0
    for item in _frames(stream, source.max_record_bytes):
        if stream.long_line:
            raise InputError("too_long", f"a header with a line of more than {MAX_HEADER_BYTES} bytes")
        if isinstance(item, Skip):
            continue
        number += item.is_page
        end = stream.position + len(_RECORD_END)
        if item.well_ended and stream.is_clean(end):
            name = f"{item.headers.get('warc-record-id')} {item.length}"
            yield Unit(end, name.encode(), number, None)


def _frames(stream: _Pieces, limit: int) -> Iterator[_Framed | Skip]:
    while True:
        if strange := stream.find_record():
            yield Skip("corrupt", f"{strange} bytes between records that belong to none")
        if stream.at_end():
            if stream.fault is None:
                return
            yield stream.fault
            stream.resume()
            continue
        start = stream.position
        headers = _read_headers(stream)
        length = (headers or {}).get("content-length", "")
        if headers is None and stream.drained():
            if stream.fault is None:
                yield Skip("truncated", "the file ends within the header of a record")
        elif headers is None or not (length.isascii() and length.isdigit() and len(length) < 16):
            yield Skip("corrupt", "a record without a complete header and Content-Length")
            if stream.position == start:  # not even its first line ends
                stream.skip(len(_MAGIC))
        elif headers.get("warc-type") in _WANTED and int(length) <= limit + MAX_HEADER_BYTES:
            yield _with_block(stream, headers, int(length))
        else:
            found = stream.skip(int(length))
            well_ended = found == int(length) and stream.has(_RECORD_END, 0)
            yield _Framed(headers, None, int(length), found, well_ended)


def _with_block(stream: _Pieces, headers: dict[str, str], length: int) -> _Framed:
    found = stream.ahead(length)
    well_ended = found == length and stream.has(_RECORD_END, length)
    if not well_ended:  # was it cut off, or is its Content-Length wrong, so that another record begins within it?
        # Looked for in the buffer up to the first: what lies behind is left there, or each of many short records that
        # say to be long would cost as much as it says.
        found = stream.find_inner(found)
    if found < length:
        stream.skip(found)
        return _Framed(headers, None, length, found, False)
    return _Framed(headers, stream.take(length), length, found, well_ended)


def _read_headers(stream: _Pieces) -> dict[str, str] | None:
    """The fields of a header block, names in lower case; None if it does not end as one."""
    headers: dict[str, list[str]] = {}
    last = ""
    size = 0
    while (line := stream.line()) is not None and size <= MAX_HEADER_BYTES:
        size += len(line)
        if not line:
            return {name: " ".join(values) for name, values in headers.items()}
        text = line.decode("utf-8", "replace")
        name, colon, value = text.partition(":")
        if text[0] in " \t" and last:
            headers[last].append(text.strip())
        elif colon:
            last = name.strip().lower()
            headers[last] = [value.strip()]
    return None


def _read_record(record: _Framed, number: int, source: WarcSource) -> Record | Skip:
    headers, block, length, found, _ = record
    limit = source.max_record_bytes
    if found < length:
        return Skip("truncated", f"{found} of {length} bytes of the record are there", record=number)
    if block is None:
        return Skip("too_long", too_long(length, limit), record=number)
    try:
        return _page(block, headers, number, source)
    except http_body.TooLong:
        return Skip("too_long", f"more than {limit} bytes when decoded; max_record_bytes is {limit}", record=number)
    except (zlib.error, OSError, ValueError) as error:
        return Skip("corrupt", f"{headers.get('warc-target-uri', 'record')}: {error}", record=number)


def _page(block: bytes, headers: dict[str, str], number: int, source: WarcSource) -> Record | Skip:
    content_type, http_charset = _split_content_type(headers.get("content-type", ""))
    if content_type == "application/http":
        http, block = http_body.split_http(block)
        status = http[""].split()[1:2]
        if status != ["200"]:
            return Skip("http_status", f"status {' '.join(status) or 'missing'}", record=number)
        content_type, http_charset = _split_content_type(http.get("content-type", "text/html"))
        block = http_body.decoded(block, http, source.max_record_bytes)
    if len(block) > source.max_record_bytes:
        return Skip("too_long", too_long(len(block), source.max_record_bytes), record=number)
    if content_type not in source.content_types:
        return Skip("other_content_type", content_type[:100] or "none", record=number)
    metadata = {
        "url": headers.get("warc-target-uri", "").strip("<>"),
        "date": headers.get("warc-date", ""),
        "content_type": content_type,
    }
    id = headers.get("warc-record-id", "").strip("<> ") or None
    if headers.get("warc-type") != "conversion" and content_type != "text/plain":
        return page_record(block, source, number, metadata, http_charset, id)
    try:
        text, encoding = charset.decode(block, "utf-8" if headers.get("warc-type") == "conversion" else http_charset)
    except UnicodeError as error:
        return Skip("bad_encoding", str(error), record=number)
    return Record(number, text, id=id, metadata={**metadata, "encoding": encoding})


def _split_content_type(value: str) -> tuple[str, str | None]:
    kind, _, parameters = value.partition(";")
    for parameter in parameters.split(";"):
        name, _, charset_name = parameter.partition("=")
        if name.strip().lower() == "charset":
            return kind.strip().lower(), charset_name.strip(" \t\"'")
    return kind.strip().lower(), None
