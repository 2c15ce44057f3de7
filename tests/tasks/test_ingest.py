"""What the ingest stage adds to the library: going on without a document makes no sense."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from data_quality.config import IngestConfig
from data_quality.errors import UsageError
from data_quality.sources.base import BadInput
from tasks.ingest import fingerprinted, ingest
from tasks.running.progress import Display
from tasks.running.run import Resources, Run, use_run
from tasks.store import Store


def test_input_without_a_document_is_an_error_that_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEXTMILL_HOME", str(tmp_path))
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.jsonl").write_text('{"body": "x"}\n')
    config = IngestConfig.model_validate({"sources": [{"format": "jsonl", "paths": [str(tmp_path / "in")]}]})
    run = Run(Store(tmp_path / "store"), Resources(workers=1, threads=1), Display(quiet=True))
    with use_run(run), pytest.raises(BadInput, match=r"1 missing_column.*there are: 'body'"):
        ingest(fingerprinted(config))


def test_skipped_lines_of_a_large_file_are_those_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is read in ranges, whose keys do not say where they lie: the stage's table does, at every run."""
    monkeypatch.setenv("TEXTMILL_HOME", str(tmp_path))
    path = tmp_path / "a.jsonl"
    lines = [json.dumps({"id": f"k{n}", "text": f"text {n}"}) if n % 50 else "broken" for n in range(1, 401)]
    source = {"format": "jsonl", "paths": [str(path)], "id_column": "id"}
    config = IngestConfig.model_validate({"sources": [source], "piece_bytes": 1000})
    run = Run(Store(tmp_path / "store"), Resources(workers=1, threads=1), Display(quiet=True))
    parts: list[set[str]] = []
    for first in ([], ["", json.dumps({"id": "new", "text": "put in front"})]):
        path.write_text("\n".join([*first, *lines]) + "\n")
        with use_run(run):
            artifact = ingest(fingerprinted(config))
        found = pq.read_table(artifact.path / "skipped.parquet").to_pylist()
        assert [row["line"] for row in found] == [n + len(first) for n in range(50, 401, 50)]
        assert artifact.counts()["files"] == 1
        assert artifact.counts()["documents"] == 392 + len(first) // 2
        parts.append({part["key"] for part in artifact.manifest()["parts"]})
    assert len(parts[0]) > 5
    assert len(parts[1] - parts[0]) <= 2  # the first range, and the one it may have lost


def test_ids_that_occur_twice_are_named_with_the_files_that_were_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where a file is read in ranges, with records that gave no document and lines that are none."""
    monkeypatch.setenv("TEXTMILL_HOME", str(tmp_path))
    (tmp_path / "in").mkdir()
    rows = [json.dumps({"id": f"k{n}", "text": f"text {n}"}) for n in range(200)]
    (tmp_path / "in" / "a.jsonl").write_text("\n".join(["", "broken", *rows, *["", rows[7]] * 4]) + "\n")
    (tmp_path / "in" / "b.csv").write_text('id,text\nx,"one\ntwo"\nk150,three\n')
    sources = [
        {"format": format, "name": format, "paths": [str(tmp_path / "in" / f"*.{format}")], "id_column": "id"}
        for format in ("jsonl", "csv")
    ]
    run = Run(Store(tmp_path / "store"), Resources(workers=1, threads=1), Display(quiet=True))
    with use_run(run), pytest.raises(UsageError) as error:
        ingest(fingerprinted(IngestConfig.model_validate({"sources": sources, "piece_bytes": 1000})))
    a, b = (f"{tmp_path}/in/{name}" for name in ("a.jsonl", "b.csv"))
    assert str(error.value).splitlines()[:3] == [
        "2 document ids occur more than once:",
        f"  id 'k150': {b}, line 4 and {a}, line 153",
        f"  id 'k7': {a}, line 10 and {a}, line 204 and {a}, line 206 and 2 more",
    ]
    assert "leave `id_column` out" in str(error.value)


def test_ids_that_occur_twice_are_not_counted_as_fewer_than_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEXTMILL_HOME", str(tmp_path))
    (tmp_path / "in").mkdir()
    source = {"format": "jsonl", "paths": [str(tmp_path / "in")], "id_column": "id"}
    run = Run(Store(tmp_path / "store"), Resources(workers=1, threads=1), Display(quiet=True))
    for documents, count in ((30, "more than 10"), (2, "2")):
        for name in ("a", "b"):
            lines = [json.dumps({"id": f"k{n:02d}", "text": f"text {n} of {name}"}) for n in range(documents)]
            (tmp_path / "in" / f"{name}.jsonl").write_text("\n".join(lines))
        with (
            use_run(run),
            pytest.raises(ValueError, match=rf"^{count} document ids occur more than once:\n  id '.*k00"),
        ):
            ingest(fingerprinted(IngestConfig.model_validate({"sources": [source]})))
