"""What a Parquet file says of itself, looked at before Arrow acts on it: how deep and how large its footer is, and how
much the pages of a row group unpack to.

Both are in Thrift's compact protocol (https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md)
after parquet.thrift (https://github.com/apache/parquet-format). A page is unpacked to the size in its own header and to
no other, whatever the footer says; so those are what is added up here.
"""

from collections.abc import Iterator
from typing import Any, BinaryIO, NamedTuple

import pyarrow.parquet as pq

from data_quality.sources.base import InputError

MAX_SCHEMA_DEPTH = 100
"""Arrow follows a schema by recursion, and a deep one ends the process: 100,000 levels are 800 kB."""
MAX_FOOTER_MEMORY = 1 << 30
STRUCT_BYTES = 512
ITEM_BYTES = 64
"""About what Arrow needs for a struct and for an item of a list of a footer, in which they may have 3 bytes and 1."""
PAGES_BYTES = 256 << 20
"""What the largest pages of all columns that are read may unpack to together; those of ordinary files have a few MB."""
BATCH_BYTES = 256 << 20
BATCH_ROWS = 256
MAX_HEADER_BYTES = 16 << 20  # of a page, as Arrow has it
_MAX_NESTING = 64
_BOOLEANS, _BYTE, _INTEGERS, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT, _UUID = (
    (1, 2), 3, (4, 5, 6), 7, 8, 9, 10, 11, 12, 13,
)  # fmt: skip
_I32, _I64 = 5, 6
# The fields of a footer that are lists (what is in them, and its fields) or structs with such. Arrow reads what belongs
# there, whatever a list says that it holds.
_Fields = dict[int, tuple[int, Any]]
_KEY_VALUES: tuple[int, _Fields] = (_STRUCT, {})
_COLUMN: _Fields = {
    2: (_I32, {}),
    3: (_BINARY, {}),
    8: _KEY_VALUES,
    13: (_STRUCT, {}),
    16: (_STRUCT, {2: (_I64, {}), 3: (_I64, {})}),
    17: (_STRUCT, {2: (_I32, {})}),
}
_CHUNK: _Fields = {3: (_STRUCT, _COLUMN), 8: (_STRUCT, {2: (_STRUCT, {1: (_BINARY, {})})})}
_ROW_GROUP: _Fields = {1: (_STRUCT, _CHUNK), 4: (_STRUCT, {})}
_SCHEMA, _ROW_GROUPS = 2, 4
_FOOTER: _Fields = {5: _KEY_VALUES, 7: (_STRUCT, {})}  # beside these two
_SIZE_STATISTICS = ((1, _LIST), (3, _STRUCT), (16, _STRUCT))  # of the columns of a row group
_TYPE, _REPETITION, _CHILDREN = 1, 3, 5  # of an element of the schema; the last: how many that follow lie in it
_OPTIONAL, _REPEATED, _BYTE_ARRAY = 1, 2, 6
_DATA_PAGE, _DICTIONARY_PAGE, _DATA_PAGE_V2 = 0, 2, 3
_ENCODINGS = frozenset({0, 2, 3, 4, 8, 9})
"""Those in which a page holds each value, or its place in the dictionary. The delta encodings are not among them: a few
bytes of theirs say how many lengths there are to be."""


class _Broken(Exception):
    """What cannot be read, by Arrow neither."""


def check_footer(raw: BinaryIO) -> None:
    """Raise :class:`InputError` for a footer that Arrow should not be given. What is no Parquet file passes."""
    size = raw.seek(0, 2)
    raw.seek(max(0, size - 8))
    tail = raw.read(8)
    length = int.from_bytes(tail[:4], "little")
    if tail[4:] != b"PAR1" or length + 8 > size:
        return
    if 2 * length > MAX_FOOTER_MEMORY:
        raise _footer_too_long()
    raw.seek(size - 8 - length)
    footer = _Compact(raw.read(length))
    leaves: list[_Leaf] | None = None
    try:
        for number, kind in footer.fields():
            if number == _SCHEMA and kind == _LIST:
                if leaves is not None:
                    raise _Broken("two schemas")
                leaves = _leaves(footer)
            elif number == _ROW_GROUPS and kind == _LIST:
                if leaves is None:
                    raise _Broken("row groups before their schema")
                for _ in footer.items(_STRUCT):
                    _check_statistics(footer, leaves)
            else:
                footer.skip(kind, _FOOTER.get(number))
    except (_Broken, IndexError) as error:
        raise InputError("corrupt", f"a footer that cannot be read: {error}") from None


