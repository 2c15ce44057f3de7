"""Personal data as spans: e-mail, telephone, IP, card, account and identity numbers, with checks beyond their shape.

One pass: texts without a digit and an @ are done at once; otherwise e-mail addresses are grown from each @, and every
other category is looked for only where several digits (for IPv6, two colons) stand together. No pattern has nested or
adjacent repetitions over the same characters, and all are bounded, so that the time is linear in the text whatever it
holds.

Not found: names, postal addresses, addresses written out ("jane at example dot org"), numbers in words.
"""

import hashlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from data_quality import pii_checks as checks
from data_quality.config import PiiConfig
from data_quality.errors import UsageError
from data_quality.scripts import EAST_ASIAN
from data_quality.shards import read_batches, whole_parquet
from data_quality.spans import SPANS_SCHEMA, Edit, apply_edits

CATEGORIES = ("email", "iban", "cn_id", "credit_card", "ip", "us_ssn", "cn_mobile", "phone")
"""In the order in which they win where two overlap."""

PLACEHOLDERS = {
    "email": "email@example.com",
    "iban": "GB00XXXX00000000000000",
    "cn_id": "000000000000000000",
    "credit_card": "0000 0000 0000 0000",
    "ip": "192.0.2.1",  # RFC 5737
    "us_ssn": "000-00-0000",
    "cn_mobile": "10000000000",
    "phone": "555-0100",  # reserved for fiction
}
MIN_KEY_BYTES = 16

_WIDE = re.compile("[０-９＠＋（）－．／]")
_NARROW = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)}  # full-width forms, one character each
# ．is a decimal point in Chinese text: it parts the numbers of no address but an e-mail's.
_NARROW_NUMBERS = {code: narrow for code, narrow in _NARROW.items() if narrow != ord(".")}

_LETTER = "A-Za-zÀ-ÖØ-öø-ʯͰ-ӿ"  # Latin, Greek, Cyrillic: no script that is written without spaces
_LOCAL = re.compile(f"[{_LETTER}0-9.!#$%&'*+=^_~-]")
_LOCAL_EDGE = ".!#$%&'*+=^_~-"
_LONGEST_LOCAL = 255  # RFC 5321 allows 64; bounce addresses (VERP) do not care
_DOMAIN = re.compile(
    rf"(?:[{_LETTER}0-9](?:[{_LETTER}0-9_-]{{0,61}}[{_LETTER}0-9])?\.){{1,10}}"
    rf"(?:xn--[A-Za-z0-9-]{{2,58}}[A-Za-z0-9]|[{_LETTER}]{{2,24}})(?![{_LETTER}0-9])"
    r"|\[?[0-9]{1,3}(?:\.[0-9]{1,3}){3}(?![0-9])\]?"
)
# What follows an @ in file and unit names; none is a top-level domain.
_FILE_ENDINGS = "png jpg jpeg gif svg webp bmp ico css js html htm json xml txt service socket target timer mount slice"
_NO_DOMAIN = frozenset(_FILE_ENDINGS.split())

_SEPARATOR = r"[ .()/\-\u00a0\u2010-\u2013]"
_DIGITS = re.compile(rf"[0-9](?:{_SEPARATOR}{{0,3}}[0-9]){{4,}}|[0-9](?:\.[0-9]){{3}}")  # or an address such as 1.1.1.1
_START = r"(?<![0-9A-Za-z_+$€£%])(?<![0-9][.,/\-])(?<![A-Za-z]-)"
_END = r"(?![0-9A-Za-z_%])(?![.,\-][0-9])"

