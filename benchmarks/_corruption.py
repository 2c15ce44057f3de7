"""Damage done to files by a seeded generator: what disks and networks do, and what someone who means harm would.

`damaged(content, draw, other)` gives other bytes and says what was done. Bytes are flipped, cut off, swapped, doubled,
zeroed, and overwritten with the numbers at which programs fall over. What is JSON, or begins with JSON as safetensors
do, is also changed as such: keys go, values become huge, of another type, nested deep, or paths out of the folder.
"""

import json
import random
import struct
from collections.abc import Callable
from typing import Any

EDGES = (0, 1, 0x7F, 0x80, 0xFF, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**63 - 1, 2**63, 2**64 - 1)
HOSTILE: tuple[Any, ...] = (
    *(
        -1,
        0,
        2**31,
        2**63,
        2**64,
        10**30,
        1e308,
        float("nan"),
        True,
        None,
        "",
        [],
        {},
        [[]],
        "x" * 100_000,
        [0] * 10_000,
    ),
    *("../../../../etc/passwd", "/etc/passwd", "..", "\ud800", "{{ 7 * 7 }}", "__import__('os').system('true')"),
)


def damaged(content: bytes, draw: random.Random, other: bytes = b"") -> tuple[bytes, str]:
    """Other bytes than `content`, and what was done to them. `other`: a second file, of which parts may come in."""
    while True:
        how = draw.choice(WAYS)
        made = how(content, draw, other)
        if made is not None and made != content:
            return made, how.__name__.strip("_")


def _flip(content: bytes, draw: random.Random, other: bytes) -> bytes | None:
    if not content:
        return None
    new = bytearray(content)
    for _ in range(draw.choice((1, 1, 1, 2, 8, 64))):
        new[draw.randrange(len(new))] ^= 1 << draw.randrange(8)
    return bytes(new)


def _flip_early_or_late(content: bytes, draw: random.Random, other: bytes) -> bytes | None:
    """Headers stand at the beginning, Parquet's at the end."""
    if not content:
        return None
    new, reach = bytearray(content), min(len(content), 512)
    at = draw.randrange(reach)
    new[at if draw.random() < 0.5 else -1 - at] ^= 1 << draw.randrange(8)
    return bytes(new)


def _truncate(content: bytes, draw: random.Random, other: bytes) -> bytes | None:
    return content[: draw.randrange(len(content))] if content else None


def _append(content: bytes, draw: random.Random, other: bytes) -> bytes | None:
    return content + draw.randbytes(draw.choice((1, 8, 1000)))


def _overwrite(content: bytes, draw: random.Random, other: bytes) -> bytes | None:
    width, code = draw.choice(((1, "<B"), (2, "<H"), (4, "<I"), (8, "<Q"), (8, ">Q")))
    if len(content) < width:
        return None
    number = struct.pack(code, draw.choice([edge for edge in EDGES if edge < 1 << (8 * width)]))
    reach = len(content) - width + 1
    at = draw.choice((0, draw.randrange(reach), draw.randrange(min(reach, 256)), reach - 1))
    return content[:at] + number + content[at + width :]


def _swap(content: bytes, draw: random.Random, other: bytes) -> bytes | None:
    if len(content) < 4:
        return None
    a, b, c, d = sorted(draw.sample(range(len(content) + 1), 4)) if len(content) > 3 else (0, 1, 2, 3)
    return content[:a] + content[c:d] + content[b:c] + content[a:b] + content[d:]


def _zero(content: bytes, draw: random.Random, other: bytes) -> bytes | None:
    at, size = draw.randrange(len(content) + 1), draw.choice((1, 16, 512, 4096))
    return content[:at] + bytes(min(size, len(content) - at)) + content[at + size :]


def _splice(content: bytes, draw: random.Random, other: bytes) -> bytes | None:
    return content[: draw.randrange(len(content) + 1)] + other[draw.randrange(len(other) + 1) :]


def _another_file(content: bytes, draw: random.Random, other: bytes) -> bytes | None:
    return other or None


def _values(content: bytes, draw: random.Random, other: bytes) -> bytes | None:
    """A change of what JSON says; also of the header of safetensors, whose length then fits."""
    header = 8 if content[8:9] == b"{" else 0
    size = struct.unpack("<Q", content[:8])[0] if header else len(content)
    try:
        value = json.loads(content[header : header + size])
    except (ValueError, RecursionError):
        return None
    for _ in range(draw.choice((1, 1, 2))):
        value = _changed(value, draw)
    text = json.dumps(value).encode()
    if draw.random() < 0.03:
        text = b"[" * 200_000
    return (struct.pack("<Q", len(text)) if header else b"") + text + (content[8 + size :] if header else b"")


def _changed(value: Any, draw: random.Random) -> Any:
    if isinstance(value, dict | list) and value and draw.random() < 0.85:
        places = list(value) if isinstance(value, dict) else list(range(len(value)))
        at = draw.choice(places)
        new = dict(value) if isinstance(value, dict) else list(value)
        if draw.random() < 0.15:
            del new[at]  # type: ignore[arg-type]
        elif isinstance(new, dict) and draw.random() < 0.1:
            new[str(draw.choice(HOSTILE))[:50]] = new.pop(at)
        else:
            new[at] = _changed(new[at], draw)
        return new
    if isinstance(value, int) and draw.random() < 0.5:
        return draw.choice((value + 1, -value, value * 2, value * 1000, value << 32))
    return draw.choice(HOSTILE)


Way = Callable[[bytes, random.Random, bytes], bytes | None]
WAYS: tuple[Way, ...] = (
    _flip, _flip_early_or_late, _flip_early_or_late, _truncate, _append, _overwrite, _overwrite, _swap, _zero, _splice,
    _another_file, _values, _values, _values,
)  # fmt: skip
