"""docs/howto/ulmfit.md runs: a language model, the texts of a task, then the task; a killed third stage goes on."""

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file

from flows.commands.predict import predict_file
from flows.config.finetune import load_tuning
from flows.config.ladder import ModelConfig
from flows.config.loading import CONFIGS
from flows.finetune import build_tuned
from flows.ladder import build_models
from lm.finetune.config import FinetuneConfig
from lm.finetune.presets import finetune_preset
from tasks.running import pool
from tasks.running.progress import Display
from tasks.running.run import Resources, Run, use_run
from tasks.storage.files import read_json
from tasks.store import Artifact, Store
from tests.asked import Ask
from tests.lm.finetune_cases import examples, write_set

PAGE = Path(__file__).parents[2] / "docs/howto/ulmfit.md"
SMALL = {"embedding": 16, "width": 24, "layers": 2}


def texts_yaml() -> dict[str, Any]:
    text = PAGE.read_text(encoding="utf-8")
    found: dict[str, Any] = yaml.safe_load(text.split("```yaml\n")[1].split("```")[0])
    return found


def write_texts(path: Path, seed: int, count: int = 120) -> None:
    rows = examples("single", count, seed)
    path.write_text("".join(json.dumps({"text": row["text"]}) + "\n" for row in rows))


def trained(store: Store, texts: Path, **changes: Any) -> Artifact:
    """The page's second stage on other texts, cut down; also the first, which only has no model to go on from."""
    raw = texts_yaml()
    raw["ingest"]["sources"][0]["paths"] = [str(texts)]
    raw["model"] |= {**SMALL, "stream": {**raw["model"]["stream"], "bptt": 16}}
    raw["train"] |= {"batch": 4, "eval_sequences": 4, "epochs": 1, "device": "cpu"}
    raw |= {"context": 16, "tokenizer": {"train": {"vocab_size": 300}}, "evaluate": {"sequences": 4}, **changes}
    with use_run(Run(store, Resources(workers=1, threads=1), Display(quiet=True))):
        return build_models(ModelConfig.model_validate(raw))[0][0]


@pytest.fixture(scope="module")
def stages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Store, Artifact, Artifact, Path]]:
    root = tmp_path_factory.mktemp("ulmfit")
    store = Store(root / "store")
    write_texts(root / "language.jsonl", 5)
    write_texts(root / "task.jsonl", 0)
    first = trained(store, root / "language.jsonl")
    second = trained(store, root / "task.jsonl", init_from=first.name)
    yield store, first, second, root
    pool.shut_down()


def test_the_second_stage_goes_on_with_the_tasks_texts(stages: tuple[Store, Artifact, Artifact, Path]) -> None:
    _, first, second, _ = stages
    assert [given["key"] for given in second.manifest()["inputs"]["init_from"]] == [first.key]
    assert [given["key"] for given in second.manifest()["inputs"]["tokenizer"]] == [first.key]
    before, after = (load_file(model.file("model.safetensors")) for model in (first, second))
    assert {n: t.shape for n, t in before.items()} == {n: t.shape for n, t in after.items()}
    assert not all(torch.equal(before[n], after[n]) for n in before)
    assert second.manifest()["config"]["train"]["schedule"]["shape"] == "stlr"


def test_the_third_stage_learns_layer_by_layer(stages: tuple[Store, Artifact, Artifact, Path], tmp_path: Path) -> None:
    store, _, second, _ = stages
    data = write_set(tmp_path / "data", "single", train=32, valid=8, test=0)
    named = {"data": str(data), "model": second.name, "settings.epochs": "4", "settings.batch": "8", "seeds": "[0]"}
    named["settings.evaluations"] = "1"  # the weights of the end are kept
    with use_run(Run(store, Resources(workers=1, threads=1), Display(quiet=True))):
        made = build_tuned(load_tuning(CONFIGS / "finetune" / "ulmfit.yaml", named))
    settings = read_json(made.runs[0].file("config.json"))["settings"]
    assert (settings["pooling"], settings["schedule"], settings["layer_factor"], settings["unfreeze_epochs"]) == (
        "concat",
        "stlr",
        2.6,
        1.0,
    )
    begun, ended = (load_file(m.file("model.safetensors")) for m in (second, made.best))
    moved = {
        name: float((ended[f"backbone.model.{name}"][: len(tensor)] - tensor).abs().max())
        for name, tensor in begun.items()
        if f"backbone.model.{name}" in ended
    }
    upper = max(v for name, v in moved.items() if name.startswith("recurrent.cells.1_"))
    lower = max(v for name, v in moved.items() if name.startswith("recurrent.cells.0_"))
    assert upper > lower  # woken later, at a lower rate
    (tmp_path / "in.jsonl").write_text('{"text": "red and sweet"}\n')
    [said] = list(predict_file(made.best.path, tmp_path / "in.jsonl", "cpu", quiet=True))
    assert said["label"] in ("apples", "boats", "clouds")


def test_a_killed_third_stage_ends_in_the_same_bits(
    stages: tuple[Store, Artifact, Artifact, Path], tmp_path: Path, fork_server: Ask
) -> None:
    second = stages[2]
    data = write_set(tmp_path / "data", "single", train=24, valid=8, test=0)
    config: FinetuneConfig = finetune_preset(
        "ulmfit", epochs=4, batch=8, evaluations=2, device="cpu", precision="fp32", checkpoint_interval=2, max_tokens=24
    )
    given = [str(data), str(second.path), config.model_dump_json()]
    train = "tests.lm.killed_features:train"
    for moment in (5, 9):  # while the second layer learns, and the lowest
        killed = fork_server(call=train, arguments=[*given, str(tmp_path / "killed"), moment])
        assert killed["signal"] == signal.SIGKILL
    for name in ("killed", "whole"):
        assert fork_server(call=train, arguments=[*given, str(tmp_path / name), 0])["signal"] == 0
    for name in ("config.json", "metrics.json", "model.safetensors", "predictions.parquet"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name
