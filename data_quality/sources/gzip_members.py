"""Concatenated gzip members (how WARC files are written) that survive damage: a broken member costs itself only."""

import zlib
from collections.abc import Iterator

from data_quality.sources.base import FileRef, InputError, Skip, SourceChanged
from data_quality.sources.streams import CHUNK_BYTES, HashingFile, open_binary

MAGIC = b"\x1f\x8b\x08"
INPUT_BYTES = 1 << 16
MAX_BREAKS = 1000
"""Members that may be broken before a file is given up; bounds the time that garbage can cost."""


def read_members(ref: FileRef) -> Iterator[bytes | Skip]:
    """Decompressed chunks of at most 256 KiB, and a :class:`Skip` wherever something could not be read.

    After damage, reading goes on at the next gzip header. Memory: a few chunks, whatever a member expands to. Raises
    :class:`SourceChanged` at the end if the file is not the one that was fingerprinted, :class:`InputError` after
    ``MAX_BREAKS`` breaks.
    """
    with open_binary(ref.uri) as raw:
        file = HashingFile(raw)
        data = bytearray()  # compressed, not yet used; the last of what was used stays in `last` to look for headers in
        last = b""
        breaks = 0
        while True:
            skipped = _find_header(file, data)
            if skipped:
                breaks += 1
                yield Skip("corrupt", f"{skipped} bytes between gzip members that are none")
            if not data:
                break
            inflate = zlib.decompressobj(31)
            last = b""
            try:
                while not inflate.eof:
                    if not inflate.unconsumed_tail:
                        if not data and not _fill(file, data):
                            break
                        last = last[-INPUT_BYTES:] + bytes(data[:INPUT_BYTES])
                        piece = bytes(data[:INPUT_BYTES])
                        del data[:INPUT_BYTES]
                    else:
                        piece = inflate.unconsumed_tail
                    out = inflate.decompress(piece, CHUNK_BYTES)
                    if out:
                        yield out
            except zlib.error as error:
                breaks += 1
                yield Skip("corrupt", f"gzip member: {error}")
                # The next member may begin within what was already handed over.
                again = last.find(MAGIC, 1)
                if again > 0:
                    data[:0] = last[again:]
                if breaks > MAX_BREAKS:
                    raise InputError("corrupt", f"more than {MAX_BREAKS} breaks in the gzip stream") from None
                continue
            if not inflate.eof:
                yield Skip("truncated", "gzip stream ends early")
                break
            data[:0] = inflate.unused_data
        if file.rest_digest() != ref.sha256:
            raise SourceChanged(f"{ref.uri} changed while it was being ingested; run again")


def _fill(file: HashingFile, data: bytearray) -> bool:
    block = file.read(INPUT_BYTES)
    data += block
    return bool(block)


def _find_header(file: HashingFile, data: bytearray) -> int:
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