_IPV4 = re.compile(
    r"(?<![0-9A-Za-z_])(?<![0-9]\.)(?<![A-Za-z]-)[0-9]{1,3}(?:\.[0-9]{1,3}){3}(?![0-9A-Za-z_])(?!\.[0-9])"
)
_VERSION = re.compile(
    r"(?:\b(?:v|ver|vers|version|release|rev|revision|kernel|firmware|build|section|sec)\b|§|版本|第|节|節)[^0-9\n]{0,6}$",
    re.I,
)
_ADDRESS_WORD = re.compile(
    r"(?:[\[(@]|\b(?:ip|ipv4|address|addr|host|server|nameserver|ping|地址)\b[^0-9\n]{0,6})$", re.I
)
_IPV6_MIDDLE = re.compile(":[0-9A-Fa-f]{0,4}:")
_IPV6_PART = re.compile(r"[0-9A-Fa-f:.]{2,45}")
_CARD = re.compile(
    rf"{_START}(?:[0-9]{{13,19}}|[0-9]{{4}}([ \-])[0-9]{{4}}\1[0-9]{{4}}\1[0-9]{{4}}(?:\1[0-9]{{1,3}})?"
    rf"|[0-9]{{4}}([ \-])[0-9]{{6}}\2[0-9]{{4,5}}){_END}"
)
_CN_ID = re.compile(r"(?<![0-9A-Za-z_.])(?:[0-9]{17}[0-9Xx]|[0-9]{15})(?![0-9A-Za-z_])")
_CN_ID_WORD = re.compile(r"(?:身份证|证件|身份號|身分證|\bID (?:card|number|no)\b)[^0-9\n]{0,12}$", re.I)
_CN_MOBILE = re.compile(
    r"(?<![0-9A-Za-z_.+])(?<![0-9A-Za-z]-)(?:\+ ?86[ \-]?|0086[ \-]?|\(\+?86\) ?|86[ \-])?"
    r"1(?:3[0-9]|4[014-9]|5[0-35-9]|6[2567]|7[0-8]|8[0-9]|9[0-35-9])(?:[0-9]{8}|([ \-])[0-9]{4}\1[0-9]{4})"
    r"(?![0-9A-Za-z_])(?![.\-][0-9])"
)
_US_SSN = re.compile(rf"{_START}(?!000|666|9)[0-9]{{3}}-(?!00)[0-9]{{2}}-(?!0000)[0-9]{{4}}{_END}")
_IBAN = re.compile(r"(?<![0-9A-Za-z_])[A-Z]{2}[0-9]{2}")
_IBAN_HEAD = 14  # "MT84 MALT " and the like: so far in front of five digits in a row can an IBAN begin
_IBAN_REST = re.compile("(?: ?[0-9A-Z]){11,30}")

_EXTENSION = r"(?: ?(?:x|ext\.?|转|轉) ?[0-9]{1,5})?"
_NORTH_AMERICAN = re.compile(
    rf"{_START}((?:\+ ?)?1[ .\-]{{0,2}})?(\()?(?P<area>[2-9][0-9]{{2}})(\))?(?P<first>[ .\-/]{{0,2}})"
    rf"[2-9](?!11)[0-9]{{2}}(?P<second>[ .\-]?)[0-9]{{4}}{_EXTENSION}{_END}"
)
_INTERNATIONAL = re.compile(
    rf"(?<![0-9A-Za-z_+])(?:\(?\+ ?\(?|00(?=86[ \-]))[2-9](?:{_SEPARATOR}{{0,3}}[0-9]){{6,14}}{_EXTENSION}{_END}"
)
_CN_LAND_LINE = re.compile(
    rf"{_START}(?:\((?:0[0-9]{{2,3}})\) ?|0[0-9]{{2,3}}-)[2-8][0-9]{{2,3}}[ \-]?[0-9]{{4}}(?:-[0-9]{{1,5}})?"
    rf"{_EXTENSION}{_END}"
)
_EUROPEAN = re.compile(
    rf"{_START}(?:\(0[1-9][0-9]{{0,4}}\)[ \-/]{{0,2}}[0-9]{{2,8}}|(?<![/=&])0[1-9][0-9]{{0,4}} ?/ ?[0-9]{{3,8}})"
    rf"(?:[ \-][0-9]{{2,4}}){{0,4}}{_END}"
    rf"|{_START}(?<![0-9A-Fa-f] )0[1-9]([ .])[0-9]{{2}}(?:\1[0-9]{{2}}){{3}}(?!\1[0-9A-Fa-f]{{2}}\b){_END}"
)
_PHONE_WORD = re.compile(
    r"(?:\b(?:tel|tele?phone|tél|telefon|teléfono|telefono|fon|phone|phones|ph|fax|telefax|facsimile|mobile|cell|"
    r"cellular|voice|pager|hotline|handy|toll[ -]free|tollfree|call us|call me|or call|please call|just call|dial)\b|"
    r"电话|電話|传真|傳真|手机|手機|热线|熱線|联系方式|座机)[^0-9\n]{0,16}$",
    re.I,
)
_BEHIND_WORD = re.compile(rf"{_START}\(?[0-9](?:{_SEPARATOR}{{0,2}}[0-9]){{6,14}}{_EXTENSION}{_END}")
_NO_PHONE_WORD = re.compile(r"\b(?:isbn|issn|doi|rfc)\b[^\n]{0,12}$", re.I)
_OTHER_NUMBER = re.compile(  # dates, decimal numbers, more than twelve digits in a row
    r"(?:19|20)[0-9]{2}[ .\-/]?[01]?[0-9][ .\-/]?[0-3]?[0-9]\b"
    r"|[0-3]?[0-9][./\-][0-3]?[0-9][./\-](?:19|20)[0-9]{2}\b|[0-9]+\.[0-9]+$|[0-9]{13}"
)
_SMALL = 32  # four numbers below this look like a section or a version
_WINDOW = 40  # characters in front of a number in which a word may say what it is


