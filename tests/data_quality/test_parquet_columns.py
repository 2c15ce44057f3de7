"""A Parquet file with other values in some columns: byte for byte the file that pyarrow writes of all its columns."""

import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_quality.parquet_columns import FOOTER, OtherWriter, equal_columns, replace_columns
from data_quality.thrift import decode, encode

GROUP = 100
SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("text", pa.string()),
        pa.field("reasons", pa.list_(pa.string()), nullable=False),
        pa.field("spans", pa.list_(pa.struct([("start", pa.int64()), ("kind", pa.string())]))),
        pa.field("twin", pa.string()),
        pa.field("jaccard", pa.float64()),
        pa.field("flag", pa.bool_()),
        pa.field("words", pa.int32()),
    ]
)
REPLACED = ["reason", "reasons", "twin", "jaccard"]


def table(rows: int, seed: int) -> pa.Table:
    draw = random.Random(seed)
    values: dict[str, list[Any]] = {
        "id": [f"d{number:05}" for number in range(rows)],
        "reason": [draw.choice("abc") for _ in range(rows)],
        "text": [draw.choice([None, "some words " * draw.randrange(3000)]) for _ in range(rows)],
        "reasons": [[draw.choice("abcd")] * draw.randrange(3) for _ in range(rows)],
        "spans": [[{"start": n, "kind": "line"} for n in range(draw.randrange(3))] for _ in range(rows)],
        "twin": [draw.choice([None, f"d{draw.randrange(99999)}"]) for _ in range(rows)],
        "jaccard": [draw.choice([None, draw.random()]) for _ in range(rows)],
        "flag": [draw.random() < 0.5 for _ in range(rows)],
        "words": [draw.randrange(1000) for _ in range(rows)],
    }
    return pa.table(values, schema=SCHEMA)


def write(path: Path, rows: pa.Table, **options: Any) -> Path:
    options = {"compression": "zstd", "row_group_size": GROUP, **options}
    pq.write_table(rows, path, **options)
    return path


def footer(path: Path) -> bytes:
    data = path.read_bytes()
    return data[len(data) - 8 - int.from_bytes(data[-8:-4], "little") : -8]


@pytest.mark.parametrize("rows", [0, 1, 99, 100, 101, 350])
@pytest.mark.parametrize("replaced", [REPLACED, ["id"], ["words"], SCHEMA.names])
def test_it_is_what_pyarrow_writes(tmp_path: Path, rows: int, replaced: list[str]) -> None:
    before, drawn = table(rows, 1), table(rows, 2)
    after = pa.table([(drawn if name in replaced else before)[name] for name in SCHEMA.names], schema=SCHEMA)
    earlier, expected = write(tmp_path / "earlier", before), write(tmp_path / "expected", after)
    replace_columns(earlier, drawn.select(replaced[::-1]), tmp_path / "out", GROUP)
    assert (tmp_path / "out").read_bytes() == expected.read_bytes()
    assert pq.read_table(tmp_path / "out").equals(after)
    assert earlier.read_bytes() == write(tmp_path / "again", before).read_bytes()  # which is only read


def test_many_columns(tmp_path: Path) -> None:
    """More than 15: the length of their list is written another way."""
    before = pa.table({f"column {number}": [number, None] for number in range(40)})
    after = before.set_column(17, "column 17", pa.array([5, 6]))
    replace_columns(write(tmp_path / "earlier", before), after.select(["column 17"]), tmp_path / "out", GROUP)
    assert (tmp_path / "out").read_bytes() == write(tmp_path / "expected", after).read_bytes()


def test_what_was_written_otherwise_is_refused(tmp_path: Path) -> None:
    rows = table(150, 1)
    other = write(tmp_path / "other", rows)
    other.write_bytes(other.read_bytes().replace(b"parquet-cpp-arrow", b"parquet-xyz-arrow"))
    refused = {
        "other was not written by this version of pyarrow": other,
        "groups does not have 150 rows in groups of 100": write(tmp_path / "groups", rows, row_group_size=90),
        "fewer does not have 150 rows": write(tmp_path / "fewer", rows[:149]),
        "codec is not compressed with zstd": write(tmp_path / "codec", rows, compression="snappy"),
        "index has an index of its pages or values": write(tmp_path / "index", rows, write_page_index=True),
    }
    for message, path in refused.items():
        with pytest.raises(OtherWriter, match=message):
            replace_columns(path, rows.select(REPLACED), tmp_path / "out", GROUP)
        assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["other", "words"])
def test_a_column_that_is_not_there_and_one_of_another_type_are_refused(tmp_path: Path, name: str) -> None:
    earlier = write(tmp_path / "earlier", table(3, 1))
    with pytest.raises(ValueError, match=f"earlier: no columns {name}: int64"):
        replace_columns(earlier, pa.table({name: [1, 2, 3]}), tmp_path / "out", GROUP)


def test_metadata_are_the_same_when_decoded_and_encoded(tmp_path: Path) -> None:
    data = footer(write(tmp_path / "file", table(350, 1), write_page_index=True))
    for wanted in (FOOTER, {}, {4: {}}):
        assert encode(decode(data, wanted)) == data
        for end in range(0, len(data), 7):
            with pytest.raises(ValueError, match=r"the metadata end|a value of type"):
                decode(data[:end], wanted)


@pytest.mark.parametrize("changed", SCHEMA.names)
def test_columns_are_equal_if_what_is_in_them_is(tmp_path: Path, changed: str) -> None:
    rows = table(350, seed=1)
    one, other = write(tmp_path / "one", rows), tmp_path / "other"
    values = rows[changed].to_pylist()
    values[200] = next(value for value in values if value not in (None, values[200]))  # of the third row group
    column = rows.schema.get_field_index(changed)
    write(other, rows.set_column(column, SCHEMA.field(changed), pa.array(values, SCHEMA.field(changed).type)))
    assert not equal_columns(one, other, [changed])
    assert not equal_columns(one, other, SCHEMA.names)
    assert equal_columns(one, other, [name for name in SCHEMA.names if name != changed])


def test_columns_that_another_writer_wrote_are_not_called_equal(tmp_path: Path) -> None:
    rows = table(350, seed=1)
    one = write(tmp_path / "one", rows)
    assert not equal_columns(one, write(tmp_path / "other", rows, compression="none"), ["text"])
    assert not equal_columns(one, write(tmp_path / "shorter", rows.slice(0, 300)), ["text"])
    wider = rows.set_column(8, "words", rows["words"].cast(pa.int64()))
    assert not equal_columns(one, write(tmp_path / "wider", wider), ["words"])
