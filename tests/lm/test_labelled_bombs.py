"""Labelled files that unpack to more than there is: a typed error that names the file, and little memory."""

import gzip
import json
import resource
from collections import deque
from collections.abc import Callable
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lm.labelled import parquet, streams
from lm.labelled.read_config import ReadConfig
from lm.labelled.records import read_records
from lm.labelled.streams import BadInput
from tests.data_quality import parquet_by_hand as hand
from tests.data_quality.parquet_bombs import one_text_again_and_again, one_text_in_lists
from tests.data_quality.test_sources_parquet_limits import zeros
from tests.peak import forget_peak, peak

MEBI = 1 << 20


def rows_of(path: Path) -> list[dict[str, object]]:
    return [record.values for record in read_records(path, ReadConfig())]


def test_two_gigabytes_in_a_kilobyte_take_little_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "UNPACKED_BYTES", 80 * MEBI)  # a third of what it is, to be fast
    path = one_text_again_and_again(tmp_path / "bomb.parquet")
    assert path.stat().st_size < 2_000
    ours = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    before = forget_peak()
    with pytest.raises(BadInput, match=r"bomb\.parquet: its [\d,]+ bytes unpack to [\d,]+ and more.*plain \.jsonl"):
        deque(read_records(path, ReadConfig()), maxlen=1)
    assert peak() - before < 200 << 10
    # a process begins with the memory of the one that starts it
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss <= max(children, ours, 1 << 20)


def test_a_long_text_that_lists_repeat_counts_each_time(tmp_path: Path) -> None:
    path = one_text_in_lists(tmp_path / "a.parquet", 2, 200, MEBI)
    before = forget_peak()
    with pytest.raises(BadInput, match=r"after row 0: a row of about 2\d\d,\d+,\d+ bytes; the limit is 67,108,864"):
        rows_of(path)
    assert peak() - before < 100 << 10


def test_padded_numbers_are_no_bomb(tmp_path: Path) -> None:
    path, numbers = tmp_path / "a.parquet", pa.array(np.zeros(3_000 * 512, np.int64))
    padded = pa.ListArray.from_arrays(pa.array(np.arange(3_001) * 512, pa.int32()), numbers)
    pq.write_table(pa.table({"text": [f"t{number}" for number in range(3_000)], "attention_mask": padded}), path)
    assert len(rows_of(path)) == 3_000


@pytest.mark.parametrize(
    ("make", "fault"),
    [
        (
            lambda: hand.parquet([[zeros(10)], [zeros(70 * MEBI)]], hand.ZSTD),
            r"1: a row of about .*; the limit is 67,108,864",
        ),
        (
            lambda: hand.parquet([[zeros(10)], [zeros(1200 * MEBI)]], hand.ZSTD),
            "1: reading it takes more than 1024 MiB",
        ),
        (
            lambda: hand.parquet([], schema=[hand.element(b"s", 1)] * 100_001 + [hand.element(b"text")]),
            "0: Arrow failed ",
        ),
    ],
    ids=["a long row", "a page of zeros", "a deep schema"],
)
def test_what_takes_too_much_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[], bytes], fault: str
) -> None:
    monkeypatch.setattr(parquet, "MEMORY_BYTES", 1024 * MEBI)
    path = tmp_path / "a.parquet"
    path.write_bytes(make())
    before = forget_peak()
    with pytest.raises(BadInput, match=rf"a\.parquet: cannot be read as Parquet after row {fault}"):
        rows_of(path)
    assert peak() - before < 100 << 10


def test_rows_of_every_kind_come_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    columns = {
        "text": ["a", None, "中文", "x" * 20_000, ""] * 80,
        "kind": pa.array(["p", "q", None, "p", "q"] * 80).dictionary_encode(),
        "tags": [["a", "b"], [], None, ["c"], ["d", None]] * 80,
        "inner": [{"n": 1, "m": [1.5]}, None, {"n": None, "m": []}, {"n": 2, "m": None}, {"n": 3, "m": [2.0]}] * 80,
        "map": pa.array([[("k", 1)], [], None, [("k", 2)], []] * 80, pa.map_(pa.string(), pa.int64())),
        "day": [date(2026, 11, 28), None, date(1, 1, 1), date(9999, 12, 31), None] * 80,
        "bytes": [b"\xff", None, b"", b"a", b"b"] * 80,
    }
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table(columns), path, row_group_size=150)
    monkeypatch.setattr(parquet, "PART_BYTES", 50_000)
    [first, *rest] = parquet.read_batches(path)
    assert [row for batch in rest for row in batch.to_pylist()] == pa.table(columns).to_pylist()
    assert first.num_rows == 0  # the columns of a file without rows
    assert len(rest) > 40
    assert max(map(parquet.weight, rest)) <= 50_000


def test_text_that_is_no_utf_8_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    path.write_bytes(hand.parquet([[hand.plain(b"a", b"\xff")]]))
    with pytest.raises(BadInput, match=r"a\.parquet: cannot be read as Parquet after row 0: 'utf-8' codec"):
        rows_of(path)


@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.jsonl"])
def test_lines_that_unpack_to_a_thousand_times_their_file_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(streams, "UNPACKED_BYTES", 4 * MEBI)
    line = json.dumps({"text": "x" * 100_000}).encode() + b"\n"
    path = tmp_path / name
    path.write_bytes(gzip.compress(line * 60) if name.endswith(".gz") else line * 60)
    if name.endswith(".gz"):
        with pytest.raises(BadInput, match=r"a\.jsonl\.gz: its [\d,]+ bytes unpack to"):
            rows_of(path)
    else:
        assert len(rows_of(path)) == 60