class Span(NamedTuple):
    """Characters [start, end) of a text that are personal data of a category (`email`, ...), and what replaces them."""

    start: int
    end: int
    category: str
    replacement: str


_Found = tuple[int, int, str]


class Replacer:
    """What is put in place of a match: a function of category and value only, never of place, order or chance."""

    def __init__(self, config: PiiConfig, key: bytes | None = None) -> None:
        """Raises ValueError for style `hashed` without a key of at least MIN_KEY_BYTES."""
        if config.style == "hashed" and (key is None or len(key) < MIN_KEY_BYTES):
            raise UsageError(
                f"pii.style is hashed, which needs a secret key of at least {MIN_KEY_BYTES} bytes: set the environment "
                "variable TEXTMILL_PII_KEY (never a config file), or choose style tag or placeholder"
            )
        self._style, self._key = config.style, key

    def __call__(self, category: str, value: str) -> str:
        if self._style == "tag":
            return f"<{category}>"
        if self._style == "placeholder":
            return PLACEHOLDERS[category]
        assert self._key is not None
        canonical = "".join(filter(str.isalnum, value)) if category not in ("email", "ip") else value
        message = f"{category}\0{canonical.lower()}".encode()
        return f"<{category}:{hashlib.blake2b(message, digest_size=6, key=self._key[:64]).hexdigest()}>"


def key_fingerprint(key: bytes) -> str:
    """A name for a key that does not give the key away: what was hashed with another key has another name."""
    return hashlib.blake2b(b"name of the key", digest_size=8, key=key[:64]).hexdigest()


def find_pii(text: str, config: PiiConfig, key: bytes | None = None) -> list[Span]:
    """The personal data in `text`, ascending and disjoint.

    Where two categories overlap, the span covers both and has the one that comes first in CATEGORIES.

    Args:
        key: for style `hashed`.

    Raises:
        ValueError: style `hashed` without a key.
    """
    replacer = Replacer(config, key)
    return [Span(s, e, category, replacer(category, text[s:e])) for s, e, category in _merged(_search(text, config))]


def _merged(found: Iterator[_Found]) -> list[_Found]:
    merged: list[_Found] = []
    for start, end, category in sorted(found):
        if merged and start < merged[-1][1]:
            first, last, other = merged[-1]
            merged[-1] = (first, max(end, last), min(category, other, key=CATEGORIES.index))
        else:
            merged.append((start, end, category))
    return merged


def _search(text: str, config: PiiConfig) -> Iterator[_Found]:
    if not text.isascii() and _WIDE.search(text):
        text = text.translate(_NARROW if "＠" in text else _NARROW_NUMBERS)
    if config.email and "@" in text:
        yield from _emails(text)
    if config.ip and ("::" in text or text.count(":") > 6):
        yield from _ipv6(text, config.public_ips_only)
    done = 0
    for match in _DIGITS.finditer(text):
        # room for a sign in front and for what must not follow
        start, end = max(done, match.start() - 4), min(len(text), match.end() + 12)
        yield from _numbers(text, start, end, match, config)
        done = match.end()


