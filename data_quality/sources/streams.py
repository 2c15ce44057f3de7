"""Files as streams: opened through fsspec, hashed while read, decompressed, and split within bounded memory."""

import codecs
import contextlib
import hashlib
import tempfile
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

import pyarrow as pa

from data_quality.sources.base import FileRef, InputError, SourceChanged, WikiHead
from data_quality.sources.charset import auto_utf8

CHUNK_BYTES = 1 << 18
COMPRESSIONS = {".gz": "gzip", ".zst": "zstd", ".bz2": "bz2"}
SPOOL_LIMIT = 64 << 30  # a compressed file that must be unpacked to disk (Parquet) is refused beyond this


def split_compression(path: str) -> tuple[str, str | None]:
    """``("a.jsonl", "gzip")`` for ``a.jsonl.gz``; the compression is None for other names."""
    for extension, compression in COMPRESSIONS.items():
        if path.lower().endswith(extension):
            return path[: -len(extension)], compression
    return path, None


def open_binary(uri: str) -> BinaryIO:
    """A local path or an fsspec URI, opened for reading."""
    if "://" not in uri:
        return open(uri, "rb")
    import fsspec

    return fsspec.open(uri, "rb").open()


class HashingFile:
    """A binary file that hashes what is read from it; pyarrow reads from it as from any Python file.

    With ``limit`` it ends after so many bytes. ``offset`` says where in the file it is.
    """

    def __init__(self, file: BinaryIO, limit: int | None = None, offset: int = 0) -> None:
        self._file, self._left, self.offset = file, limit, offset
        self._sha256 = hashlib.sha256()
        self.closed = False

    def read(self, size: int = -1) -> bytes:
        if self._left is not None:
            size = self._left if size < 0 else min(size, self._left)
        block = self._file.read(size)
        if self._left is not None:
            self._left -= len(block)
        self._sha256.update(block)
        self.offset += len(block)
        return block

    def close(self) -> None:
        """pyarrow closes what it has read; the rest is still wanted for the hash."""

    def rest_digest(self) -> str:
        """SHA-256 of the whole file, after reading what nobody read."""
        while self.read(1 << 20):
            pass
        return self._sha256.hexdigest()


def read_chunks(ref: FileRef) -> Iterator[bytes]:
    """The decompressed content of a file, or of its range, in chunks of at most 256 KiB.

    Every byte before a truncation or corruption is yielded before :class:`InputError` is raised. Raises
    :class:`SourceChanged` at the end if the file is not the one that was fingerprinted.
    """
    _, compression = split_compression(ref.uri)
    failure: OSError | pa.ArrowException | None = None
    done = 0
    with open_binary(ref.uri) as raw:
        file = hashing(ref, raw)
        if compression is None:
            while chunk := file.read(CHUNK_BYTES):
                yield chunk
        else:
            with pa.CompressedInputStream(pa.PythonFile(file, "r"), compression) as stream:
                try:
                    while chunk := stream.read(CHUNK_BYTES):
                        done += len(chunk)
                        yield chunk
                except (OSError, pa.ArrowException) as error:  # the latter for what bzip2 has no name for
                    failure = error
        if file.rest_digest() != ref.sha256:
            raise SourceChanged(f"{ref.uri} changed while it was being ingested; run again")
    if failure is not None:
        yield from _salvage(ref, compression, done)
        reason = "truncated" if "runcated" in str(failure) else "corrupt"
        raise InputError(reason, f"{compression} stream ends early: {failure}")


def hashing(ref: FileRef, raw: BinaryIO) -> HashingFile:
    """An opened file, or the range of it that is meant."""
    if ref.range is None:
        return HashingFile(raw)
    raw.seek(ref.range.start)
    return HashingFile(raw, ref.bytes, ref.range.start)


def _salvage(ref: FileRef, compression: str | None, done: int) -> Iterator[bytes]:
    # pyarrow's read returns nothing of a chunk that ends in an error: read again up to it, then byte by byte.
    with (
        open_binary(ref.uri) as raw,
        pa.CompressedInputStream(pa.PythonFile(hashing(ref, raw), "r"), compression) as stream,
    ):
        tail = bytearray()
        with contextlib.suppress(OSError, pa.ArrowException):  # the failure that read_chunks reports
            while done > 0 and (again := stream.read(min(done, CHUNK_BYTES))):
                done -= len(again)
            while byte := stream.read(1):
                tail += byte
        yield bytes(tail)


def open_seekable(ref: FileRef) -> BinaryIO:
    """The decompressed content as a seekable file, for formats that need one; compressed ones are unpacked to disk."""
    _, compression = split_compression(ref.uri)
    with open_binary(ref.uri) as raw:
        if HashingFile(raw).rest_digest() != ref.sha256:
            raise SourceChanged(f"{ref.uri} changed while it was being ingested; run again")
    if compression is None:
        return open_binary(ref.uri)
    spool = tempfile.TemporaryFile()  # noqa: SIM115  handed to the caller, who closes it
    try:
        size = 0
        for chunk in read_chunks(ref):
            size += len(chunk)
            if size > SPOOL_LIMIT:
                raise InputError("too_long", f"more than {SPOOL_LIMIT} bytes when unpacked")
            spool.write(chunk)
        spool.seek(0)
    except BaseException:
        spool.close()
        raise
    return spool


