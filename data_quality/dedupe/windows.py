"""Windows: every run of n tokens of a text as one 64-bit hash: one documents shard in, a table and its hashes out.

The table (WINDOWS_SCHEMA) has a row a document. The hashes of all its documents stand in a file of their own beside it,
uint64 in little-endian order and nothing else: they do not compress, and mapped into memory only what is looked at is
read. Lists of them in Parquet took more time to decode than to look up.

A token is a word (letters and digits), a punctuation mark or a run of the same one, or a single letter of a script
without spaces (Han, Kana, Thai, ...) with its marks, so that no window begins or ends inside a word and no sentence is
ever one token.
White space is no token: a paragraph that was wrapped anew is still the same. Nothing else is normalised.
"""

import unicodedata
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from data_quality import scripts
from data_quality.characters import code_points
from data_quality.compiled import kernel
from data_quality.config import WindowConfig
from data_quality.kept_tables import kept_tables
from data_quality.scripts import UNSEGMENTED
from data_quality.shards import BATCH_ROWS, read_batches, whole_file, whole_parquet

WINDOWS_SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("chars", pa.int64(), nullable=False),
        pa.field("windows", pa.int64(), nullable=False),  # how many
    ]
)
NO_WINDOW = np.uint64(0xFFFFFFFFFFFFFFFF)
"""A value that no window has."""
WINDOWS_KEY = b"textmill.windows"
WHITE, WORD, SINGLE, SYMBOL, JOINS = range(5)
_LAST_LOOKED_UP = 0x32400

Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]
UInt64s = npt.NDArray[np.uint64]


@cache
def token_kinds() -> npt.NDArray[np.uint8]:
    """What each code point is to a token: uint8 of shape [0x110000]. JOINS goes with whatever precedes it."""
    [table] = kept_tables("tokens", _make_token_kinds, __file__, scripts.__file__)
    return table


def _make_token_kinds() -> tuple[npt.NDArray[np.uint8]]:
    table = np.full(0x110000, WORD, dtype=np.uint8)
    for code in range(_LAST_LOOKED_UP):
        table[code] = _kind(code)
    table[0xE0000:0xE1000] = JOINS  # tags and variation selectors
    return (table,)


def _kind(code: int) -> int:
    character = chr(code)
    category = unicodedata.category(character)
    if character.isspace():
        return WHITE
    if category[0] == "M" or category == "Cf":
        return JOINS
    if category[0] not in "LN":
        return SYMBOL
    return SINGLE if UNSEGMENTED.match(character) else WORD


@kernel
def _mix(value):  # type: ignore[no-untyped-def]
    """The finaliser of SplitMix64 (Steele, Lea, Flood 2014)."""
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


@kernel
def _tokenize(points, kinds, starts, ends, hashes):  # type: ignore[no-untyped-def]
    """Fill the three arrays and return the number of tokens."""
    count = 0
    last = WHITE  # the kind of the token under way
    previous = np.uint32(0)
    state = np.uint64(0)
    for at in range(len(points)):
        point = points[at]
        kind = kinds[point]
        if kind == WHITE:
            last = WHITE
            continue
        goes_on = last != WHITE and (
            kind == JOINS
            or (kind == WORD and last == WORD)
            or (kind == SYMBOL and last == SYMBOL and point == previous)
        )
        if not goes_on:
            starts[count] = at
            state = np.uint64(0x9E3779B97F4A7C15)
            count += 1
            last = WORD if kind == JOINS else kind
        state = (state ^ np.uint64(point)) * np.uint64(0xD6E8FEB86659FD93)
        state ^= state >> np.uint64(32)
        ends[count - 1] = at + 1
        hashes[count - 1] = _mix(state)
        previous = point
    return count


@kernel
def _roll(tokens, size, windows):  # type: ignore[no-untyped-def]
    """windows[i] = hash of tokens[i : i + size]: a polynomial in the token hashes modulo 2^64, mixed.

    Never NO_WINDOW.
    """
    base = np.uint64(0x9E3779B97F4A7C15)
    power = np.uint64(1)
    rolling = np.uint64(0)
    for at in range(size):
        rolling = rolling * base + tokens[at]
        power *= base
    windows[0] = min(_mix(rolling), NO_WINDOW - np.uint64(1))
    for at in range(size, len(tokens)):
        rolling = rolling * base + tokens[at] - power * tokens[at - size]
        windows[at - size + 1] = min(_mix(rolling), NO_WINDOW - np.uint64(1))