def _emails(text: str) -> Iterator[_Found]:
    at = text.find("@")
    while at >= 0:
        domain = _DOMAIN.match(text, at + 1)
        if domain and domain.group().rpartition(".")[2].lower() not in _NO_DOMAIN:
            start, first = at, max(0, at - _LONGEST_LOCAL)
            while start > first and _LOCAL.match(text[start - 1]):
                start -= 1
            local = text[start:at].lstrip(_LOCAL_EDGE) or text[start:at]
            if local:
                yield at - len(local), domain.end(), "email"
        at = text.find("@", at + 1)


def _ipv6(text: str, public_only: bool) -> Iterator[_Found]:
    done = 0
    for middle in _IPV6_MIDDLE.finditer(text):
        if middle.start() < done:
            continue
        start = middle.start()
        while start > max(done, middle.start() - 4) and text[start - 1] in "0123456789abcdefABCDEF":
            start -= 1
        part = _IPV6_PART.match(text, start)
        if part is None:
            continue
        done = part.end()
        value = part.group().rstrip(".")
        if value.endswith(":") and not value.endswith("::"):
            value = value[:-1]
        after = text[start + len(value) : start + len(value) + 1]
        if _is_word(text[start - 1 : start]) or _is_word(after) or not any(c.isdigit() for c in value):
            continue
        if checks.is_address(value, public_only):
            yield start, start + len(value), "ip"


def _is_word(character: str) -> bool:
    return character == "_" or (character.isascii() and character.isalnum())


def _ibans(text: str, start: int, end: int) -> Iterator[_Found]:
    for match in _IBAN.finditer(text, start, end):
        length = checks.iban_length(match.group()[:2])
        rest = _IBAN_REST.match(text, match.end()) if length else None
        if length is None or rest is None:
            continue
        end, compact = match.end(), match.group()
        while len(compact) < length and end < rest.end():
            compact += text[end].strip()
            end += 1
        if checks.is_iban(compact) and not _is_word(text[end : end + 1]):
            yield match.start(), end, "iban"


def _numbers(text: str, start: int, end: int, found: re.Match[str], config: PiiConfig) -> Iterator[_Found]:
    """What the digits that were `found` are, with their surroundings from `start` to `end`."""
    digits = found.group()
    if config.iban:
        yield from _ibans(text, max(0, found.start() - _IBAN_HEAD), found.end())
    if config.ip and digits.count(".") > 2:
        for match in _IPV4.finditer(text, start, end):
            if _is_ipv4(text, match, config.public_ips_only):
                yield match.start(), match.end(), "ip"
    count = len(checks.digits_of(digits))
    if count < 7:
        return
    if config.us_ssn and "-" in digits:
        for match in _US_SSN.finditer(text, start, end):
            yield match.start(), match.end(), "us_ssn"
    if count >= 11 and config.cn_mobile:
        for match in _CN_MOBILE.finditer(text, start, end):
            if _is_cn_mobile(text, match):
                yield match.start(), match.end(), "cn_mobile"
    if count >= 13 and config.credit_card:
        for match in _CARD.finditer(text, start, end):
            if checks.is_card(checks.digits_of(match.group())):
                yield match.start(), match.end(), "credit_card"
    if count >= 15 and config.cn_id:
        for match in _CN_ID.finditer(text, start, end):
            long = len(match.group()) == 18
            if checks.is_cn_id(match.group()) and (long or _behind(_CN_ID_WORD, text, match.start())):
                yield match.start(), match.end(), "cn_id"
    if config.phone:
        yield from _phones(text, start, end, found.start())


def _is_cn_mobile(text: str, match: re.Match[str]) -> bool:
    """Eleven bare digits are one near Chinese text or behind a word such as Tel; elsewhere they count something."""
    if len(match.group()) > 11:
        return True
    near = text[max(0, match.start() - _WINDOW) : match.end() + _WINDOW]
    return EAST_ASIAN.search(near) is not None or _behind(_PHONE_WORD, text, match.start())


