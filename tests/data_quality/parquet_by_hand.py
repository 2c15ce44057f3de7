"""Parquet files as no library writes them: fields in Thrift's compact protocol, after parquet.thrift."""

from typing import NamedTuple

UTF8, BYTE_ARRAY, FIXED_LEN_BYTE_ARRAY = 0, 6, 7
PLAIN, DELTA_LENGTH_BYTE_ARRAY, DELTA_BYTE_ARRAY = 0, 6, 7
UNCOMPRESSED, GZIP, ZSTD = 0, 2, 6


class Value(NamedTuple):
    """A value with its type in the protocol."""

    type: int
    data: bytes


def varint(number: int) -> bytes:
    """Seven bits a byte, the lowest first."""
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def zigzag(number: int) -> bytes:
    """A signed number as a varint."""
    return varint(2 * number if number >= 0 else -2 * number - 1)


def i32(number: int) -> Value:
    """A number of 32 bits."""
    return Value(5, zigzag(number))


def i64(number: int) -> Value:
    """A number of 64 bits."""
    return Value(6, zigzag(number))


def binary(data: bytes) -> Value:
    """Bytes, or a string."""
    return Value(8, varint(len(data)) + data)


def struct(fields: dict[int, Value]) -> Value:
    """Fields by their numbers, written in the order given."""
    out = b""
    for number, value in fields.items():
        out += bytes([value.type]) + zigzag(number) + value.data
    return Value(12, out + b"\0")


def many(items: list[Value], type: int | None = None) -> Value:
    """A list of items of one type, or one that says so."""
    kind = items[0].type if type is None else type
    return Value(9, bytes([0xF0 | kind]) + varint(len(items)) + b"".join(item.data for item in items))


def element(name: bytes, children: int | None = None) -> Value:
    """An element of the schema: a group of so many, or a required string."""
    if children is not None:
        return struct({4: binary(name), 5: i32(children)})
    return struct({1: i32(BYTE_ARRAY), 3: i32(0), 4: binary(name), 6: i32(UTF8)})


class Page(NamedTuple):
    """A data page, or one of another kind: as it is stored, bytes when unpacked, values, encoding."""

    data: bytes
    unpacked: int
    values: int
    encoding: int = PLAIN
    kind: int = 0

    def stored(self) -> bytes:
        """Header and data."""
        of_kind = struct({1: i32(self.values), 2: i32(self.encoding), 3: i32(3), 4: i32(3)})
        header = struct({1: i32(self.kind), 2: i32(self.unpacked), 3: i32(len(self.data)), 5: of_kind})
        return header.data + self.data


def plain(*texts: bytes) -> Page:
    """A page that holds these texts as they are."""
    data = b"".join(len(text).to_bytes(4, "little") + text for text in texts)
    return Page(data, len(data), len(texts))


def parquet(
    groups: list[list[Page]], codec: int = UNCOMPRESSED, schema: list[Value] | None = None, type: int = BYTE_ARRAY
) -> bytes:
    """A file of one column, `text`, with these pages in its row groups; the footer says that they are small."""
    body = b"PAR1"
    row_groups = []
    for pages in groups:
        start = len(body)
        body += b"".join(page.stored() for page in pages)
        rows = sum(page.values for page in pages if page.kind == 0)
        column = {1: i32(type), 2: many([i32(pages[0].encoding)]), 3: many([binary(b"text")]), 4: i32(codec)}
        column |= {5: i64(rows), 6: i64(100), 7: i64(len(body) - start), 9: i64(start)}
        chunk = struct({2: i64(start), 3: struct(column)})
        row_groups.append(struct({1: many([chunk]), 2: i64(100), 3: i64(rows)}))
    elements = schema or [element(b"schema", 1), element(b"text")]
    rows = sum(page.values for pages in groups for page in pages if page.kind == 0)
    return with_footer(body, {1: i32(1), 2: many(elements), 3: i64(rows), 4: many(row_groups, 12)})


def with_footer(body: bytes, fields: dict[int, Value]) -> bytes:
    """A file that ends with these fields."""
    footer = struct(fields).data
    return body + footer + len(footer).to_bytes(4, "little") + b"PAR1"
