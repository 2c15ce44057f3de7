"""Parquet files that ask for more memory than there is: what reading takes is bounded, and large ones are read."""

import io
import json
import resource
import subprocess
import sys
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from data_quality.config import ParquetSource
from data_quality.sources import parquet, parquet_pages
from data_quality.sources.base import InputError, Record, Skip
from data_quality.sources.ranges import cut_file
from tests.data_quality import parquet_by_hand as hand
from tests.data_quality.parquet_bombs import one_text_in_lists
from tests.data_quality.test_ranges import WHOLE, pieces_of, read
from tests.data_quality.test_sources_parquet import GOOD, TYPES
from tests.data_quality.test_sources_streams import ref
from tests.peak import forget_peak, peak

MEBI = 1 << 20


def source(**options):
    return ParquetSource(format="parquet", paths=("a",), **options)


def items_of(path, **options):
    return [
        (item.number, item.text) if isinstance(item, Record) else item
        for item in parquet.read(ref(path), source(**options))
    ]


@pytest.fixture
def small(monkeypatch):
    """Limits a sixteenth of what they are, and the process's as small as it can start in."""
    monkeypatch.setattr(parquet_pages, "PAGES_BYTES", 16 * MEBI)
    monkeypatch.setattr(parquet_pages, "BATCH_BYTES", 16 * MEBI)
    monkeypatch.setattr(parquet, "MEMORY_BYTES", 700 * MEBI)


def zeros(size):
    """A text of so many zero bytes in a page, packed to a few kilobytes."""
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(size.to_bytes(4, "little"))
        for left in range(size, 0, -MEBI):
            stream.write(bytes(min(left, MEBI)))
    return hand.Page(sink.getvalue().to_pybytes(), size + 4, 1)


def lengths(count):
    """A page of so many empty texts in some ten bytes, of which the header says that they are four."""
    block = hand.varint(count + -count % 128) + hand.varint(1) + hand.varint(count) + hand.zigzag(0)
    data = block + hand.zigzag(0) + b"\0"
    return hand.Page(data, len(data), 4, hand.DELTA_LENGTH_BYTE_ARRAY)


def in_zstd(page):
    return page._replace(data=pa.Codec("zstd").compress(page.data, asbytes=True))


def test_a_file_written_by_hand_is_read(tmp_path):
    path = tmp_path / "a.parquet"
    path.write_bytes(hand.parquet([[hand.plain(b"a", b"b"), hand.plain(b"c")], [hand.plain(b"d")]]))
    assert pq.read_table(path).column("text").to_pylist() == ["a", "b", "c", "d"]
    assert items_of(path) == [(1, "a"), (2, "b"), (3, "c"), (4, "d")]
    path.write_bytes(hand.parquet([[zeros(1000)]], hand.ZSTD))
    assert items_of(path) == [(1, "\0" * 1000)]


def test_a_page_of_zeros_is_not_unpacked(tmp_path, small):
    path = tmp_path / "a.parquet"
    path.write_bytes(hand.parquet([[zeros(1000)], [zeros(1000 * MEBI)], [zeros(30 * MEBI)], [zeros(10)]], hand.ZSTD))
    assert path.stat().st_size < 200_000
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    before = forget_peak()
    assert items_of(path, max_record_bytes=MEBI) == [
        (1, "\0" * 1000),
        Skip("too_long", "row group 1: reading it takes more than 700 MiB", None, 2),
        Skip("too_long", f"row group 2: a row of {30 * MEBI + 4} bytes; the limit is {16 * MEBI}", None, 3),
        (4, "\0" * 10),
    ]
    assert peak() - before < 100 << 10
    # a process begins with the memory of the one that starts it
    ours = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss <= max(children, ours, 700 << 10)


def test_a_page_of_another_kind_hides_no_page(tmp_path, small):
    """An index page that says to hold values: Arrow passes over it, and over what it says."""
    path = tmp_path / "a.parquet"
    index = in_zstd(hand.plain(b"i"))._replace(values=10**6, kind=1)
    pages = [in_zstd(hand.plain(b"a")), index, zeros(1000 * MEBI)]
    path.write_bytes(hand.parquet([pages], hand.ZSTD))
    first, skip = items_of(path)
    assert first == (1, "a")
    assert skip == Skip("too_long", "row group 0: reading it takes more than 700 MiB", None, 2)


