"""Which character encoding bytes are in, and the text they spell.

Order: byte order mark; what the HTTP header, then the page's own meta tag says, as far as the bytes agree; valid
UTF-8; and for the rest a guess between the encodings that the bytes are valid in. Labels mean what browsers take them
to mean (WHATWG Encoding Standard, 4.2): `gb2312` is GB18030, `iso-8859-1` is Windows-1252.
"""

import codecs
import re
from collections.abc import Iterator

SAMPLE_BYTES = 64 << 10
MAX_DAMAGE = 0.01
"""Share of replacement characters beyond which bytes are not in an encoding."""

_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
# What is not ASCII, or makes ASCII mean something else (UTF-16 without a mark, ISO-2022).
_TELLING = re.compile(rb"[\x80-\xff\x00\x1b]")
_META = re.compile(
    rb"""<(?:meta\b[^<>]{0,500}?\bcharset|\?xml\b[^<>]{0,200}?\bencoding)\s*=\s*["']?\s*([\w.:-]{2,40})""", re.I
)
# Label (as Python's codecs call it) -> the superset that pages so labelled are in.
_SUPERSETS = {
    "ascii": "cp1252",
    "iso8859-1": "cp1252",
    "iso8859-9": "cp1254",
    "iso8859-11": "cp874",
    "tis-620": "cp874",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "hz": "hz",
    "big5": "big5hkscs",
    "cp950": "big5hkscs",
    "shift_jis": "cp932",
    "euc_kr": "cp949",
    "ks_c_5601-1987": "cp949",
    "utf-16": "utf-16-le",
}
# Guessed for short stretches, hardly ever true of anything written since: what was meant instead.
_UNLIKELY = {"ascii": "cp1252", "cp865": "cp1252", "cp852": "cp1250", "mac-cyrillic": "cp1251"}
_REFUSED = frozenset({"utf_7", "idna", "punycode", "unicode_escape", "raw_unicode_escape", "undefined", "mbcs", "oem"})


def known_encoding(label: str | None) -> str | None:
    """The Python codec that a declared label means, or None if it is none."""
    if not label:
        return None
    try:
        info = codecs.lookup(label.strip().strip("\"'"))
    except (LookupError, ValueError):
        return None
    if not info._is_text_encoding or info.name.replace("-", "_") in _REFUSED:
        return None
    return _SUPERSETS.get(info.name, info.name)


def meta_charset(html: bytes) -> str | None:
    """The encoding a page names in a meta tag or XML declaration within its first 4,096 bytes."""
    found = _META.search(html[:4096])
    encoding = known_encoding(found.group(1).decode("ascii")) if found else None
    # It was readable as ASCII, so whatever it says, it is not two bytes a character.
    return "utf-8" if encoding is not None and encoding.startswith(("utf-16", "utf-32")) else encoding


def detect(data: bytes, declared: tuple[str | None, ...] = (), at_start: bool = True) -> str:
    """The encoding of ``data``, a Python codec name; ``declared`` are codecs from :func:`known_encoding`, in order.

    A byte order mark is one ``at_start`` of a file only: further on the same bytes are damage.
    """
    for mark, encoding in _BOMS:
        if at_start and data.startswith(mark):
            return encoding
    telling = _TELLING.search(data)
    if telling is None:
        return "utf-8"
    sample = data[telling.start() : telling.start() + SAMPLE_BYTES]
    if sample.startswith(tuple(mark for mark, _ in _BOMS)):
        sample = b" " + sample  # uchardet would take it for the start of a file
    is_utf8 = _is_utf8(sample)
    for encoding in filter(None, declared):
        if encoding == "utf-8" and is_utf8:
            return encoding
        # Any bytes are valid in a single-byte encoding, which says nothing; that they are valid UTF-8 says much.
        if _is_single_byte(encoding):
            if not is_utf8:
                return encoding
        elif _damage(sample, encoding) <= MAX_DAMAGE:
            return encoding
    return "utf-8" if is_utf8 and b"\x1b$" not in sample else guess(sample)


def guess(sample: bytes) -> str:
    """The likeliest encoding of bytes that nobody declared and that are not UTF-8: what uchardet says.

    On stretches of translated manuals in 14 legacy encodings it was right more often than charset-normalizer, and ten
    times as fast (benchmarks/charset_detection.py).
    """
    from resiliparse.parse.encoding import detect_encoding

    encoding = known_encoding(detect_encoding(sample, max_len=0, html5_compatible=False))
    return _UNLIKELY.get(encoding or "", encoding or "cp1252")


def decode(data: bytes, http_charset: str | None = None, html: bool = False) -> tuple[str, str]:
    """(text, encoding). Single bad bytes become U+FFFD.

    Raises ``UnicodeError`` if more than one character in a hundred would.
    """
    declared = (known_encoding(http_charset), meta_charset(data) if html else None)
    encoding = detect(data, declared)
    text = data.decode(encoding, "replace").removeprefix("\ufeff")
    bad = text.count("\ufffd")
    if bad > MAX_DAMAGE * max(len(text), 100):
        raise UnicodeError(f"looks like {encoding}, but {bad} of {len(text)} characters are invalid")
    return text, encoding


def auto_utf8(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """A stream of text in an unknown encoding as UTF-8; at most about 64 KiB and a chunk are held.

    The encoding is decided by the first 64 KiB from the first byte that is not ASCII on. A byte that is invalid in it
    stays as it is, so that it is invalid UTF-8 and costs its own record only.
    """
    held, at_start = b"", True
    for chunk in chunks:
        if not held:
            telling = _TELLING.search(chunk)
            start = len(chunk) if telling is None else telling.start() if telling.start() >= 4 else 0
            if start:
                at_start = False
                yield chunk[:start]
                chunk = chunk[start:]
        held += chunk
        if len(held) >= SAMPLE_BYTES:
            break
    if not held:
        return
    encoding = detect(held, at_start=at_start)
    decoder = codecs.getincrementaldecoder(encoding)("surrogateescape" if encoding[:3] != "utf" else "strict")
    if encoding == "utf-8":
        yield held.removeprefix(codecs.BOM_UTF8) if at_start else held
        yield from chunks
        return
    yield decoder.decode(held).removeprefix("\ufeff").encode("utf-8", "surrogateescape")
    for chunk in chunks:
        yield decoder.decode(chunk).encode("utf-8", "surrogateescape")
    yield decoder.decode(b"", True).encode("utf-8", "surrogateescape")


def _is_utf8(sample: bytes) -> bool:
    """Whether it is valid and has at least one whole character beyond ASCII, or none; one may be cut off at the end."""
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(sample)
    except UnicodeError:
        return False
    return not text.isascii() or sample.isascii()


def _is_single_byte(encoding: str) -> bool:
    return encoding.startswith(("cp12", "cp874", "iso8859", "koi8", "mac", "cp437", "cp85", "cp86"))


def _damage(data: bytes, encoding: str) -> float:
    """Share of characters that are invalid in ``encoding``; a character cut off at the end is none."""
    try:
        codecs.getincrementaldecoder(encoding)("strict").decode(data)
        return 0.0
    except UnicodeError:
        text = data.decode(encoding, "replace")
        return text.count("\ufffd") / max(len(text), 1)
