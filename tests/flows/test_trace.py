"""From a document to every model that saw it, and from a model to its documents."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from flows.commands.trace import documents_of, trace
from tasks.store import Store, StoreError
from tests.flows.lineage_home import KEPT, TRAINED, TWIN, artifact, textmill

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def home(in_model_home: Path) -> Path:
    return in_model_home


def stages(answer: dict[str, Any], kind: str) -> list[str]:
    return sorted(row["artifact"].partition("/")[0] for row in answer[kind])


def of_split(home: Path, split: str) -> list[str]:
    table = pq.read_table(artifact(home, "split").file("split.parquet"))
    return [row["id"] for row in table.to_pylist() if row["split"] == split]


def test_a_training_document_is_in_everything_that_was_made(home: Path) -> None:
    answer = trace(TRAINED)
    assert stages(answer, "models") == ["bag_of_words", "finetune", "finetune", "pretrain"]
    assert stages(answer, "tokenizers") == ["train_tokenizer"]
    assert stages(answer, "figures") == ["compare", "evaluate", "profile", "report"]
    assert {"ingest", "normalize", "filter_corpus", "split", "tokenize"} < set(stages(answer, "data"))
    [tokenizer] = answer["tokenizers"]
    assert tokenizer["aliases"] == ["tokenizer-tiny"]
    names = {row["artifact"]: row["registered"] for row in answer["models"]}
    assert names[f"pretrain/{artifact(home, 'pretrain').key}"] == ["textmill-pretrained"]
    assert sorted(name for of in names.values() for name in of) == ["textmill-finetuned", "textmill-pretrained"]


def test_a_held_out_or_dropped_document_taught_no_language_model(home: Path) -> None:
    held_out = trace(of_split(home, "test")[0])
    assert "pretrain" not in stages(held_out, "models")
    assert held_out["tokenizers"] == []
    assert "evaluate" in stages(held_out, "figures")
    dropped = trace(TWIN)
    assert dropped["models"] == dropped["tokenizers"] == []
    assert "filter_corpus" in stages(dropped, "data")  # among what it dropped
    assert not {"split", "tokenize"} & set(stages(dropped, "data"))


def test_every_document_and_model_agree(home: Path, tmp_path: Path) -> None:
    """What the model says that it read is what the documents say of the model."""
    out = tmp_path / "read.parquet"
    answer = documents_of("pretrain", out)
    read = pq.read_table(out)["id"].to_pylist()
    assert sorted(read) == sorted(of_split(home, "train"))
    [training] = answer["trainings"]
    assert training["documents"] == len(read) == sum(row["documents"] for row in training["sources"])
    every = [id for split in ("train", "valid", "test", "excluded") for id in of_split(home, split)]
    sample = sorted(every)[::12]
    seen = [id for id in sample if "pretrain" in stages(trace(id), "models")]
    assert seen == [id for id in sample if id in read]


def test_a_fine_tuned_model_leads_to_the_pretraining_corpus(home: Path) -> None:
    model = artifact(home, "finetune").name
    done = textmill(home, "trace", "--model", model)
    assert done.exit_code == 0, done.output
    assert f"read {len(of_split(home, 'train')):,} documents" in done.stdout


def test_what_cannot_be_answered_is_said(home: Path, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"nothing in this store holds a document 'nowhere.txt'.*textmill why nowhere"):
        trace("nowhere.txt")
    assert textmill(home, "trace").exit_code == 1
    assert textmill(home, "trace", TRAINED, "--model", "pretrain").exit_code == 1
    assert textmill(home, "trace", TRAINED, "--out", str(tmp_path / "x")).exit_code == 1
    (tmp_path / "there.parquet").touch()
    with pytest.raises(Exception, match=r"there\.parquet exists"):
        documents_of("pretrain", tmp_path / "there.parquet")


def test_a_document_without_decisions_is_found_by_its_reading(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hidden = Store(home / "home/store").root / "hidden"
    hidden.mkdir()
    moved = [path for path in (home / "home/store/artifacts").iterdir() if path.name in ("decide", "filter_corpus")]
    for path in moved:
        path.rename(hidden / path.name)
    try:
        found = trace(KEPT)
    finally:
        for path in moved:
            (hidden / path.name).rename(path)
        hidden.rmdir()
    assert "ingest" in stages(found, "data")


def test_decisions_that_are_gone_say_nothing_of_a_document(home: Path) -> None:
    decide = home / "home/store/artifacts/decide"
    decide.rename(home / "hidden")
    try:
        with pytest.raises(StoreError, match="nothing in this store holds a document 'nowhere"):
            trace("nowhere.txt")
    finally:
        (home / "hidden").rename(decide)


def test_it_imports_neither_prefect_nor_mlflow_nor_torch(home: Path) -> None:
    script = (
        "import sys\nfrom flows.commands.trace import trace\n"
        f"trace({TRAINED!r})\n"
        "print(sorted({'prefect', 'mlflow', 'torch', 'datasets'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
