"""HTTP responses as web archives hold them: header, and body out of its transfer and content encodings."""

import contextlib
import io
import zlib
from collections.abc import Callable

MAX_HEADER_BYTES = 64 << 10
MAX_DECODINGS = 5
"""Of one body; curl takes no more either. A header has room for thousands, each of which may unpack to the limit."""


class TooLong(Exception):
    """A body that decompresses to more than the limit."""


def split_http(block: bytes) -> tuple[dict[str, str], bytes]:
    """(HTTP header fields, the status line under ""; body). Raises ValueError where there is no header."""
    ends = [at + len(end) for end in (b"\r\n\r\n", b"\n\n") if (at := block.find(end, 0, MAX_HEADER_BYTES)) >= 0]
    if not ends or not block.startswith(b"HTTP/"):
        raise ValueError("no HTTP header")
    lines = block[: min(ends)].decode("latin-1").splitlines()
    http = {"": lines[0]}
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        if colon:
            http[name.strip().lower()] = value.strip()
    return http, block[min(ends) :]


def decoded(body: bytes, http: dict[str, str], limit: int) -> bytes:
    """A body without its transfer and content encodings; what crawlers already decoded is left as it is.

    Raises :class:`TooLong`, and zlib.error, OSError or ValueError for what cannot be decoded.
    """
    if "chunked" in http.get("transfer-encoding", "").lower():
        body = _dechunked(body)
    decodings = 0
    for encoding in reversed(http.get("content-encoding", "").lower().split(",")):
        decode = _decoder(encoding.strip(), body)
        if decode is None:
            continue
        decodings += 1
        if decodings > MAX_DECODINGS:
            raise ValueError(f"more than {MAX_DECODINGS} content encodings")
        body = decode(body, limit)
    return body


def _decoder(encoding: str, body: bytes) -> Callable[[bytes, int], bytes] | None:
    """What decodes a body within a limit; None for an encoding that is unknown, or that the body plainly is not in."""
    if encoding in ("gzip", "x-gzip") and body.startswith(b"\x1f\x8b"):
        return _gunzipped
    if encoding == "deflate" and body:
        return _undeflated
    if encoding == "br":
        return _unbrotlied
    if encoding == "zstd" and body.startswith(b"\x28\xb5\x2f\xfd"):
        return _unzstded
    return None


def _gunzipped(body: bytes, limit: int) -> bytes:
    return _inflated(body, 31, limit)


def _undeflated(body: bytes, limit: int) -> bytes:
    wrapped = len(body) > 1 and body[0] & 15 == 8 and (body[0] * 256 + body[1]) % 31 == 0
    with contextlib.suppress(zlib.error):  # was decoded by the crawler
        return _inflated(body, 15 if wrapped else -15, limit)
    return body


def _unbrotlied(body: bytes, limit: int) -> bytes:
    from fastwarc.stream_io import BrotliReader

    with contextlib.suppress(OSError):  # was decoded by the crawler
        out = BrotliReader(io.BytesIO(body)).read(limit + 1)
        if len(out) > limit:
            raise TooLong
        return out or body
    return body


def _unzstded(body: bytes, limit: int) -> bytes:
    import pyarrow as pa

    with pa.CompressedInputStream(pa.BufferReader(body), "zstd") as unpacked:
        out = unpacked.read(limit + 1)
    if len(out) > limit:
        raise TooLong
    return out


def _inflated(body: bytes, window: int, limit: int) -> bytes:
    """Decompressed within ``limit``; a body that was cut off gives what is there."""
    inflate = zlib.decompressobj(window)
    out = inflate.decompress(body, limit + 1)
    if len(out) > limit:
        raise TooLong
    return out


def _dechunked(body: bytes) -> bytes:
    """A body out of its chunks (RFC 9112, 7.1); one that has none is left as it is."""
    out = bytearray()
    at = 0
    while (end := body.find(b"\r\n", at, at + 1000)) >= 0:
        try:
            size = int(body[at:end].partition(b";")[0], 16)
        except ValueError:
            break
        if size <= 0:
            return bytes(out)
        out += body[end + 2 : end + 2 + size]
        at = end + 2 + size + 2
    return bytes(out) if at else body
