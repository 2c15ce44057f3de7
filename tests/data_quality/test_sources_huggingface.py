import bz2
import gzip
import json
import random
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data_quality.config import HuggingFaceSource, IngestConfig
from data_quality.pieces import list_pieces
from data_quality.sources import huggingface
from data_quality.sources.base import BadInput, InputError, Record, Skip, SourceNotFound
from tests.data_quality.ingesting import ingest

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def source(dataset, **options):
    return {"format": "huggingface", "dataset": dataset, **options}


@pytest.mark.parametrize("builder", ["json", "parquet"])
def test_local_files_through_a_builder(tmp_path, builder):
    rows = [{"text": f"t{n}", "label": n} for n in range(5)]
    path = tmp_path / f"a.{builder}"
    if builder == "json":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        pq.write_table(pa.Table.from_pylist(rows), path)
    out = ingest(tmp_path, source(builder, data_files=[str(path)], metadata_columns=["label"]))
    assert {id: (d.text, d.metadata) for id, d in out.documents.items()} == {
        f"huggingface:{builder}#{n + 1}": (f"t{n}", {"label": n}) for n in range(5)
    }
    assert out.files[0]["documents"] == 5


def test_a_local_folder_and_its_content_in_the_key(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    config = IngestConfig.model_validate({"sources": [source(str(folder))]})
    keys = []
    for text in ("one", "two", "one"):
        (folder / "train.jsonl").write_text(json.dumps({"text": text}) + "\n")
        (piece,) = list_pieces(config)
        keys.append(piece.key_material)
    assert keys[0] == keys[2] != keys[1]
    assert ingest(tmp_path, source(str(folder))).texts == ["one"]


def test_missing_column_and_records_before_a_fault(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "a"}\n{"text": "b"}\n')
    with pytest.raises(BadInput, match="missing_column: no column 'body'; there are: 'text'"):
        ingest(tmp_path, source("json", data_files=[str(path)], text_column="body", on_bad_input="error"))
    path.write_text('{"text": "a"}\n{"text": "b\n')
    out = ingest(tmp_path, source("json", data_files=[str(path)]))
    assert out.reasons == ["corrupt"]


DRAW = random.Random(0)
LINES = b"".join(json.dumps({"text": DRAW.randbytes(60).hex()}).encode() + b"\n" for _ in range(100))
GZIPPED, BZIPPED = gzip.compress(LINES), bz2.compress(LINES)


def parquet_bytes(rows: int, **options: int) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"text": [f"text {n} {DRAW.randbytes(9).hex()}" for n in range(rows)]}), sink, **options)
    return sink.getvalue().to_pybytes()


GOOD = parquet_bytes(40, row_group_size=10)
PLAIN = parquet_bytes(30, row_group_size=10).replace(b"text 20 ", b"text \xff0 ")


@pytest.mark.parametrize(
    ("builder", "name", "data", "reason", "detail"),
    [
        ("json", "a.jsonl.gz", GZIPPED[:3000], "truncated", "EOFError: Compressed file ended before the end-of-stream"),
        ("json", "a.jsonl.bz2", BZIPPED[:3000], "truncated", "EOFError: Compressed file ended"),
        (
            "json",
            "a.jsonl.gz",
            gzip.compress(b"text", mtime=0)[:10] + b"\xff" * 50,  # a test is named by its data
            "corrupt",
            "error: Error -3 while decompressing data",
        ),
        ("json", "a.jsonl.gz", GZIPPED[:-8] + b"\0" * 8, "corrupt", "BadGzipFile: CRC check failed"),
        ("json", "a.jsonl.gz", LINES, "corrupt", "BadGzipFile: Not a gzipped file"),
        ("json", "a.jsonl.bz2", BZIPPED[:500] + b"\0" * 9 + BZIPPED[509:], "corrupt", "OSError: Invalid data stream"),
        ("json", "a.json", b'[{"text": "a"}, 5]', "corrupt", "TypeError: 'int' object is not iterable"),
        ("json", "a.jsonl", b'{"text": "\xff"}\n', "corrupt", "UnicodeDecodeError: 'utf-8' codec"),
        ("json", "a.jsonl", b'{"text": ' * 5000, "corrupt", "ArrowInvalid: JSON parse error"),
        ("csv", "a.csv", b'text\n"open\n', "corrupt", "ParserError: Error tokenizing data"),
        ("webdataset", "a.tar", b"x" * 1000, "corrupt", "ReadError: invalid header"),
        ("parquet", "a.parquet", GOOD[:-100], "corrupt", "ArrowInvalid: Parquet magic bytes not found"),
        ("arrow", "a.arrow", GOOD, "corrupt", "ArrowInvalid: Not an Arrow file"),
        ("json", "a.jsonl", b"", "empty_file", "no record in it"),
    ],
)
def test_damage_is_a_skip_that_says_what_the_library_said(tmp_path, builder, name, data, reason, detail):
    (tmp_path / "b.jsonl").write_bytes(b'{"text": "of another source"}\n')
    (tmp_path / name).write_bytes(data)
    options = source(builder, data_files=[str(tmp_path / name)])
    out = ingest(tmp_path, options, {"format": "jsonl", "paths": [str(tmp_path / "b.jsonl")]})
    assert out.texts == ["of another source"]
    (row,) = out.skipped
    assert (row["file"], row["reason"]) == (builder, reason)
    assert detail in row["detail"]
    with pytest.raises(BadInput, match=rf"^{builder}: {reason}: "):
        ingest(tmp_path, {**options, "on_bad_input": "error"})


