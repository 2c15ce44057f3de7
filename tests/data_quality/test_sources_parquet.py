import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from data_quality.config import ParquetSource
from data_quality.sources import parquet
from data_quality.sources.base import BadInput, InputError
from tests.data_quality.ingesting import ingest, write
from tests.data_quality.test_sources_streams import ref


def source(path, **options):
    return {"format": "parquet", "paths": [str(path)], **options}


TYPES = [
    pa.string(),
    pa.large_string(),
    pa.binary(),
    pa.dictionary(pa.int32(), pa.string()),
    pa.string_view(),
]


@pytest.mark.parametrize("type", TYPES, ids=str)
def test_text_of_every_string_type(tmp_path, type):
    table = pa.table({"text": pa.array(["a", None, "中文"]).cast(type), "n": [1, 2, 3], "unused": [0, 0, 0]})
    pq.write_table(table, tmp_path / "a.parquet")
    out = ingest(tmp_path, source(tmp_path / "a.parquet", metadata_columns=["n"], id_column="n"))
    assert {id: (d.text, d.metadata) for id, d in out.documents.items()} == {
        "1": ("a", {"n": 1}),
        "3": ("中文", {"n": 3}),
    }
    assert out.reasons == ["empty_document"]


@pytest.mark.parametrize("name", ["a.parquet.gz", "a.parquet.zst"])
def test_compressed_once_more(tmp_path, name):
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"text": [str(n) for n in range(1000)]}), sink)
    write(tmp_path / name, sink.getvalue().to_pybytes())
    out = ingest(tmp_path, source(tmp_path / name))
    assert out.texts == [str(n) for n in range(1000)]
    assert next(iter(out.documents)) == f"parquet:{name}#1"


def test_broken_utf8_and_long_text_cost_their_row_only(tmp_path):
    values = pa.array([b"a", b"\xff", b"x" * 100, b"d"]).view(pa.string())
    pq.write_table(pa.table({"text": values}), tmp_path / "a.parquet")
    out = ingest(tmp_path, source(tmp_path / "a.parquet", max_record_bytes=50))
    assert out.texts == ["a", "d"]
    assert [(row["record"], row["reason"]) for row in out.skipped] == [(2, "bad_encoding"), (3, "too_long")]


def test_missing_column_names_those_there_are(tmp_path):
    pq.write_table(pa.table({"content": ["a"]}), tmp_path / "a.parquet")
    with pytest.raises(BadInput, match=r"^a\.parquet: missing_column: no column 'text'; there are: 'content'"):
        ingest(tmp_path, source(tmp_path / "a.parquet", on_bad_input="error"))


def test_rows_before_a_corrupt_page_are_kept(tmp_path):
    path = tmp_path / "a.parquet"
    table = pa.table({"text": [f"row {n}" for n in range(2000)]})
    pq.write_table(table, path, row_group_size=1000, compression="zstd", use_dictionary=False)
    start = pq.read_metadata(path).row_group(1).column(0).data_page_offset
    data = bytearray(path.read_bytes())
    data[start + 40 : start + 200] = bytes(160)
    path.write_bytes(data)
    out = ingest(tmp_path, source(path))
    assert out.texts == [f"row {n}" for n in range(1000)]
    assert out.reasons == ["corrupt"]


@pytest.mark.parametrize("data", [b"", b"PAR1", b"not parquet at all"])
def test_not_parquet(tmp_path, data):
    (tmp_path / "a.parquet").write_bytes(data)
    assert ingest(tmp_path, source(tmp_path / "a.parquet")).reasons == ["corrupt"]


def parquet_bytes():
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"text": ["abc", "def"] * 20, "id": range(40)}), sink)
    return sink.getvalue().to_pybytes()


GOOD = parquet_bytes()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.binary(max_size=60), st.integers(0, len(GOOD)), st.booleans())
@example(b"\x80", GOOD.index(b"text"), False)  # a column name that is not UTF-8
def test_damaged_files_are_read_or_refused(tmp_path, damage, position, cut):
    data = GOOD[:position] + damage + (b"" if cut else GOOD[position + len(damage) :])
    (tmp_path / "a.parquet").write_bytes(data)
    config = ParquetSource(format="parquet", paths=("a",), id_column="id")
    try:
        list(parquet.read(ref(tmp_path / "a.parquet"), config))
    except InputError as error:
        if error.reason not in ("corrupt", "missing_column", "doubled_column"):
            raise


def test_a_column_that_is_there_twice_is_refused_where_it_is_asked_for(tmp_path):
    table = pa.table([["x"], ["the long one"], ["short"]], names=["id", "text", "text"])
    pq.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(BadInput, match=r"2 columns are called 'text': which is meant\? Rename one in the file$"):
        ingest(tmp_path, source(tmp_path / "a.parquet", on_bad_input="error"))
    assert ingest(tmp_path / "2", source(tmp_path / "a.parquet", text_column="id")).texts == ["x"]