def _is_ipv4(text: str, match: re.Match[str], public_only: bool) -> bool:
    """Four small numbers are a section or a version far more often than an address: they need a sign of one."""
    if not checks.is_address(match.group(), public_only) or _behind(_VERSION, text, match.start()):
        return False
    small = all(int(number) < _SMALL for number in match.group().split("."))
    return not small or _behind(_ADDRESS_WORD, text, match.start())


def _behind(word: re.Pattern[str], text: str, start: int) -> bool:
    return word.search(text, max(0, start - _WINDOW), start) is not None


def _phones(text: str, start: int, end: int, first_digit: int) -> Iterator[_Found]:
    for match in _NORTH_AMERICAN.finditer(text, start, end):
        if _is_north_american(match) and not _behind(_NO_PHONE_WORD, text, match.start()):
            yield match.start(), match.end(), "phone"
    for match in _INTERNATIONAL.finditer(text, start, end):
        if checks.is_international(checks.digits_of(match.group().partition("x")[0]).removeprefix("00")):
            yield match.start(), match.end(), "phone"
    for match in _CN_LAND_LINE.finditer(text, start, end):
        digits = checks.digits_of(match.group())
        if any(checks.is_cn_land_line(digits[:length]) for length in (11, 12, len(digits))):
            yield match.start(), match.end(), "phone"
    for match in _EUROPEAN.finditer(text, start, end):
        if 8 <= len(checks.digits_of(match.group())) <= 13 and not _behind(_NO_PHONE_WORD, text, match.start()):
            yield match.start(), match.end(), "phone"
    if _behind(_PHONE_WORD, text, first_digit):
        first = _BEHIND_WORD.search(text, start, end)
        if first and not _OTHER_NUMBER.match(first.group()):
            yield first.start(), first.end(), "phone"


def _is_north_american(match: re.Match[str]) -> bool:
    """Three, three and four digits are one if brackets, a country code or two marks say so; spaces alone do not."""
    prefix, opened, area, closed = match.group(1, 2, "area", 4)
    if area[1:] == "11" or bool(opened) != bool(closed):
        return False
    if opened:
        return True
    first, second = match.group("first", "second")
    marked = (second == "-" and bool(first)) or (second == "." and bool(first.strip()))
    return marked or (prefix or "").startswith("+")


def redact(text: str, config: PiiConfig | None = None, key: bytes | None = None) -> str:
    """`text` with its personal data replaced; by default all categories, as tags."""
    spans = find_pii(text, config or PiiConfig(), key)
    return apply_edits(text, [Edit(span.start, span.end, span.replacement) for span in spans])


def pii_shard(
    in_path: Path,
    out_path: Path,
    config: PiiConfig,
    progress: Callable[[int], None] = lambda documents: None,
    key: bytes | None = None,
) -> dict[str, int]:
    """Write the spans table (SPANS_SCHEMA, kinds `pii.email`, ...) of a documents shard, rows in the shard's order.

    Returns documents, with_pii (documents with at least one span), and the spans of each category. Memory: one batch.

    Raises:
        ValueError: no `id` and `text` in the shard; style `hashed` without a key.
    """
    counts = {"documents": 0, "with_pii": 0, **dict.fromkeys(CATEGORIES, 0)}
    with whole_parquet(out_path, SPANS_SCHEMA) as writer:
        for batch in read_batches(in_path, ["id", "text"]):
            rows = []
            for id, text in zip(batch["id"].to_pylist(), batch["text"].to_pylist(), strict=True):
                spans = find_pii(text, config, key)
                counts["with_pii"] += bool(spans)
                for start, end, category, replacement in spans:
                    counts[category] += 1
                    kind = f"pii.{category}"
                    rows.append({"id": id, "start": start, "end": end, "kind": kind, "replacement": replacement})
            writer.write_table(pa.Table.from_pylist(rows, schema=SPANS_SCHEMA))
            counts["documents"] += len(batch)
            progress(len(batch))
    return counts
