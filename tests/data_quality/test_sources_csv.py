import csv
import io

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data_quality.config import CsvSource
from data_quality.sources import delimited
from data_quality.sources.base import BadInput, InputError
from tests.data_quality.ingesting import ingest, write
from tests.data_quality.test_sources_streams import ref


def source(path, **options):
    return {"format": "csv", "paths": [str(path)], **options}


def test_quotes_line_breaks_and_ids(tmp_path):
    write(tmp_path / "a.csv", b'text,label\n"one, ""quoted""\r\nsecond line",x\n\nplain,y\n')
    out = ingest(tmp_path, source(tmp_path / "a.csv", metadata_columns=["label"]))
    assert {id: (d.text, d.metadata) for id, d in out.documents.items()} == {
        "csv:a.csv#1": ('one, "quoted"\r\nsecond line', {"label": "x"}),
        "csv:a.csv#2": ("plain", {"label": "y"}),
    }


@pytest.mark.parametrize("name", ["a.tsv", "a.tsv.gz", "a.tsv.zst"])
def test_tabs_without_header_and_quotes_as_characters(tmp_path, name):
    write(tmp_path / name, '"Hi\t你好。\nIt is 5" wide\t五\n'.encode())
    out = ingest(tmp_path, source(tmp_path / name, columns=["en", "zh"], text_column="en", quote=None))
    assert out.texts == ['"Hi', 'It is 5" wide']


@pytest.mark.parametrize(
    ("bad", "reason", "detail"),
    [
        (b"a,b,c\n", "wrong_field_count", "3 fields, 2 columns"),
        (b"a\n", "wrong_field_count", "1 fields, 2 columns"),
        (b'"a"b,c\n', "invalid_csv", "expected after"),
        (b"a,\xff\n", "bad_encoding", "not valid Unicode at character 0"),
        (b"a,b\0c\n", "null_bytes", "null character at 1"),
        (b"a," + b"x" * 300 + b"\n", "too_long", "max_record_bytes is 100"),
    ],
)
def test_a_bad_row_is_recorded_and_the_others_kept(tmp_path, bad, reason, detail):
    write(tmp_path / "a.csv", b"id,text\n1,one\n" + bad + b"3,three\n")
    options = source(tmp_path / "a.csv", id_column="id", max_record_bytes=100)
    out = ingest(tmp_path, options)
    assert list(out.documents) == ["1", "3"]
    (row,) = out.skipped
    assert (row["line"], row["record"], row["reason"]) == (3, 2, reason)
    assert detail in row["detail"]
    with pytest.raises(BadInput, match=rf"^a\.csv, line 3: {reason}: "):
        ingest(tmp_path, {**options, "on_bad_input": "error"})


def test_a_bad_byte_in_a_metadata_column_costs_its_row_only(tmp_path):
    write(tmp_path / "a.csv", b"id,text,label\n1,one,x\n2,two,\xff\n3,three,y\n")
    out = ingest(tmp_path, source(tmp_path / "a.csv", id_column="id", metadata_columns=["label"]))
    assert list(out.documents) == ["1", "3"]
    assert [(row["line"], row["reason"]) for row in out.skipped] == [(3, "bad_encoding")]


def test_a_quote_that_is_never_closed_costs_a_bounded_stretch(tmp_path):
    rows = b"".join(b"%d,text %d\n" % (n, n) for n in range(100))
    write(tmp_path / "a.csv", b'id,text\n1000,"open\n' + rows)
    out = ingest(tmp_path, source(tmp_path / "a.csv", max_record_bytes=200))
    assert out.texts[-1] == "text 99"
    assert len(out.texts) > 70
    assert out.reasons == ["too_long"]


def test_an_open_quote_at_the_end_of_the_file(tmp_path):
    write(tmp_path / "a.csv", b'text\none\n"two\nthree\n')
    out = ingest(tmp_path, source(tmp_path / "a.csv"))
    assert out.texts == ["one"]
    assert out.reasons == ["invalid_csv"]


def test_missing_column_names_those_there_are(tmp_path):
    write(tmp_path / "a.csv", b"body,label\nx,y\n")
    out = ingest(tmp_path, source(tmp_path / "a.csv"))
    assert out.reasons == ["missing_column"]
    assert out.skipped[0]["detail"] == "no column 'text'; there are: 'body', 'label'"
    with pytest.raises(BadInput, match=r"no column 'text'; there are: 'body', 'label'"):
        ingest(tmp_path, source(tmp_path / "a.csv", on_bad_input="error"))


def test_a_column_that_is_there_twice_is_refused_where_it_is_asked_for(tmp_path):
    write(tmp_path / "a.csv", b"id,text,text,n,n\nx,the long one,short,1,2\n")
    out = ingest(tmp_path, source(tmp_path / "a.csv"))
    assert out.skipped[0]["detail"].startswith("2 columns are called 'text': which is meant?")
    out = ingest(tmp_path / "2", source(tmp_path / "a.csv", text_column="id"))
    assert out.texts == ["x"]


def test_excels_note_of_its_delimiter_is_no_header(tmp_path):
    for delimiter, content in ((";", b"sep=;\r\ntext;n\r\none;1\r\n"), (",", b"sep=,\ntext,n\none,1\n")):
        write(tmp_path / delimiter / "a.csv", content)
        assert ingest(tmp_path / delimiter, source(tmp_path / delimiter / "a.csv", delimiter=delimiter)).texts == [
            "one"
        ]
    write(tmp_path / "b.csv", b"sep=long name,text\nx,one\n")
    assert ingest(tmp_path / "3", source(tmp_path / "b.csv")).texts == ["one"]


def test_empty_and_header_only(tmp_path):
    write(tmp_path / "a.csv", b"")
    write(tmp_path / "b.csv", b"text\n")
    write(tmp_path / "c.csv", b'"open')
    out = ingest(tmp_path, source(tmp_path))
    assert [(row["file"], row["reason"]) for row in out.skipped] == [
        ("a.csv", "empty_file"),
        ("b.csv", "empty_file"),
        ("c.csv", "invalid_csv"),
    ]


CELL = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.lists(st.tuples(CELL, CELL)))
def test_what_the_csv_module_writes_comes_back(tmp_path, rows):
    sink = io.StringIO(newline="")
    writer = csv.writer(sink, quoting=csv.QUOTE_ALL)
    writer.writerows([("text", "id"), *rows])
    (tmp_path / "a.csv").write_bytes(sink.getvalue().encode())
    config = CsvSource(format="csv", paths=("a",), id_column="id")
    assert [(item.text, item.id) for item in delimited.read(ref(tmp_path / "a.csv"), config)] == rows


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=150)
@given(
    st.binary(max_size=200) | st.text('text,"\n\r\t\0x').map(lambda cells: b"text\n" + cells.encode()),
    st.sampled_from(["a.csv", "a.tsv.gz", "a.csv.zst", "a.csv.bz2"]),
    st.booleans(),
    st.sampled_from(["utf-8", "auto"]),
)
def test_any_bytes_are_read_or_refused(tmp_path, data, name, packed, encoding):
    write(tmp_path / name, data) if packed else (tmp_path / name).write_bytes(data)
    config = CsvSource(format="csv", paths=("a",), max_record_bytes=50, encoding=encoding)
    refusals = {"missing_column", "invalid_csv"} | ({"bad_encoding"} if encoding == "auto" else set())
    if not packed:
        refusals |= {"truncated", "corrupt"}
    try:
        list(delimited.read(ref(tmp_path / name), config))
    except InputError as error:
        if error.reason not in refusals:
            raise
