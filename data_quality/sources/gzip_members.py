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
MAX_REPEATED_BYTES = 256 << 20
"""What broken members may unpack to out of bytes that a broken one before them had been given already. Members that lie
within each other, each as large as the last, cost no more than that."""
FIRST_BYTES = 128
"""A member is first given so many bytes, then three times what it had: zlib copies what it does not need."""


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
    data = _Held(file)
    given = breaks = reach = repeated = 0
    while True:
        skipped = data.find_header()
        if skipped:
            breaks += 1
            yield Skip("corrupt", f"{skipped} bytes between gzip members that are none")
        if not data.left:
            return
        inflate = zlib.decompressobj(31)
        start = piece = end = data.position  # of the member, and of the piece of it that is being unpacked
        held = b""
        again = 0  # bytes out of what a broken member had before
        broken: zlib.error | None = None
        while not inflate.eof:
            if data.position == end:
                if not data.left and not data.fill():
                    break
                piece, end = data.position, data.position + min(INPUT_BYTES, data.left)
            try:
                out = _unpacked(inflate, data, start, end)
            except zlib.error as error:
                broken = error
                break
            if out:
                if held:
                    yield held
                held = out
                given += len(out)
                again += len(out) if piece < reach else 0
        if inflate.eof and data.position > reach and data.left <= -data.position % INPUT_BYTES:
            ended(given, data.position)
        if held:
            yield held
        if broken is not None:
            breaks += 1
            yield Skip("corrupt", f"gzip member: {broken}")
            reach = end
            repeated += again
            # The next member may begin within what was already handed over.
            data.go_to(data.find(MAGIC, max(start, piece - INPUT_BYTES) + 1, end))
            if breaks > MAX_BREAKS:
                raise InputError("corrupt", f"more than {MAX_BREAKS} breaks in the gzip stream")
            if repeated > MAX_REPEATED_BYTES:
                raise InputError("corrupt", f"broken gzip members within each other, of {repeated} bytes and more")
        elif not inflate.eof:
            yield Skip("truncated", "gzip stream ends early")
            return


class _Held:
    """What is held of a compressed file: what is not used yet, and before it INPUT_BYTES or more to go back to."""

    def __init__(self, file: Readable) -> None:
        self._file, self._data = file, bytearray()
        self._at = 0  # before it all is used

    @property
    def position(self) -> int:
        """Where in the file the unused begins."""
        return self._file.offset - self.left

    @property
    def left(self) -> int:
        """Bytes that are held and not used."""
        return len(self._data) - self._at

    def fill(self) -> bool:
        """Read one more block; False at the end."""
        gone = max(0, self._at - INPUT_BYTES)
        del self._data[:gone]
        self._at -= gone
        block = self._file.read(INPUT_BYTES - self._file.offset % INPUT_BYTES)  # the same from wherever it is read
        self._data += block
        return bool(block)

    def next(self, size: int) -> bytearray:
        """The next ``size`` bytes of the unused, which stay unused."""
        return self._data[self._at : self._at + size]

    def go_to(self, position: int) -> None:
        """Call used what lies before ``position`` of the file, and nothing else."""
        self._at += position - self.position

    def find(self, wanted: bytes, start: int, end: int) -> int:
        """Where in the file ``wanted`` lies between two positions; ``end`` if it does not."""
        first = self._file.offset - len(self._data)
        found = self._data.find(wanted, start - first, end - first)
        return found + first if found >= 0 else end

    def find_header(self) -> int:
        """Go to the next gzip header, or to the end; how many bytes lie before it (zero padding is none)."""
        dropped = 0
        padding = True
        while True:
            found = self._data.find(MAGIC, self._at)
            to = found if found >= 0 else max(self._at, len(self._data) - len(MAGIC) + 1)
            padding = padding and self._data.count(0, self._at, to) == to - self._at
            dropped += to - self._at
            self._at = to
            if found >= 0:
                break
            if not self.fill():
                padding = padding and self._data.count(0, self._at) == self.left
                dropped += self.left
                self._at = len(self._data)
                break
        return 0 if padding else dropped


def _unpacked(inflate: "zlib._Decompress", data: _Held, start: int, end: int) -> bytes:
    """What the bytes up to ``end`` of a member from ``start`` unpack to, at most CHUNK_BYTES of it, as of one call with
    all of them."""
    parts: list[bytes] = []
    room = CHUNK_BYTES
    at = data.position
    while room and at < end and not inflate.eof:
        piece = data.next(min(max(FIRST_BYTES, 3 * (at - start)), end - at))
        parts.append(inflate.decompress(piece, room))
        room -= len(parts[-1])
        at += len(piece) - len(inflate.unconsumed_tail or inflate.unused_data)
        data.go_to(at)
    return b"".join(parts)
