"""Concatenated gzip members (how WARC files are written) that survive damage: a broken member costs itself only."""

import zlib
from collections.abc import Callable, Iterator
from typing import Protocol

from data_quality.sources.base import FileRef, InputError, Skip, SourceChanged
from data_quality.sources.streams import CHUNK_BYTES, hashing, open_binary

MAGIC = b"\x1f\x8b\x08"
INPUT_BYTES = 1 << 16
MAX_BREAKS = 1000
"""Members that may be broken before a file is given up; bounds the time that garbage can cost."""


class Readable(Protocol):
    """A file that says where it is."""

    offset: int

    def read(self, size: int) -> bytes:
        """The next ``size`` bytes; fewer at the end."""
        ...


def read_members(ref: FileRef) -> Iterator[bytes | Skip]:
    """Decompressed chunks of at most 256 KiB, and a :class:`Skip` wherever something could not be read.

    After damage, reading goes on at the next gzip header. Memory: a few chunks, whatever a member expands to. Raises
    :class:`SourceChanged` at the end if the file is not the one that was fingerprinted, :class:`InputError` after
    ``MAX_BREAKS`` breaks.
    """
    with open_binary(ref.uri) as raw:
        file = hashing(ref, raw)
        yield from members(file)
        if file.rest_digest() != ref.sha256:
            raise SourceChanged(f"{ref.uri} changed while it was being ingested; run again")


def members(file: Readable, ended: Callable[[int, int], None] = lambda content, stored: None) -> Iterator[bytes | Skip]:
    """:func:`read_members` of an opened file.

    Where a member ends and the file could be read on from there with the same result, ``ended`` is told so before the
    last of its content is given: how many bytes of content there are up to it, and its end in the file. It could not
    where a broken member was looked for beyond that end, nor where the file is not at the end of a block: what is saved
    of a broken member depends on the blocks.
    """
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
        broken: zlib.error | None = None
        while not inflate.eof:
            if not inflate.unconsumed_tail:
                if not data and not _fill(file, data):
                    break
                last = last[-INPUT_BYTES:] + bytes(data[:INPUT_BYTES])
                piece = bytes(data[:INPUT_BYTES])
                del data[:INPUT_BYTES]
            else:
                piece = inflate.unconsumed_tail
            try:
                out = inflate.decompress(piece, CHUNK_BYTES)
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
            if end > reach and len(data) <= -end % INPUT_BYTES:
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


def _fill(file: Readable, data: bytearray) -> bool:
    block = file.read(INPUT_BYTES - file.offset % INPUT_BYTES)  # the same blocks from wherever it is read
    data += block
    return bool(block)


def _find_header(file: Readable, data: bytearray) -> int:
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
