import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data_quality.config import JsonlSource
from data_quality.sources import jsonl
from data_quality.sources.base import BadInput, InputError
from tests.data_quality.ingesting import ingest, write, zstd
from tests.data_quality.test_sources_streams import ref


def source(path, **options):
    return {"format": "jsonl", "paths": [str(path)], **options}


def lines(*records):
    return b"".join(json.dumps(record, ensure_ascii=False).encode() + b"\n" for record in records)


def test_columns_become_fields(tmp_path):
    record = {"body": "中文\n text", "key": 7, "site": "wiki", "lang": "zh", "stars": 4, "extra": 1}
    write(tmp_path / "a.jsonl.zst", lines(record))
    options = {
        "text_column": "body",
        "id_column": "key",
        "source_column": "site",
        "language_column": "lang",
        "metadata_columns": ["stars"],
    }
    (document,) = ingest(tmp_path, source(tmp_path / "a.jsonl.zst", **options)).documents.values()
    assert (document.id, document.text, document.source, document.language, document.metadata) == (
        "7",
        "中文\n text",
        "wiki",
        "zh",
        {"stars": 4},
    )


def test_ids_without_an_id_column_are_path_and_line(tmp_path):
    write(tmp_path / "in/b/a.jsonl", b"\n" + lines({"text": "x"}) + b"  \n" + lines({"text": "y"}))
    out = ingest(tmp_path, source(tmp_path / "in", name="n"))
    assert list(out.documents) == ["n:b/a.jsonl#2", "n:b/a.jsonl#4"]


GOOD = lines({"text": "good"})


@pytest.mark.parametrize(
    ("bad", "reason", "detail"),
    [
        (b'{"text": "cut\n', "invalid_json", "EOF while parsing a string"),
        (b"[1, 2]\n", "invalid_json", "a list where an object is expected"),
        (b'{"text": "\\ud800"}\n', "invalid_json", "hex escape"),
        (b"[" * 5000 + b"\n", "invalid_json", "recursion"),
        (b'{"text": "\xff"}\n', "bad_encoding", "not utf-8: invalid start byte at byte 10"),
        (b'{"txt": "a", "id": 1}\n', "missing_column", "no column 'text'; there are: 'txt', 'id'"),
        (b'{"text": 5}\n', "not_text", "the text is a int"),
        (b'{"text": "a\\u0000b"}\n', "null_bytes", "null character at 1"),
        (b'{"text": "' + b"x" * 200_000 + b'"}\n', "too_long", "200012 bytes; max_record_bytes is 100000"),
    ],
)
def test_a_bad_line_is_recorded_and_the_others_kept(tmp_path, bad, reason, detail):
    write(tmp_path / "a.jsonl", GOOD * 811 + bad + GOOD)
    options = source(tmp_path / "a.jsonl", max_record_bytes=100_000)
    out = ingest(tmp_path, options)
    assert len(out.texts) == 812
    (row,) = out.skipped
    assert (row["file"], row["line"], row["record"], row["reason"]) == ("a.jsonl", 812, 812, reason)
    assert detail in row["detail"]
    assert out.results[0]["skipped_by_reason"] == {reason: 1}
    assert out.files[0]["records"] == 813
    with pytest.raises(BadInput) as error:
        ingest(tmp_path, {**options, "on_bad_input": "error"})
    assert str(error.value).startswith(f"a.jsonl, line 812: {reason}: ")


@pytest.mark.parametrize("text", [None, "", " \n"])
def test_a_record_without_text_is_recorded_but_no_error(tmp_path, text):
    write(tmp_path / "a.jsonl", lines({"text": text}, {"text": "x"}))
    out = ingest(tmp_path, source(tmp_path / "a.jsonl", on_bad_input="error"))
    assert out.texts == ["x"]
    assert out.reasons == ["empty_document"]


@pytest.mark.parametrize("id", [None, "", " "])
def test_an_empty_id_is_bad_input(tmp_path, id):
    write(tmp_path / "a.jsonl", lines({"text": "a", "id": id}, {"text": "x", "id": 0}))
    out = ingest(tmp_path, source(tmp_path / "a.jsonl", id_column="id"))
    assert list(out.documents) == ["0"]
    assert out.reasons == ["missing_id"]


@pytest.mark.parametrize("extension", [".gz", ".zst"])
def test_records_before_a_truncation_are_kept(tmp_path, extension):
    import random

    generator = random.Random(0)
    data = lines(*({"text": f"{n} {generator.randbytes(200).hex()}"} for n in range(3000)))
    path = write(tmp_path / f"a.jsonl{extension}", data)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    out = ingest(tmp_path, source(path))
    assert 1000 < len(out.texts) < 1600
    assert [text.split()[0] for text in out.texts] == [str(n) for n in range(len(out.texts))]
    (row,) = out.skipped
    assert row["reason"] == "truncated"
    assert row["line"] == len(out.texts)
    assert f"(after line {len(out.texts)})" in row["detail"]
    with pytest.raises(BadInput, match="truncated"):
        ingest(tmp_path, source(path, on_bad_input="error"))


def test_a_file_that_is_not_what_its_extension_says(tmp_path):
    (tmp_path / "a.jsonl.gz").write_bytes(GOOD)
    (tmp_path / "b.jsonl.zst").write_bytes(zstd(GOOD))
    out = ingest(tmp_path, source(tmp_path))
    assert out.texts == ["good"]
    assert [(row["file"], row["reason"]) for row in out.skipped] == [("a.jsonl.gz", "corrupt")]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=150)
@given(
    st.binary(max_size=200)
    | st.lists(st.fixed_dictionaries({"text": st.none() | st.text() | st.integers()})).map(lambda r: lines(*r)),
    st.sampled_from(["a.jsonl", "a.jsonl.gz", "a.jsonl.zst", "a.jsonl.bz2"]),
    st.booleans(),
    st.sampled_from(["utf-8", "auto"]),
)
def test_any_bytes_are_read_or_refused(tmp_path, data, name, packed, encoding):
    write(tmp_path / name, data) if packed else (tmp_path / name).write_bytes(data)
    config = JsonlSource(format="jsonl", paths=("a",), max_record_bytes=100, encoding=encoding)
    try:
        list(jsonl.read(ref(tmp_path / name), config))
    except InputError as error:
        damaged = name != "a.jsonl" and not packed and error.reason in ("truncated", "corrupt")
        if not damaged and not (encoding == "auto" and error.reason == "bad_encoding"):
            raise