def is_reencoded(encoding: str) -> bool:
    """Whether a file in ``encoding`` cannot be split at ASCII bytes, or its encoding is not known yet."""
    return encoding == "auto" or encoding.startswith(("utf-16", "utf-32", "utf-7"))


def byte_order_mark(file: BinaryIO, encoding: str) -> int:
    """Bytes of the mark that :func:`as_utf8` drops at the start of a seekable file; goes back to the start."""
    head = file.read(len(codecs.BOM_UTF8))
    file.seek(0)
    return len(head) if encoding.startswith("utf-8") and head == codecs.BOM_UTF8 else 0


def as_utf8(chunks: Iterator[bytes], encoding: str, first: bool = True) -> Iterator[bytes]:
    """Re-encode what cannot be split at ASCII bytes (UTF-16, UTF-32) or is unknown (`auto`); drop a byte order mark,
    where the chunks are the ``first`` of the file."""
    if encoding == "auto":
        try:
            yield from auto_utf8(chunks)
        except UnicodeError as error:
            raise InputError("bad_encoding", str(error)) from None
        return
    if is_reencoded(encoding):
        decoder = codecs.getincrementaldecoder(encoding)()
        try:
            for chunk in chunks:
                yield decoder.decode(chunk).encode()
            yield decoder.decode(b"", final=True).encode()
        except UnicodeError as error:
            raise InputError("bad_encoding", f"not {encoding}: {error}") from None
        return
    for chunk in chunks:
        yield chunk.removeprefix(codecs.BOM_UTF8) if first and encoding.startswith("utf-8") else chunk
        first = False


def line_encoding(encoding: str) -> str:
    """The encoding of the pieces after :func:`as_utf8`."""
    return "utf-8" if is_reencoded(encoding) or encoding.startswith("utf-8") else encoding


class Part(NamedTuple):
    """A piece between separators: its bytes, or None where it was longer than the limit, and its size in bytes."""

    data: bytes | None
    size: int


class Unit(NamedTuple):
    """A place where a file may be cut: the byte after it (of the decompressed content), the content that says whether
    (None: its size does), the records and lines up to it (None: unknown), and what a MediaWiki dump said until there.
    """

    end: int
    content: bytes | None
    records: int
    lines: int | None
    wiki: WikiHead | None = None


def split_parts(chunks: Iterator[bytes], separator: bytes, max_bytes: int) -> Iterator[Part]:
    """Split a stream at ``separator``; never holds more than ``max_bytes`` plus one chunk.

    A part longer than ``max_bytes`` is read past and given as ``Part(None, size)``. What follows the last separator is
    a part unless it is empty. When ``chunks`` raises, the unfinished part is given up.
    """
    carry = bytearray()
    dropped = 0  # bytes of the current part already thrown away
    overlap = len(separator) - 1
    for chunk in chunks:
        seam = max(0, len(carry) - overlap)  # a separator may lie across two chunks
        carry += chunk
        if carry.find(separator, seam) >= 0:
            *parts, rest = bytes(carry).split(separator)
            for part in parts:
                size = len(part) + dropped
                dropped = 0
                yield Part(part if size <= max_bytes else None, size)
            carry = bytearray(rest)
        if dropped or len(carry) > max_bytes + overlap:
            excess = max(0, len(carry) - overlap)
            dropped += excess
            del carry[:excess]
    if carry or dropped:
        size = len(carry) + dropped
        yield Part(bytes(carry) if size <= max_bytes else None, size)


def line_units(chunks: Iterator[bytes], max_bytes: int) -> Iterator[Unit]:
    """A unit after each line; the number of a record is that of its line."""
    end = 0
    for number, (data, size) in enumerate(split_parts(chunks, b"\n", max_bytes), 1):
        end += size + 1
        yield Unit(end, data, number, number)


def read_lines(ref: FileRef, encoding: str, max_bytes: int) -> Iterator[Part]:
    """The lines of a text file without their line feeds; see :func:`split_parts`."""
    return split_parts(read_utf8(ref, encoding), b"\n", max_bytes)


def read_utf8(ref: FileRef, encoding: str) -> Iterator[bytes]:
    """:func:`read_chunks` through :func:`as_utf8`."""
    return as_utf8(read_chunks(ref), encoding, ref.range is None or ref.range.first)


def too_long(size: int, max_bytes: int) -> str:
    """The detail of a skip for a record of ``size`` bytes."""
    return f"{size} bytes; max_record_bytes is {max_bytes}"
