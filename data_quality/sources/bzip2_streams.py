"""Concatenated bzip2 streams (how MediaWiki's multistream dumps are written), unpacked on all cores."""

import bz2
import os
import re
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from data_quality.sources.base import InputError
from data_quality.sources.gzip_members import Readable
from data_quality.sources.streams import CHUNK_BYTES

MAX_STREAM_BYTES = 8 << 20
"""A longer stream is not unpacked. Multistream dumps have a hundred pages in each, mostly less than a megabyte."""
MAX_CONTENT_BYTES = 64 << 20
MAX_THREADS = 8
"""More would wait for what reads the content, and each may hold that of a stream."""
AHEAD_BYTES = 8 << 20
LOOK_BACK_BYTES = AHEAD_BYTES + 3 * MAX_STREAM_BYTES + (1 << 20)
"""No more than this is read of the file beyond the end of a stream while its content is given."""
_HEAD = re.compile(rb"BZh[1-9]1AY&SY")  # of a stream with something in it; a block begins with the digits of pi


def unpacked(file: Readable, ended: Callable[[int, int], None]) -> Iterator[bytes]:
    """The content of a file of bzip2 streams, in chunks.

    Before the last chunk of each stream ``ended`` is told how many bytes of content there are up to its end, and how
    many of the file. Raises :class:`InputError` or OSError unless the file is such streams from end to end, none of
    them empty or larger than the limits: what looks like a stream's head and is none is found so.
    """
    content = 0
    for out, stored in _unpacked_streams(file):
        content += len(out)
        ended(content, stored)
        for at in range(0, len(out), CHUNK_BYTES):
            yield out[at : at + CHUNK_BYTES]


def _unpacked_streams(file: Readable) -> Iterator[tuple[bytes, int]]:
    waiting: deque[tuple[Future[bytes], int, int]] = deque()
    ahead = end = 0
    threads = min(os.cpu_count() or 1, MAX_THREADS)
    pool = ThreadPoolExecutor(threads, thread_name_prefix="bzip2")
    try:
        for packed in _packed_streams(file):
            end += len(packed)
            ahead += len(packed)
            waiting.append((pool.submit(_unpack, packed), len(packed), end))
            while len(waiting) > threads + 1 or ahead > AHEAD_BYTES:
                out, size, stored = waiting.popleft()
                ahead -= size
                yield out.result(), stored
        for out, _, stored in waiting:
            yield out.result(), stored
    finally:
        pool.shutdown(cancel_futures=True)


def _packed_streams(file: Readable) -> Iterator[bytes]:
    """What lies between the heads of streams."""
    data = bytearray()
    looked = 1  # from here on the next head is looked for
    while block := file.read(CHUNK_BYTES):
        data += block
        while head := _HEAD.search(data, looked):
            yield bytes(data[: head.start()])
            del data[: head.start()]
            looked = 1
        looked = max(1, len(data) - 9)
        if len(data) > MAX_STREAM_BYTES:
            raise InputError("too_long", f"a bzip2 stream of more than {MAX_STREAM_BYTES} bytes")
    if data:
        yield bytes(data)


def _unpack(packed: bytes) -> bytes:
    stream = bz2.BZ2Decompressor()
    out = stream.decompress(packed, MAX_CONTENT_BYTES)
    if not out or not stream.eof or stream.unused_data:
        raise InputError("corrupt", "a bzip2 stream that is cut off, empty, too large, or followed by something else")
    return out