def test_values_of_a_fixed_length_are_as_long_where_there_is_none(tmp_path, small):
    path = tmp_path / "a.parquet"
    text = hand.struct(
        {1: hand.i32(hand.FIXED_LEN_BYTE_ARRAY), 2: hand.i32(50_000_000), 3: hand.i32(1), 4: hand.binary(b"text")}
    )
    levels = hand.varint(200 << 1) + b"\0"
    data = len(levels).to_bytes(4, "little") + levels
    nulls = hand.Page(data, len(data), 200)
    schema = [hand.element(b"schema", 1), text]
    path.write_bytes(hand.parquet([[nulls]], schema=schema, type=hand.FIXED_LEN_BYTE_ARRAY))
    assert path.stat().st_size < 1000
    (skip,) = items_of(path, max_record_bytes=MEBI)
    assert (skip.reason, skip.record) == ("too_long", 1)


def test_what_is_refused_is_refused_in_a_range(tmp_path, small):
    path = tmp_path / "a.parquet"
    groups = [[hand.plain(b"a")], [hand.plain(b"b", b"c")], [zeros(30 * MEBI)], [hand.plain(b"d")]]
    packed = [[page if page.unpacked > MEBI else in_zstd(page) for page in pages] for pages in groups]
    path.write_bytes(hand.parquet(packed, hand.ZSTD))
    whole, parts = (pieces_of(path, size, format="parquet", max_record_bytes=MEBI) for size in (WHOLE, 10))
    assert (len(whole), len(parts)) == (1, 4)
    found = read(parts, tmp_path / "parts")
    assert found == read(whole, tmp_path / "whole")
    assert [document.text for document in found[0]] == ["a", "b", "c", "d"]
    assert [(row["record"], row["reason"]) for row in found[1]] == [(4, "too_long")]


def test_a_process_that_dies_costs_its_row_group(tmp_path, monkeypatch):
    path = tmp_path / "a.parquet"
    path.write_bytes(hand.parquet([[hand.plain(b"a")], [lengths(4)], [hand.plain(b"b")]]))
    assert len(items_of(path)) == 6
    monkeypatch.setattr(parquet, "LIMITED", tmp_path / "dies.py")
    (tmp_path / "dies.py").write_text("import os\nos.kill(os.getpid(), 11)\n")
    first, skip, last = items_of(path)
    assert (first, last) == ((1, "a"), (6, "b"))
    assert (skip.reason, skip.record) == ("corrupt", 2)
    assert "row group 1: Arrow failed (signal 11)" in skip.detail


def test_a_process_may_complain_at_length(tmp_path, monkeypatch):
    """A pipe that nobody reads would hold it for ever."""
    path = tmp_path / "a.parquet"
    path.write_bytes(hand.parquet([[lengths(4)]]))
    monkeypatch.setattr(parquet, "LIMITED", tmp_path / "complains.py")
    (tmp_path / "complains.py").write_text("import sys\nsys.exit('x' * 1_000_000 + '\\nno more')\n")
    (skip,) = items_of(path)
    assert "row group 0: Arrow failed (no more)" in skip.detail


def test_a_process_that_may_have_less_memory_reads_within_it(tmp_path):
    path, less = tmp_path / "a.parquet", 1500 * MEBI
    path.write_bytes(hand.parquet([[lengths(4)], [lengths(10**9)]]))
    said = []
    for first, end in ("01", "12"):
        limits = (first, end, "256", str(MEBI), str(parquet.MEMORY_BYTES))
        with path.open("rb") as raw:
            done = subprocess.run(
                [sys.executable, "-P", parquet.LIMITED, "", *limits, "text"],
                stdin=raw,
                capture_output=True,
                check=True,
                preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (less, less)),  # as a batch system does
            )
        said.append(json.loads(done.stdout[done.stdout.rindex(b'{"') :]))
    assert said == [{"end": True}, {"reason": "too_long", "detail": "reading it takes more than 1500 MiB"}]


def test_a_long_text_that_lists_repeat_counts_each_time(tmp_path):
    path = one_text_in_lists(tmp_path / "a.parquet", 2, 400, MEBI)
    assert path.stat().st_size < 3_000
    before = forget_peak()
    with path.open("rb") as raw, pytest.raises(InputError, match=r"after 0 rows: a row of 4\d{8} bytes"):
        list(parquet.read_rows(str(path), raw, MEBI))
    assert peak() - before < 100 << 10