def tokenize(text: str) -> tuple[Int32s, Int32s, UInt64s]:
    """(starts, ends, hashes) of the tokens of `text`: character positions, ends exclusive, and 64-bit hashes."""
    points = code_points(text)
    starts, ends = np.empty(len(points), dtype=np.int32), np.empty(len(points), dtype=np.int32)
    hashes = np.empty(len(points), dtype=np.uint64)
    count = _tokenize(points, token_kinds(), starts, ends, hashes)
    return starts[:count], ends[:count], hashes[:count]


def window_hashes(text: str, tokens: int) -> UInt64s:
    """The hash of every `tokens` tokens in a row: none if the text is shorter."""
    _, _, hashes = tokenize(text)
    windows = np.empty(max(0, len(hashes) - tokens + 1), dtype=np.uint64)
    if len(windows):
        _roll(hashes, tokens, windows)
    return windows


def made_with(config: WindowConfig) -> str:
    """What shapes a table of windows; stands in its metadata."""
    return f"{config.tokens} tokens, Unicode {unicodedata.unidata_version}"


def hashes_beside(table: Path) -> Path:
    """The file with the hashes of a table of windows."""
    return table.with_suffix(".hashes")


def window_shard(in_path: Path, out_path: Path, config: WindowConfig) -> dict[str, int]:
    """Write the table of windows of one documents shard, a row a document, in its order, and their hashes beside it.

    Memory: one row group. The hashes take 8 bytes a token, about 1.6 bytes a byte of English and 2.7 of Chinese.

    Returns:
        Counts: documents, bytes (UTF-8 text), windows.
    """
    schema = WINDOWS_SCHEMA.with_metadata({WINDOWS_KEY: made_with(config).encode()})
    counts = {"documents": 0, "bytes": 0, "windows": 0}
    with (
        whole_parquet(out_path, schema) as writer,
        whole_file(hashes_beside(out_path)) as partial,
        partial.open("wb") as hashes,
    ):
        for batch in read_batches(in_path, ["id", "source", "text"]):
            found = [window_hashes(text, config.tokens) for text in batch["text"].to_pylist()]
            for of_document in found:
                hashes.write(of_document.astype("<u8", copy=False).data)
            columns = [
                batch["id"].cast(pa.string()),
                batch["source"].cast(pa.string()),
                pc.utf8_length(batch["text"]).cast(pa.int64()),
                pa.array([len(of_document) for of_document in found], pa.int64()),
            ]
            writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=schema), row_group_size=BATCH_ROWS)
            counts["documents"] += batch.num_rows
            counts["bytes"] += pc.sum(pc.binary_length(batch["text"])).as_py() or 0
            counts["windows"] += sum(map(len, found))
    return counts


def read_windows(table: Path) -> tuple[UInt64s, Int64s]:
    """(hashes, offsets): hashes[offsets[i] : offsets[i + 1]] are those of row i, mapped into memory.

    Raises:
        ValueError: the file of hashes is missing or is not that of the table.
    """
    numbers = pq.read_table(table, columns=["windows"], use_threads=False)["windows"].to_numpy()
    offsets = np.concatenate((np.zeros(1, dtype=np.int64), np.cumsum(numbers)))
    path = hashes_beside(table)
    stored = path.stat().st_size if path.exists() else -1
    if stored != 8 * offsets[-1]:
        raise ValueError(
            f"{path} should have the {offsets[-1]} hashes of {table} in {8 * offsets[-1]} bytes, "
            + ("and is missing" if stored < 0 else f"and has {stored}: it is another table's or was cut off")
        )
    if not stored:
        return np.empty(0, dtype=np.uint64), offsets
    return np.asarray(np.memmap(path, dtype="<u8", mode="r")), offsets
