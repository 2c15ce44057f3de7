import json
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_quality.config import IngestConfig
from data_quality.pieces import list_pieces
from data_quality.sources.base import BadInput
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