def test_one_process_reads_all_row_groups_of_a_table(tmp_path, monkeypatch):
    rows = [{"question": f"q{number}", "choices": ["a", "b"], "kind": {"of": ["c"]}} for number in range(300)]
    schema = pa.schema(
        [
            ("question", pa.string()),
            ("choices", pa.list_(pa.string())),
            ("kind", pa.struct([("of", pa.large_list(pa.dictionary(pa.int32(), pa.string())))])),
        ]
    )
    path = tmp_path / "a.parquet"
    pq.write_table(pa.Table.from_pylist(rows, schema), path, row_group_size=50)
    monkeypatch.setattr(parquet_pages, "PAGES_BYTES", 1)  # as of long lists
    started = []
    popen = subprocess.Popen
    monkeypatch.setattr(
        parquet.subprocess, "Popen", lambda *given, **more: started.append(given) or popen(*given, **more)
    )
    with path.open("rb") as raw:
        assert list(parquet.read_rows(str(path), raw, MEBI)) == rows
    assert len(started) == 1


def test_a_file_on_no_disk_is_opened_by_the_process(tmp_path, monkeypatch):
    path = tmp_path / "a.parquet"
    path.write_bytes(hand.parquet([[lengths(4)]]))
    monkeypatch.setattr(parquet, "open_seekable", lambda opened: io.BytesIO(path.read_bytes()))
    elsewhere = ref(path).model_copy(update={"uri": path.as_uri()})
    assert [item.text for item in parquet.read(elsewhere, source())] == [""] * 4


def test_lengths_out_of_nothing_are_not_counted_out(tmp_path, small):
    path = tmp_path / "a.parquet"
    path.write_bytes(hand.parquet([[hand.plain(b"a")], [lengths(10**9)], [hand.plain(b"b")]]))
    assert path.stat().st_size < 1000
    first, skip, last = items_of(path)
    assert (first, last) == ((1, "a"), (6, "b"))
    assert (skip.reason, skip.record) == ("too_long", 2)


def test_one_long_text_many_times_is_read_a_few_rows_at_a_time(tmp_path, monkeypatch):
    """In the dictionary it is once; a batch has it as often as it has rows."""
    text = pa.DictionaryArray.from_arrays(pa.array(np.zeros(100_000, np.int32)), ["x" * (4 * MEBI)])
    pq.write_table(pa.table({"text": text, "n": range(100_000)}).replace_schema_metadata(), tmp_path / "a.parquet")
    assert (tmp_path / "a.parquet").stat().st_size < 2 * MEBI
    monkeypatch.setattr(parquet_pages, "BATCH_BYTES", 10 * MEBI)
    reading = parquet.read(ref(tmp_path / "a.parquet"), source(id_column="n"))
    before = forget_peak()
    for number in range(20):
        item = next(reading)
        assert (item.id, len(item.text)) == (number, 4 * MEBI)
    reading.close()
    assert peak() - before < 60 << 10


@pytest.mark.parametrize(
    ("pages", "rows"),
    [
        ([[b"x" * MEBI]] * 10, 8),  # each row may be as large as a page
        ([[b"x" * 1000] * 1000] * 10, 256),  # they lie in two pages
        ([[b"x" * 1000] * 1000] * 10 + [[b"x" * MEBI]], 256),  # a last page is met once
        ([[b"x" * 1000] * 1000, [b"x" * MEBI], [b"x" * 1000] * 1000], 8),
        ([[b"x" * 20_000] * 300], 1),  # two pages of this size would be too much
    ],
)
def test_rows_at_a_time_have_so_many_bytes_together(tmp_path, monkeypatch, pages, rows):
    """Some tools write a row group's column as one page of 100 MB: row by row would take for ever."""
    monkeypatch.setattr(parquet_pages, "BATCH_BYTES", 10 * MEBI)
    path = tmp_path / "a.parquet"
    path.write_bytes(hand.parquet([[hand.plain(*texts) for texts in pages]]))
    with path.open("rb") as raw:
        file = pq.ParquetFile(raw)
        assert parquet_pages.load(raw, file, 0, ["text"]) == (rows, True)
        texts = [len(text) for page in pages for text in page]
        for batch in file.iter_batches(rows):
            assert batch.nbytes <= 10 * MEBI
    assert [len(text) for _, text in items_of(path)] == texts


