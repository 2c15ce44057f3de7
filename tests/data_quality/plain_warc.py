"""Gzip members and WARC records found in the plainest way: what was taken too much is put back in front and looked at
again, whatever that costs. What the reader gives is compared with this."""

import re
import zlib

from data_quality.sources import gzip_members, warc
from data_quality.sources.base import InputError, Skip
from data_quality.sources.gzip_members import MAGIC, MAX_BREAKS

MAX_HEADER_BYTES = 64 << 10
WANTED = ("response", "resource", "conversion")
RECORD = re.compile(rb"WARC/1\.\d\r?\n(?:[\w-]{1,40}:[^\r\n]{0,2000}\r?\n){0,20}?WARC-Type:")


def members(file, ended):
    """What :func:`gzip_members.members` gives."""
    data = bytearray()  # compressed, not yet used; the last of what was used stays in `last` to look for headers in
    given = breaks = reach = 0
    while True:
        skipped = _find_header(file, data)
        if skipped:
            breaks += 1
            yield Skip("corrupt", f"{skipped} bytes between gzip members that are none")
        if not data:
            return
        inflate = zlib.decompressobj(31)
        last = held = b""
        broken = None
        while not inflate.eof:
            if not inflate.unconsumed_tail:
                if not data and not _fill(file, data):
                    break
                last = last[-gzip_members.INPUT_BYTES :] + bytes(data[: gzip_members.INPUT_BYTES])
                piece = bytes(data[: gzip_members.INPUT_BYTES])
                del data[: gzip_members.INPUT_BYTES]
            else:
                piece = inflate.unconsumed_tail
            try:
                out = inflate.decompress(piece, gzip_members.CHUNK_BYTES)
            except zlib.error as error:
                broken = error
                break
            if out:
                if held:
                    yield held
                held = out
                given += len(out)
        if inflate.eof:
            data[:0] = inflate.unused_data
            end = file.offset - len(data)
            if end > reach and len(data) <= -end % gzip_members.INPUT_BYTES:
                ended(given, end)
        if held:
            yield held
        if broken is not None:
            breaks += 1
            yield Skip("corrupt", f"gzip member: {broken}")
            reach = file.offset - len(data)
            # The next member may begin within what was already handed over.
            again = last.find(MAGIC, 1)
            if again > 0:
                data[:0] = last[again:]
            if breaks > MAX_BREAKS:
                raise InputError("corrupt", f"more than {MAX_BREAKS} breaks in the gzip stream")
        elif not inflate.eof:
            yield Skip("truncated", "gzip stream ends early")
            return


def _fill(file, data):
    block = file.read(gzip_members.INPUT_BYTES - file.offset % gzip_members.INPUT_BYTES)
    data += block
    return bool(block)


def _find_header(file, data):
    """Drop bytes up to the next gzip header, or all; how many were dropped (zero padding at the end is none)."""
    dropped = 0
    padding = True
    while True:
        if len(data) < len(MAGIC) and not _fill(file, data):
            padding = padding and not any(data)
            dropped += len(data)
            data.clear()
            return 0 if padding else dropped
        at = data.find(MAGIC)
        if at < 0 and len(data) < len(MAGIC):
            continue
        gone = at if at >= 0 else len(data) - len(MAGIC) + 1
        padding = padding and not any(data[:gone])
        dropped += gone
        del data[:gone]
        if at >= 0:
            return 0 if padding else dropped
        if not _fill(file, data):
            padding = padding and not any(data)
            dropped += len(data)
            data.clear()
            return 0 if padding else dropped


class Pieces(warc._Pieces):
    """The reader's buffer, with what is taken put back, and no memory of where no line ends."""

    def give_back(self, data):
        """Put back what was taken too much."""
        self._reach = self._filled
        self._buffer[:0] = data

    def peek(self, size):
        """The next ``size`` bytes, left where they are."""
        while len(self._buffer) < size and self._fill():
            pass
        return bytes(self._buffer[:size])

    def skip(self, size):
        """Read past ``size`` bytes; how many there were."""
        return len(self.take(size))

    def line(self):
        """The next line without its end; None if none ends within MAX_HEADER_BYTES."""
        seen = 0
        while (at := self._buffer.find(b"\n", seen)) < 0:
            seen = len(self._buffer)
            if seen > MAX_HEADER_BYTES or not self._fill():
                self.long_line |= seen > MAX_HEADER_BYTES
                return None
        self.long_line |= at > MAX_HEADER_BYTES
        out = bytes(self._buffer[:at])
        del self._buffer[: at + 1]
        return out.rstrip(b"\r")


def frames(stream, limit):
    """The records: (headers, block if it is all there, length, found, well ended); a :class:`Skip` between them."""
    while True:
        if strange := stream.find_record():
            yield Skip("corrupt", f"{strange} bytes between records that belong to none")
        if stream.at_end():
            if stream.fault is None:
                return
            yield stream.fault
            stream.resume()
            continue
        headers = _read_headers(stream)
        length = (headers or {}).get("content-length", "")
        if headers is None and stream.drained():
            if stream.fault is None:
                yield Skip("truncated", "the file ends within the header of a record")
        elif headers is None or not (length.isascii() and length.isdigit() and len(length) < 16):
            yield Skip("corrupt", "a record without a complete header and Content-Length")
        elif headers.get("warc-type") in WANTED and int(length) <= limit + MAX_HEADER_BYTES:
            yield _with_block(stream, headers, int(length))
        else:
            found = stream.skip(int(length))
            well_ended = found == int(length) and stream.peek(len(b"\r\n\r\n")) == b"\r\n\r\n"
            yield headers, None, int(length), found, well_ended


def _with_block(stream, headers, length):
    block = stream.take(length)
    found = len(block)
    well_ended = found == length and stream.peek(len(b"\r\n\r\n")) == b"\r\n\r\n"
    if not well_ended:  # was it cut off, or is its Content-Length wrong, so that another record begins within it?
        inner = RECORD.search(block + stream.peek(2048))
        if inner is not None and inner.start() < found:
            found = inner.start()
            stream.give_back(block[found:])
    return headers, block if found == length else None, length, found, well_ended


def _read_headers(stream):
    """The fields of a header block, names in lower case; None if it does not end as one."""
    headers = {}
    last = ""
    size = 0
    while (line := stream.line()) is not None and size <= MAX_HEADER_BYTES:
        size += len(line)
        if not line:
            return headers
        text = line.decode("utf-8", "replace")
        name, colon, value = text.partition(":")
        if text[0] in " \t" and last:
            headers[last] += " " + text.strip()
        elif colon:
            last = name.strip().lower()
            headers[last] = value.strip()
    return None