def _footer_too_long() -> InputError:
    return InputError("too_long", f"a footer for which Arrow needs more than {MAX_FOOTER_MEMORY >> 20} MiB")


class _Leaf(NamedTuple):
    """A column as the schema has it: its largest levels, and whether its values are of any length."""

    repetition: int
    definition: int
    is_text: bool


def _leaves(footer: "_Compact") -> list[_Leaf]:
    """The columns of a schema, which is not too deep for Arrow."""
    leaves = []
    groups: list[list[int]] = []  # of those around the next element: children that come, and levels
    for position, _ in enumerate(footer.items(_STRUCT)):
        element = {_TYPE: -1, _REPETITION: 0, _CHILDREN: 0}
        for number, kind in footer.fields():
            if number in element and kind == _I32:
                element[number] = footer.integer()
            else:
                footer.skip(kind)
        while groups and groups[-1][0] <= 0:
            groups.pop()
        _, repetition, definition = groups[-1] if groups else (0, 0, 0)
        if groups:
            groups[-1][0] -= 1
        if position:  # the root is required, whatever it says
            repetition += element[_REPETITION] == _REPEATED
            definition += element[_REPETITION] in (_OPTIONAL, _REPEATED)
        if element[_CHILDREN] > 0:
            groups.append([element[_CHILDREN], repetition, definition])
        else:
            leaves.append(_Leaf(repetition, definition, element[_TYPE] == _BYTE_ARRAY))
        if len(groups) > MAX_SCHEMA_DEPTH:
            raise InputError("corrupt", f"columns nested more than {MAX_SCHEMA_DEPTH} deep")
    return leaves


def _check_statistics(footer: "_Compact", leaves: list[_Leaf]) -> None:
    """Read a row group; refuse statistics that do not fit their column: Arrow 25.0 ends the process over them."""
    for column in _walk(footer, _SIZE_STATISTICS, _ROW_GROUP):
        if column >= len(leaves) or not _fits(footer, leaves[column]):
            raise _Broken(f"statistics that are none of column {column}")


def _walk(footer: "_Compact", path: tuple[tuple[int, int], ...], known: _Fields, index: int = 0) -> Iterator[int]:
    """Stop at each value at the end of a path of fields, which is to be read then; its place in the last list. The rest
    is skipped; ``known`` as for :meth:`_Compact.skip`."""
    for number, kind in footer.fields():
        if (number, kind) != path[0]:
            footer.skip(kind, known.get(number))
        elif len(path) == 1:
            yield index
        elif kind == _STRUCT:
            yield from _walk(footer, path[1:], known[number][1], index)
        else:
            for place, _ in enumerate(footer.items(_STRUCT)):
                yield from _walk(footer, path[1:], known[number][1], place)


def _fits(footer: "_Compact", leaf: _Leaf) -> bool:
    """Read SizeStatistics: the bytes of texts, and how many values have each level."""
    levels = {2: leaf.repetition, 3: leaf.definition}
    fits = True
    for number, kind in footer.fields():
        if number in levels and kind == _LIST:
            count = 0
            for item in footer.items(_I64):
                footer.skip(item)
                count += 1
            fits = fits and count in (0, levels[number] + 1)
        else:
            fits = fits and (number != 1 or leaf.is_text)
            footer.skip(kind)
    return fits


class Load(NamedTuple):
    """How a row group may be read: so many rows at once; ``ordinary`` if what it takes then is bounded by PAGES_BYTES,
    BATCH_BYTES and little else."""

    rows: int
    ordinary: bool