def test_a_row_of_many_values_is_refused(tmp_path, small):
    """Lists: all that a page says may be in one row."""
    tags = pa.ListArray.from_arrays([0, 1, 40_000_001], pa.array(np.zeros(40_000_001, np.int8)))
    table = pa.table({"text": ["a", "b"], "tags": tags})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=1)
    first, skip = items_of(tmp_path / "a.parquet", metadata_columns=("tags",))
    assert first == (1, "a")
    assert (skip.reason, skip.record) == ("too_long", 2)
    assert items_of(tmp_path / "a.parquet") == [(1, "a"), (2, "b")]  # a column that nobody asks for is not looked at


SCHEMA = hand.many([hand.element(b"schema", 1), hand.element(b"text")])


def statistics(levels):
    """A row group of one column, whose values have so many definition levels."""
    sizes = hand.struct({3: hand.many([hand.i64(1)] * levels)})
    return hand.many([hand.struct({1: hand.many([hand.struct({3: hand.struct({16: sizes})})])})])


def test_statistics_that_fit_their_column_are_not_refused():
    parquet_pages.check_footer(io.BytesIO(hand.with_footer(b"PAR1", {2: SCHEMA, 4: statistics(levels=1)})))


def test_a_second_schema_is_refused():
    fields = hand.struct({2: SCHEMA, 4: statistics(levels=1)}).data.removesuffix(b"\0")
    footer = fields + hand.struct({2: SCHEMA}).data
    data = b"PAR1" + footer + len(footer).to_bytes(4, "little") + b"PAR1"
    with pytest.raises(InputError, match="two schemas"):
        parquet_pages.check_footer(io.BytesIO(data))


@pytest.mark.parametrize(
    ("data", "reason", "detail"),
    [
        (
            hand.parquet([], schema=[hand.element(b"s", 1)] * 100_001 + [hand.element(b"text")]),
            "corrupt",
            "columns nested more than 100 deep",
        ),
        (
            hand.with_footer(
                b"PAR1",
                {
                    1: hand.i32(1),
                    2: hand.many([hand.element(b"s", 0)]),
                    3: hand.i64(0),
                    4: hand.many([hand.struct({1: hand.many([hand.struct({2: hand.i64(0)})] * 150_000)})]),
                },
            ),
            "too_long",
            "a footer for which Arrow needs more than 64 MiB",
        ),
        (
            hand.with_footer(b"PAR1", {2: hand.many([hand.element(b"s", 1)] * 100_001, 5)}),
            "corrupt",
            "a list of what does not belong there",
        ),
        (
            hand.with_footer(b"PAR1", {2: SCHEMA, 4: statistics(levels=2)}),
            "corrupt",
            "statistics that are none of column 0",
        ),
        (hand.with_footer(b"PAR1", {4: statistics(levels=1), 2: SCHEMA}), "corrupt", "row groups before their schema"),
    ],
    ids=["deep", "large", "lying", "statistics", "order"],
)
def test_a_footer_that_would_end_the_process_is_refused(tmp_path, monkeypatch, data, reason, detail):
    monkeypatch.setattr(parquet_pages, "MAX_FOOTER_MEMORY", 64 * MEBI)
    path = tmp_path / "a.parquet"
    path.write_bytes(data)
    with pytest.raises(InputError) as raised:
        items_of(path)
    assert raised.value.reason == reason
    assert detail in raised.value.detail
    assert cut_file(str(path), path.name, source(), 1000) == []


def test_a_footer_longer_than_arrow_may_need_is_not_even_read(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet_pages, "MAX_FOOTER_MEMORY", 64 * MEBI)
    path = tmp_path / "a.parquet"
    with path.open("wb") as file:
        file.truncate(100 * MEBI)
        file.seek(0, 2)
        file.write((40 * MEBI).to_bytes(4, "little") + b"PAR1")
    with path.open("rb") as raw, pytest.raises(InputError, match="a footer for which Arrow needs more than 64 MiB"):
        parquet_pages.check_footer(raw)


