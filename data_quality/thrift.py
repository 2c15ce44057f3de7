"""Thrift's compact protocol, in which Parquet writes its metadata: a few fields are decoded, the others copied.

thrift's doc/specs/thrift-compact-protocol.md. What is decoded and encoded again is the same to the byte.
"""

from collections.abc import Mapping
from typing import Any

_TRUE, _FALSE, _BYTE, _I16, _I32, _I64, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = range(1, 13)
_TRUTH = (_TRUE, _FALSE)
_INTEGERS = (_I16, _I32, _I64)
_LISTS = (_LIST, _SET)
_LONG = 15  # in place of a length: one follows

Wanted = Mapping[int, "Wanted | None"]
"""The fields of a struct to decode, by number: None for an integer, else those of the struct, or of each in a list."""


class Struct(dict[int, Any]):
    """The fields of a struct by number: what was wanted as integers, structs and lists of them, all else as bytes."""

    def __init__(self) -> None:
        super().__init__()
        self.types: dict[int, int] = {}


def decode(data: bytes, wanted: Wanted) -> Struct:
    """The struct that `data` begins with.

    Raises:
        ValueError: it is none; or it holds a map, which Parquet's metadata do not.
    """
    try:
        struct, end = _struct(data, 0, wanted)
    except (IndexError, RecursionError):
        end = len(data) + 1
    if end > len(data):
        raise ValueError("the metadata end in the middle of a value, or are no metadata")
    return struct


def encode(struct: Struct) -> bytes:
    """The bytes of a struct, its fields in the order of their numbers."""
    out = bytearray()
    _write_struct(out, struct)
    return bytes(out)


def _struct(data: bytes, at: int, wanted: Wanted) -> tuple[Struct, int]:
    found, number = Struct(), 0
    while header := data[at]:
        at += 1
        if header >> 4:
            number += header >> 4
        else:
            number, at = _integer(data, at)
        found.types[number] = kind = header & 15
        if kind in _TRUTH:
            found[number] = b""  # the type is the value
        elif number not in wanted:
            start, at = at, _skip(data, at, kind)
            found[number] = data[start:at]
        else:
            found[number], at = _value(data, at, kind, wanted[number])
    return found, at + 1


def _value(data: bytes, at: int, kind: int, wanted: "Wanted | None") -> tuple[Any, int]:
    if wanted is None:
        return _integer(data, at)
    if kind == _STRUCT:
        return _struct(data, at, wanted)
    _, length, at = _list(data, at)
    items = []
    for _ in range(length):
        item, at = _struct(data, at, wanted)
        items.append(item)
    return items, at


def _skip(data: bytes, at: int, kind: int) -> int:
    """Where a value ends."""
    if kind in _INTEGERS:
        while data[at] > 127:
            at += 1
        return at + 1
    if kind == _BINARY:
        length, at = _varint(data, at)
        return at + length
    if kind == _STRUCT:
        while header := data[at]:
            at += 1
            if not header >> 4:
                at = _skip(data, at, _I16)
            if header & 15 not in _TRUTH:
                at = _skip(data, at, header & 15)
        return at + 1
    if kind in _LISTS:
        item, length, at = _list(data, at)
        for _ in range(length):
            if at > len(data):
                raise IndexError
            at = _skip(data, at, item)
        return at
    if kind in (*_TRUTH, _BYTE):  # a truth value in a list takes a byte
        return at + 1
    if kind == _DOUBLE:
        return at + 8
    raise ValueError(f"a value of type {kind} in the metadata")


def _list(data: bytes, at: int) -> tuple[int, int, int]:
    """The type of a list's items, their number, and where they begin."""
    header, at = data[at], at + 1
    if header >> 4 != _LONG:
        return header & 15, header >> 4, at
    length, at = _varint(data, at)
    return header & 15, length, at


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while (byte := data[at]) > 127:
        value |= (byte & 127) << shift
        shift += 7
        at += 1
    return value | byte << shift, at + 1


def _integer(data: bytes, at: int) -> tuple[int, int]:
    value, at = _varint(data, at)
    return value >> 1 ^ -(value & 1), at


def _write_struct(out: bytearray, struct: Struct) -> None:
    before = 0
    for number, value in struct.items():
        delta, before = number - before, number
        if 0 < delta <= 15:
            out.append(delta << 4 | struct.types[number])
        else:
            out.append(struct.types[number])
            _write_integer(out, number)
        _write(out, value)
    out.append(0)


def _write(out: bytearray, value: Any) -> None:
    if isinstance(value, bytes):
        out += value
    elif isinstance(value, int):
        _write_integer(out, value)
    elif isinstance(value, Struct):
        _write_struct(out, value)
    else:
        if len(value) < _LONG:
            out.append(len(value) << 4 | _STRUCT)
        else:
            out.append(_LONG << 4 | _STRUCT)
            _write_varint(out, len(value))
        for item in value:
            _write_struct(out, item)


def _write_varint(out: bytearray, value: int) -> None:
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)


def _write_integer(out: bytearray, value: int) -> None:
    _write_varint(out, value << 1 ^ value >> 63)