def load(raw: BinaryIO, file: pq.ParquetFile, group: int, columns: list[str]) -> Load:
    """What reading some columns of a row group may take, out of the headers of their pages."""
    chunks = file.metadata.row_group(group)
    held = 0
    loads: list[_ColumnLoad] = []
    ordinary = True
    try:
        for index in range(chunks.num_columns):
            chunk, column = chunks.column(index), file.schema.column(index)
            if not any(column.path == name or column.path.startswith(f"{name}.") for name in columns):
                continue
            total = values = largest = dictionary = 0
            fewest = before = BATCH_ROWS
            for page in _pages(raw, chunk):
                total += page.unpacked
                if page.is_dictionary:
                    dictionary = max(dictionary, page.unpacked)
                    held += 16 * page.values  # where each of them is
                else:
                    largest = max(largest, page.unpacked)
                    values += page.values
                    fewest, before = min(fewest, before), page.values
                ordinary = ordinary and page.encoding in _ENCODINGS
            fixed = column.length if column.physical_type == "FIXED_LEN_BYTE_ARRAY" else 0  # of a null, too
            if column.max_repetition_level:
                fewest = 1  # of a page's values, all may be of one row
            loads.append(_ColumnLoad(largest, dictionary, fixed, max(1, fewest)))
            held += largest + dictionary + fixed
            if column.max_repetition_level:  # all may be in one row
                of_dictionary = dictionary if "BYTE_ARRAY" in column.physical_type else 0
                held += total + values * (16 + of_dictionary + fixed)
    except (_Broken, IndexError, OSError, ValueError):
        ordinary = False  # Arrow says what is wrong, and gives what comes before
    rows = BATCH_ROWS
    while rows > 1 and sum(column.most(rows) for column in loads) > BATCH_BYTES:
        rows //= 2
    return Load(rows, ordinary and held <= PAGES_BYTES)