def test_an_empty_list_needs_no_type(tmp_path):
    """So fastparquet writes it, in every column chunk."""
    data = hand.parquet([[hand.plain(b"a", b"b")]])
    footer = data[-8 - int.from_bytes(data[-8:-4], "little") : -8]
    untyped = footer.removesuffix(b"\0") + bytes([9]) + hand.zigzag(5) + b"\0" + b"\0"
    path = tmp_path / "a.parquet"
    path.write_bytes(data.removesuffix(footer + data[-8:]) + untyped + len(untyped).to_bytes(4, "little") + b"PAR1")
    assert pq.read_table(path).num_rows == 2
    assert items_of(path) == [(1, "a"), (2, "b")]


@pytest.mark.parametrize("type", [pa.bool_(), pa.null(), pa.float64()], ids=str)
def test_a_list_is_as_long_as_its_items_are_here(tmp_path, type):
    """Of a million nulls Arrow holds no byte, and Python eight million."""
    long = pa.nulls(100_000, type)
    flags = pa.ListArray.from_arrays([0, 3, 90_000, 100_000], long)
    inner = pa.StructArray.from_arrays([flags, pa.array([1, 2, 3])], ["flags", "n"])
    map = pa.MapArray.from_arrays([0, 3, 90_000, 100_000], pa.array(range(100_000)), long)
    columns = {"flags": flags, "inner": inner, "map": map}
    pq.write_table(pa.table({"text": ["a", "b", "c"], **columns}), tmp_path / "a.parquet")
    for name in columns:
        first, skip, last = items_of(tmp_path / "a.parquet", metadata_columns=(name,), max_record_bytes=MEBI)
        assert (first, last) == ((1, "a"), (3, "c"))
        assert (skip.reason, skip.record) == ("too_long", 2)


def test_row_groups_that_say_to_be_the_whole_file_are_not_digested(tmp_path, monkeypatch):
    path = tmp_path / "a.parquet"
    good = hand.parquet([[hand.plain(b"x" * 9000)]] * 5)
    same = hand.plain(b"x" * 9000)
    body = b"PAR1" + same.stored()
    column = {1: hand.i32(hand.BYTE_ARRAY), 2: hand.many([hand.i32(0)]), 3: hand.many([hand.binary(b"text")])}
    column |= {4: hand.i32(0), 5: hand.i64(1), 6: hand.i64(100), 7: hand.i64(len(body) - 4), 9: hand.i64(4)}
    chunk = hand.many([hand.struct({2: hand.i64(4), 3: hand.struct(column)})])
    group = hand.struct({1: chunk, 2: hand.i64(100), 3: hand.i64(1)})
    schema = hand.many([hand.element(b"schema", 1), hand.element(b"text")])
    fields = {1: hand.i32(1), 2: schema, 3: hand.i64(50), 4: hand.many([group] * 50)}
    digested = []
    monkeypatch.setattr(
        parquet, "row_group_digest", lambda *a, of=parquet.row_group_digest: digested.append(a) or of(*a)
    )
    path.write_bytes(hand.with_footer(body, fields))
    assert len(items_of(path)) == 50
    assert cut_file(str(path), path.name, source(), 1000) == []
    assert digested == []
    path.write_bytes(good)
    assert len(cut_file(str(path), path.name, source(), 1000)) > 1


def test_columns_may_be_nested(tmp_path):
    value = {"a": "text"}
    for _ in range(40):
        value = {"a": value}
    pq.write_table(pa.table({"text": ["t"], "deep": [value]}), tmp_path / "a.parquet")
    (item,) = parquet.read(ref(tmp_path / "a.parquet"), source(metadata_columns=("deep",)))
    assert item.metadata == {"deep": value}


@pytest.mark.parametrize("type", TYPES, ids=str)
def test_the_process_of_limited_memory_gives_the_same_rows(tmp_path, monkeypatch, type):
    path = tmp_path / "a.parquet"
    texts = pa.array(["a", None, "中文", "x" * 500, "b"] * 200).cast(type)
    tags = [["a", "b"], [], None, ["c"], ["d", None]] * 200
    table = pa.table({"text": texts, "tags": tags, "n": range(1000)})
    pq.write_table(table, path, row_group_size=700, compression="zstd")
    options: dict[str, Any] = {"metadata_columns": ("tags", "n"), "max_record_bytes": 400}
    here = list(parquet.read(ref(path), source(**options)))
    started = []
    monkeypatch.setattr(parquet_pages, "PAGES_BYTES", 0)
    monkeypatch.setattr(
        parquet.subprocess, "Popen", lambda *a, of=subprocess.Popen, **k: started.append(a) or of(*a, **k)
    )
    there = list(parquet.read(ref(path), source(**options)))
    assert there == here
    assert len(started) == 2
    assert sum(isinstance(item, Skip) for item in here) == 200
    monkeypatch.setattr(parquet_pages, "BATCH_BYTES", 2000)
    assert list(parquet.read(ref(path), source(**options))) == here


