"""What `textmill clean INPUT...` reads: files, folders, patterns and URIs, each once, by a name of its own."""

import gzip
import json
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_quality.config import IngestConfig
from data_quality.pieces import list_pieces
from flows.commands.clean import CleanConfig, clean_config
from flows.commands.inputs import input_sources
from flows.config.loading import ConfigError
from tests.data_quality.ingesting import zstd


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ([], "nothing to clean: name files, directories or URIs"),
        (["/no/such/file.jsonl"], "/no/such/file.jsonl does not exist"),
        (["no-such-folder"], "no-such-folder does not exist"),
        (["notes.doc"], "notes.doc: its format cannot be told by its name; readable: .txt"),
        (["memory://nowhere/a.jsonl"], "memory://nowhere/a.jsonl does not exist"),
        (["memory://nowhere"], "memory://nowhere does not exist"),
        (["memory://others/notes.doc"], "memory://others/notes.doc: its format cannot be told by its name"),
        (["memory://others"], "memory://others has nothing that can be read (1 .doc); readable: .txt"),
        (["nosuch://a/b.jsonl"], "nosuch://a/b.jsonl cannot be looked at: Protocol not known: nosuch"),
        (["file:///nowhere/a.jsonl"], "/nowhere/a.jsonl does not exist"),
    ],
)
def test_wrong_inputs_are_named(
    inputs: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("notes.doc").touch()
    fsspec.filesystem("memory").pipe("/others/notes.doc", b"")
    with pytest.raises(ConfigError) as error:
        clean_config(inputs, None, {}, None)
    assert message in str(error.value)


def test_inputs_are_named_by_themselves_and_numbered_only_where_names_are_equal(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        lines = [json.dumps({"text": "It is a text.", "key": f"{name}{n}", "url": "https://a.b"}) for n in range(3)]
        (tmp_path / name / "x.jsonl").write_text("\n".join(lines))
    fsspec.filesystem("memory").pipe("/bucket/more.jsonl.zst", zstd("\n".join(lines).encode()))
    inputs = [str(tmp_path / "a" / "x.jsonl"), str(tmp_path / "b" / "*.jsonl"), "memory://bucket/more.jsonl.zst"]
    config = clean_config(inputs, None, {}, None)
    assert isinstance(config, CleanConfig)
    assert [source.name for source in config.ingest.sources] == ["a-x", "b", "bucket-more"]
    assert [source.format for source in config.ingest.sources] == ["jsonl"] * 3
    for source in config.ingest.sources:  # what a look into the file says, of a glob as of a file, here and elsewhere
        assert (source.id_column, source.language, source.metadata_columns) == ("key", "en", ("url",))


def write_every_format(folder: Path) -> None:
    """Files whose columns and units only a look into them tells, two formats in one subfolder, and one hidden."""
    rows = [{"content": f"The {n}. of the texts is that.", "key": f"k{n}", "url": "https://a.b"} for n in range(3)]
    (folder / "sub").mkdir(parents=True)
    (folder / "a.jsonl.gz").write_bytes(gzip.compress("\n".join(map(json.dumps, rows)).encode()))
    (folder / "sub" / "b.csv").write_text("label,body\n" + "".join(f"x,The text of it and {n}\n" for n in range(3)))
    (folder / "sub" / "c.jsonl").write_text(json.dumps({"article": "C'est un texte."}))
    (folder / "sub" / ".hidden.jsonl").write_text(json.dumps({"other": "no"}))
    pq.write_table(pa.table({"abstract": ["它是一份文件。"], "n": [1]}), folder / "d.parquet")
    (folder / "e.txt").write_text("one<|endoftext|>two")
    (folder / "f.html").write_text("<html><body><p>It is the page of that.</p></body></html>")
    (folder / "g.doc").write_text("no")


def guessed(inputs: list[str]) -> list[dict[str, Any]]:
    return [{**source, "paths": None} for source in input_sources(inputs)]


def test_a_folder_elsewhere_is_looked_into_as_one_here(tmp_path: Path, bucket: str) -> None:
    here = tmp_path / "in"
    write_every_format(here)
    memory = fsspec.filesystem("memory")
    memory.put(str(here), "/at/in", recursive=True)
    fsspec.filesystem("s3").put(str(here), f"{bucket}/in", recursive=True)
    expected = guessed([str(here)])
    assert {source["name"]: (source.get("text_column"), source.get("language")) for source in expected} == {
        "in-html": (None, "en"),
        "in-jsonl": ("content", "en"),
        "in-parquet": ("abstract", "zh"),
        "in-sub-csv": ("body", "en"),
        "in-sub-jsonl": ("article", None),
        "in-text": (None, None),
    }
    for url in (f"file://{here}", "memory://at/in", "memory://at/in/", f"{bucket}/in", f"{bucket}/in/"):
        assert guessed([url]) == expected
        sources = input_sources([url])
        pieces = list_pieces(IngestConfig.model_validate({"sources": sources}))  # its paths are those files
        assert [(piece.source.name, [file.path for file in piece.files]) for piece in pieces] == [
            ("in-html", ["f.html"]),
            ("in-jsonl", ["a.jsonl.gz"]),
            ("in-parquet", ["d.parquet"]),
            ("in-sub-csv", ["b.csv"]),
            ("in-sub-jsonl", ["c.jsonl"]),
            ("in-text", ["e.txt"]),
        ]
    for name in ("a.jsonl.gz", "*.parquet", "sub/*.csv"):
        for url in (f"file://{here}", "memory://at/in", f"{bucket}/in"):
            assert guessed([f"{url}/{name}"]) == guessed([f"{here}/{name}"])


@pytest.mark.parametrize(
    ("inputs", "names"),
    [
        (["a/x.jsonl", "b/x.jsonl"], ["a-x", "b-x"]),
        (["b/x.jsonl"], ["b-x"]),
        (["b/x.jsonl", "c d/b/x.jsonl"], ["b-x", "b-x-2"]),
        (["y.jsonl"], ["y"]),
        (["a"], ["a-jsonl"]),
        (["a", "b"], ["a-jsonl", "b-jsonl"]),
        (["*/x.jsonl"], ["jsonl"]),
        (["memory://bucket/2026.11.25.jsonl.gz"], ["bucket-2026.11.25"]),
        (["c d/*.jsonl", "memory://bucket/2026/*/part.warc.gz"], ["c-d", "2026"]),
        (["memory://bucket", "memory://bucket/"], ["bucket-jsonl", "bucket-jsonl-2"]),
    ],
)
def test_names_of_inputs(inputs: list[str], names: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b", "c d", "c d/b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.jsonl").write_text(json.dumps({"text": "It is a text."}))
    (tmp_path / "y.jsonl").write_text(json.dumps({"text": "It is a text."}))
    memory = fsspec.filesystem("memory")
    memory.pipe("/bucket/2026.11.25.jsonl.gz", gzip.compress(b'{"text": "It is a text."}'))
    assert [source["name"] for source in input_sources(inputs)] == names


@pytest.mark.parametrize("other", ["./a.txt", "*.txt", "folder", "../{here}/a.txt", "**/*.txt"])
def test_a_file_that_is_named_twice_is_refused(other: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = tmp_path / "here"
    (here / "folder").mkdir(parents=True)
    for name in ("a.txt", "folder/b.txt"):
        (here / name).write_text("A text of some words.")
    monkeypatch.chdir(here)
    other = other.format(here=here.name)
    with pytest.raises(ConfigError, match=r"is read twice, for .* is named, too: name one of them"):
        input_sources(["folder/b.txt" if other == "folder" else "a.txt", other])
    for doubled in (f"file://{here}", f"file://{here}/a.txt"):
        with pytest.raises(ConfigError, match=r"is read twice"):
            input_sources(["a.txt", doubled])
    (here / "folder" / ".hidden.txt").write_text("A folder leaves it out.")
    assert len(input_sources(["a.txt", "folder", "folder/.hidden.txt"])) == 3


def test_a_table_whose_first_line_reads_like_a_text_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = [f"{n},This is a whole sentence of the table without names number {n}, and goes on." for n in range(9)]
    quoted = [line.replace(",", ',"', 1) + '"' for line in rows]
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "t.csv").write_text("\n".join(quoted) + "\n")
    for item in ("in", "in/t.csv"):
        caplog.clear()
        input_sources([item])
        assert f"{item}: its first line is taken for the names of the columns, and one is 'This is" in caplog.text
    (tmp_path / "in" / "t.csv").write_text("\n".join(["nr,text", *quoted]) + "\n")
    caplog.clear()
    input_sources(["in"])
    assert caplog.text == ""


def test_tables_of_several_delimiters_are_said_to_be_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "a.csv").write_text("id;text\n1;The text of it.\n")
    input_sources([str(tmp_path)])
    assert caplog.text == ""
    (tmp_path / "b.csv").write_text("id,text\n2,The other text of it.\n")
    input_sources([str(tmp_path)])
    assert f"{tmp_path}: its tables have different delimiters, and those that are not written as" in caplog.text


def test_what_is_not_known_of_ids_and_text_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("in").mkdir()
    rows = [{"id": f"d{n % 8}", "text": "The text of it."} for n in range(9)]
    Path("in/a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    for item in ("in", "in/a.jsonl"):
        caplog.clear()
        input_sources([item])
        assert f"{item}: its column 'id' is not taken for ids, for a value repeats in the sample ('d0'): ids are " in (
            caplog.text
        )
    Path("in/a.jsonl").write_text(json.dumps({"id": "d1", "content": {"body": "The text of it."}}))
    caplog.clear()
    input_sources(["in"])
    assert "in: no column with text was seen in the first records of its jsonl files" in caplog.text
    assert "ids are those of its column 'id'. " in caplog.text
    assert "text_column: NAME" in caplog.text
    odd = "x\x93\u2028y"  # characters that no comment of YAML may hold
    Path("in/a.jsonl").write_text("\n".join([json.dumps({"id": odd, "text": "The text of it."})] * 3))
    [source] = input_sources(["in"])
    assert "id_column" not in source