class _ColumnLoad(NamedTuple):
    """Bytes of the largest page of a column, of its dictionary and of a value of a fixed length, and the fewest rows of
    a page other than the last."""

    largest: int
    dictionary: int
    fixed: int
    fewest: int

    def most(self, rows: int) -> int:
        """What so many rows may have at most: each a whole page or the whole dictionary; but what the pages hold
        themselves is there once, and the rows lie in twice as many pages as they would fill, or fewer."""
        pages = 2 * -(-rows // self.fewest)
        return rows * self.fixed + min(
            rows * max(self.largest, self.dictionary), rows * self.dictionary + pages * self.largest
        )


class _Page(NamedTuple):
    unpacked: int
    values: int
    encoding: int
    is_dictionary: bool


def _pages(raw: BinaryIO, chunk: Any) -> Iterator[_Page]:
    """The pages of a column chunk that Arrow would read."""
    at = chunk.data_page_offset
    if chunk.has_dictionary_page and 0 < chunk.dictionary_page_offset < at:
        at = chunk.dictionary_page_offset
    end = at + chunk.total_compressed_size + 100  # Arrow reads so much further in files of early writers
    seen = 0
    while at < end and seen < chunk.num_values:
        header, size = _header_at(raw, at)
        kind, unpacked, packed = (header.get((number,), 0) for number in (1, 2, 3))
        if unpacked < 0 or packed < 0:
            raise _Broken("a page of a negative size")
        if kind == _DICTIONARY_PAGE:
            yield _Page(unpacked, max(0, header.get((7, 1), 0)), header.get((7, 2), 0), True)
        else:
            of_kind, encoding = (8, 4) if kind == _DATA_PAGE_V2 else (5, 2)
            # What is no data page is passed over, and its values do not count.
            values = max(0, header.get((of_kind, 1), 0)) if kind in (_DATA_PAGE, _DATA_PAGE_V2) else 0
            yield _Page(unpacked, values, header.get((of_kind, encoding), 0), False)
            seen += values
        at += size + packed


def _header_at(raw: BinaryIO, at: int) -> tuple[dict[tuple[int, ...], int], int]:
    """The 32-bit numbers of the page header at a place of the file, by the fields that lead to them; its size."""
    size = 4 << 10
    while True:
        raw.seek(at)
        data = raw.read(size)
        header = _Compact(data)
        found: dict[tuple[int, ...], int] = {}
        try:
            for number, kind in header.fields():
                if kind == _I32:
                    found[number,] = header.integer()
                elif kind == _STRUCT:
                    for inner, inner_kind in header.fields():
                        if inner_kind == _I32:
                            found[number, inner] = header.integer()
                        else:
                            header.skip(inner_kind)
                else:
                    header.skip(kind)
            return found, header.at
        except IndexError:
            if len(data) < size or size >= MAX_HEADER_BYTES:
                raise
        size = min(8 * size, MAX_HEADER_BYTES)


class _Compact:
    """Thrift's compact protocol, read on from ``at``. Raises :class:`_Broken`; IndexError at the end of ``data``."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0
        self._memory = 2 * len(data)  # what Arrow will need for it: the bytes, the texts in them, and the rest
        self._nesting = 0

    def fields(self) -> Iterator[tuple[int, int]]:
        """(number, type) of each field of a struct; who takes one reads or skips it before the next."""
        self._weigh(STRUCT_BYTES)
        self._nesting += 1
        if self._nesting > _MAX_NESTING:
            raise _Broken("structs in structs")
        number = 0
        while kind := (head := self._byte()) & 15:
            number = number + (head >> 4) if head >> 4 else self.integer()
            if not 0 < number < 1 << 15:
                raise _Broken(f"a field with the number {number}")
            yield number, kind
        self._nesting -= 1

    def items(self, expected: int | None) -> Iterator[int]:
        """The type of each item of a list, which is the expected one."""
        head = self._byte()
        kind, size = head & 15, head >> 4
        if size == 15:
            size = self._varint()
        if size and expected is not None and kind != expected:  # fastparquet gives an empty list no type
            raise _Broken("a list of what does not belong there")
        if size > len(self.data) - self.at:
            raise IndexError("a list that is longer than the file")
        self._weigh(size * ITEM_BYTES)
        for _ in range(size):
            yield kind

    def skip(self, kind: int, known: tuple[int, _Fields] | None = None) -> None:
        """Read past a value; ``known`` says of lists in it what they hold."""
        if kind in _INTEGERS:
            self._varint()
        elif kind == _BINARY:
            size = self._varint()
            self._advance(size)
        elif kind in (_LIST, _SET):
            for item in self.items(known[0] if known and kind == _LIST else None):
                self._skip_item(item, known)
        elif kind == _STRUCT:
            for number, inner in self.fields():
                self.skip(inner, known[1].get(number) if known else None)
        elif kind == _MAP:
            size = self._varint()
            kinds = self._byte() if size else 0
            if 2 * size > len(self.data) - self.at:
                raise IndexError("a map that is longer than the file")
            for _ in range(size):
                self._skip_item(kinds >> 4, None)
                self._skip_item(kinds & 15, None)
        elif kind in (_BYTE, _DOUBLE, _UUID):
            self._advance({_BYTE: 1, _DOUBLE: 8, _UUID: 16}[kind])
        elif kind not in _BOOLEANS:  # of which the value is in the type
            raise _Broken(f"a field of type {kind}")

    def _skip_item(self, kind: int, known: tuple[int, _Fields] | None) -> None:
        if kind in _BOOLEANS:
            self._advance(1)
        elif kind in (_LIST, _SET, _MAP):  # there are none in a Parquet file
            raise _Broken("lists in lists")
        else:
            self.skip(kind, known)

    def integer(self) -> int:
        """A signed number of 32 bits."""
        value = self._varint() & 0xFFFFFFFF
        return (value >> 1) ^ -(value & 1)

    def _varint(self) -> int:
        value = shift = 0
        while True:
            byte = self._byte()
            value |= (byte & 127) << shift
            if byte < 128:
                return value
            shift += 7
            if shift > 63:
                raise _Broken("a number of more than 64 bits")

    def _byte(self) -> int:
        self.at += 1
        return self.data[self.at - 1]

    def _advance(self, size: int) -> None:
        self.at += size
        if self.at > len(self.data):
            raise IndexError("it ends early")

    def _weigh(self, size: int) -> None:
        self._memory += size
        if self._memory > MAX_FOOTER_MEMORY:
            raise _footer_too_long()