def test_a_row_of_a_column_of_categories_is_its_text_and_not_all_of_them(tmp_path, monkeypatch):
    texts = [f"{n:020000}" for n in range(100)]
    pq.write_table(pa.table({"text": pa.array(texts).dictionary_encode()}), tmp_path / "a.parquet")
    monkeypatch.setattr(parquet_pages, "PAGES_BYTES", 0)
    monkeypatch.setattr(parquet_pages, "BATCH_BYTES", MEBI)
    assert items_of(tmp_path / "a.parquet", max_record_bytes=100_000) == list(enumerate(texts, 1))


@pytest.mark.parametrize("encoding", ["DELTA_LENGTH_BYTE_ARRAY", "DELTA_BYTE_ARRAY", "PLAIN"])
@pytest.mark.parametrize("version", ["1.0", "2.0"])
def test_pages_of_every_encoding(tmp_path, encoding, version):
    path = tmp_path / "a.parquet"
    texts = [f"text {n}" for n in range(1000)]
    pq.write_table(
        pa.table({"text": texts}),
        path,
        use_dictionary=False,
        column_encoding={"text": encoding},
        data_page_version=version,
        data_page_size=2000,
    )
    assert items_of(path) == list(enumerate(texts, 1))
    damaged = bytearray(path.read_bytes())
    damaged[3000:3100] = bytes(100)
    path.write_bytes(damaged)
    with pytest.raises(InputError, match="corrupt"):
        items_of(path)


def test_a_large_row_group_is_read_page_by_page(tmp_path, monkeypatch):
    """One row group of 64 MB, as many tools write their files, needs no process of its own and a small part of it."""
    path = tmp_path / "a.parquet"
    draw = np.random.default_rng(1)
    with pq.ParquetWriter(path, pa.schema([("text", pa.string())]), compression="zstd") as writer:
        texts = [draw.bytes(4000).hex() for _ in range(8000)]
        writer.write_table(pa.table({"text": texts}), row_group_size=8000)
    assert pq.read_metadata(path).num_row_groups == 1
    code = """
import json, sys
from data_quality.config import ParquetSource
from data_quality.sources import parquet
from data_quality.sources.base import FileRef
ref = FileRef(path="a", uri=sys.argv[1], sha256=sys.argv[2], bytes=1)
parquet.subprocess.Popen = None
reading = parquet.read(ref, ParquetSource(format="parquet", paths=("a",)))
next(reading)
from tests.peak import forget_peak, peak
before = forget_peak()
count = sum(1 for _ in reading)
print(json.dumps([count, peak() - before]))
"""
    command = [sys.executable, "-c", code, str(path), ref(path).sha256]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    count, grown = json.loads(done.stdout)
    assert count == 7999
    assert grown < 30 << 10


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None)
@given(st.binary(max_size=20), st.integers(0, len(GOOD)))
@example(b"\x19YA", 563)  # lists in lists
@example(b"g", 411)  # statistics of another size, over which Arrow 25.0 ends the process when it is asked for a column
def test_a_damaged_footer_that_arrow_reads_is_read_or_refused(tmp_path, damage, position):
    path = tmp_path / "a.parquet"
    path.write_bytes(GOOD[:position] + damage + GOOD[position + len(damage) :])
    try:
        file = pq.ParquetFile(path)
    except (pa.ArrowException, OSError, UnicodeDecodeError):
        return
    with path.open("rb") as raw:
        try:
            parquet_pages.check_footer(raw)
        except InputError as refused:
            assert refused.detail.startswith("a footer that cannot be read: ")  # noqa: PT017
            return
        for group in range(min(1, file.num_row_groups)):
            parquet_pages.load(raw, file, group, ["text"])