def test_records_before_the_damage_are_kept(tmp_path):
    (tmp_path / "a.parquet").write_bytes(PLAIN)
    out = ingest(tmp_path, source("parquet", data_files=[str(tmp_path / "a.parquet")]))
    assert [text.split()[1] for text in out.texts] == [str(n) for n in range(20)]
    (row,) = out.skipped
    assert row["reason"] == "corrupt"
    assert row["detail"].startswith("after 20 records of parquet: UnicodeDecodeError: ")


def test_a_network_that_fails_ends_the_ingest_instead_of_half_a_dataset(tmp_path, monkeypatch):
    def breaking(*_, **__):
        yield from ({"text": "a"}, {"text": "b"})
        raise ConnectionError("Server Disconnected")

    monkeypatch.setattr("datasets.load_dataset", breaking)
    message = "source 'huggingface': after 2 records of org/name: Server Disconnected. Run again"
    with pytest.raises(SourceNotFound, match=message):
        ingest(tmp_path, source("org/name", revision=COMMIT))


@pytest.mark.parametrize("error", [MemoryError("out of memory"), KeyboardInterrupt()])
def test_what_is_no_damage_is_not_taken_for_it(monkeypatch, error):
    def failing(*_, **__):
        raise error

    monkeypatch.setattr("datasets.load_dataset", failing)
    config = HuggingFaceSource(format="huggingface", dataset="json", data_files=("a",))
    with pytest.raises(type(error)):
        list(huggingface.read(config, None, ["a"]))


@st.composite
def damaged(draw):
    """A file that `datasets` may be given: its builder, name and bytes, of which some are not those that were."""
    builder, name, good = draw(
        st.sampled_from(
            [
                ("json", "a.jsonl", LINES[:1000]),
                ("json", "a.json", b'[{"text": "a", "n": 1}, {"text": "b"}]'),
                ("csv", "a.csv", b'id,text\n1,"one, two"\n2,three\n'),
                ("text", "a.txt", "one\n第二\n".encode()),
                ("parquet", "a.parquet", GOOD),
                ("json", "a.jsonl.gz", GZIPPED),
                ("json", "a.jsonl.bz2", BZIPPED),
                ("csv", "a.csv.gz", gzip.compress(b"text\none\ntwo\n")),
            ]
        )
    )
    if draw(st.integers(0, 3)) == 0:
        return builder, name, draw(st.binary(max_size=60))
    at, damage = draw(st.integers(0, len(good))), draw(st.binary(max_size=20))
    return builder, name, good[:at] + damage + (b"" if draw(st.booleans()) else good[at + len(damage) :])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=20)
@given(damaged())
def test_any_bytes_are_read_or_refused(tmp_path, file):
    builder, name, data = file
    (tmp_path / name).write_bytes(data)
    config = HuggingFaceSource(format="huggingface", dataset=builder, data_files=(name,), max_record_bytes=100)
    try:
        assert all(isinstance(item, Record | Skip) for item in huggingface.read(config, None, [str(tmp_path / name)]))
    except InputError as error:
        if error.reason not in ("corrupt", "truncated"):
            raise


def test_an_unknown_split_is_recorded(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "a"}\n')
    out = ingest(tmp_path, source("json", data_files=[str(path)], split="nope"))
    assert out.reasons == ["corrupt"]
    assert "nope" in out.skipped[0]["detail"]


def test_a_pinned_commit_needs_no_network():
    config = IngestConfig.model_validate({"sources": [source("org/name", revision=COMMIT)]})
    (piece,) = list_pieces(config)
    assert piece.revision == COMMIT
    assert piece.key_material["revision"] == COMMIT


def test_without_network_an_unpinned_dataset_says_what_to_do():
    code = (
        "from data_quality.config import HuggingFaceSource\n"
        "from data_quality.sources.huggingface import resolve_revision\n"
        "resolve_revision(HuggingFaceSource(format='huggingface', dataset='org/name'))"
    )
    # In a process of its own: huggingface_hub reads HF_HUB_OFFLINE when it is imported.
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "SourceNotFound: source 'huggingface': cannot ask the hub for dataset 'org/name'" in done.stderr
    assert "pin `revision` to a full commit" in done.stderr
