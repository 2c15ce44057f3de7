"""Runs of fine-tuning: what they leave, and that a run that was stopped, killed or out of patience ends alike."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from lm.finetune.artifact import load_finetuned
from lm.finetune.backbone import open_backbone
from lm.finetune.config import FinetuneConfig, LoRAConfig
from lm.finetune.predictions import read_predictions
from lm.finetune.run import answer
from lm.finetune.train import finetune
from lm.labelled.folder import LabelledSet
from lm.stop import Interrupted
from lm.train.hooks import Hooks
from lm.train.identity import ResumeError
from tests.lm.finetune_cases import CLASSES, backbone_folder, write_set


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained GPT as a model artifact."""
    return backbone_folder(tmp_path_factory.mktemp("gpt"), "gpt")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_set(tmp_path_factory.mktemp("single"), "single")


OUTPUTS = ["config.json", "metrics.json", "model.safetensors", "predictions.parquet"]
QUICK = FinetuneConfig(
    epochs=3, batch=8, learning_rate=3e-3, evaluations=3, device="cpu", precision="fp32", max_tokens=24
)


def _outputs(directory: Path) -> dict[str, bytes]:
    return {name: (directory / name).read_bytes() for name in OUTPUTS}


def test_outputs_describe_the_run(backbone: Path, data: Path, tmp_path: Path) -> None:
    seen: list[tuple[int, dict[str, float]]] = []
    hooks = Hooks(on_evaluate=lambda step, figures: seen.append((step, figures)))
    result = finetune(data, backbone, QUICK, tmp_path, hooks)
    assert json.loads((tmp_path / "metrics.json").read_text()) == result
    assert (result["classes"], result["metric"], result["examples"]) == (list(CLASSES), "accuracy", 32)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([*OUTPUTS, "tokenizer.json", "tokenizer_config.json"])
    assert [step for step, _ in seen] == [0, 4, 8, 12]
    # the first of the best on dev is what is kept and predicted with; the untrained model does not count
    best = min(seen[1:], key=lambda s: s[1]["error"])
    assert (result["best_step"], result["valid"]["accuracy"]) == (best[0], best[1]["accuracy"])
    model, form, task, _, pairs = load_finetuned(tmp_path)
    assert not pairs
    assert task == LabelledSet(data).task
    for split in ("valid", "test"):
        rows = LabelledSet(data).read(split).to_pylist()  # type: ignore[arg-type]
        predictions = read_predictions(tmp_path / "predictions.parquet", split)
        assert predictions.ids == [row["id"] for row in rows]
        assert predictions.scores() == result[split]
        again = answer(model, form, form.items(rows))
        assert [a["probabilities"] for a in again] == [r["probabilities"] for r in predictions.rows]
        np.testing.assert_allclose([sum(r["probabilities"]) for r in predictions.rows], 1, atol=1e-6)


def test_seed_decides_everything(backbone: Path, data: Path, tmp_path: Path) -> None:
    runs = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        config = QUICK.model_copy(update={"epochs": 1, "initialisation": "random", "seed": seed})
        finetune(data, backbone, config, tmp_path / name)
        runs.append(_outputs(tmp_path / name))
    assert runs[0] == runs[1]
    assert runs[0]["model.safetensors"] != runs[2]["model.safetensors"]


def test_stopped_and_resumed_ends_in_the_same_bits(backbone: Path, data: Path, tmp_path: Path) -> None:
    finetune(data, backbone, QUICK, tmp_path / "undisturbed")
    polls = stops = 0

    def every_fifth_time() -> bool:
        nonlocal polls
        polls += 1
        return polls % 5 == 0

    while True:
        try:
            finetune(data, backbone, QUICK, tmp_path / "stopped", should_stop=every_fifth_time)
            break
        except Interrupted:
            stops += 1
    assert stops >= 3
    assert _outputs(tmp_path / "stopped") == _outputs(tmp_path / "undisturbed")


def test_a_checkpoint_of_other_settings_is_refused(backbone: Path, data: Path, tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        finetune(data, backbone, QUICK, tmp_path, should_stop=iter([False] * 3 + [True]).__next__)
    other = QUICK.model_copy(update={"auxiliary_weight": 0.0})
    with pytest.raises(ResumeError, match=r"finetune.auxiliary_weight was 0.5, is 0.0"):
        finetune(data, backbone, other, tmp_path)


class _Killed(Exception):
    pass


def test_killed_without_warning_ends_in_the_same_bits(backbone: Path, data: Path, tmp_path: Path) -> None:
    config = QUICK.model_copy(update={"checkpoint_interval": 2})
    finetune(data, backbone, config, tmp_path / "undisturbed")
    steps: list[int] = []

    def kill_at(moment: int) -> Hooks:
        """A hook that breaks off after a step, with no chance to leave a checkpoint."""

        def progress(step: int, _: int) -> None:
            steps.append(step)
            if step == moment:
                raise _Killed

        return Hooks(on_progress=progress)

    for moment in (1, 3, 7, 12):
        with pytest.raises(_Killed):
            finetune(data, backbone, config, tmp_path / "killed", kill_at(moment))
    finetune(data, backbone, config, tmp_path / "killed", kill_at(-1))
    # each run goes on from the last even step that was completed before the kill
    assert steps == [1, 1, 2, 3, 3, 4, 5, 6, 7, 7, 8, 9, 10, 11, 12, 11, 12]
    assert _outputs(tmp_path / "killed") == _outputs(tmp_path / "undisturbed")


KILLED = """
import os, signal, sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from lm.finetune.config import FinetuneConfig
from lm.finetune.train import finetune
from lm.train.hooks import Hooks

def kill(step, steps):
    if step == 7:
        os.kill(os.getpid(), signal.SIGKILL)

data, backbone, out, settings = sys.argv[1:]
finetune(Path(data), Path(backbone), FinetuneConfig.model_validate_json(settings), Path(out), Hooks(on_progress=kill))
"""


def test_a_process_killed_in_the_middle_goes_on(backbone: Path, data: Path, tmp_path: Path) -> None:
    config = QUICK.model_copy(update={"checkpoint_interval": 3, "lora": LoRAConfig(), "patience": 5})
    given = [str(data), str(backbone), str(tmp_path / "killed"), config.model_dump_json()]
    done = subprocess.run([sys.executable, "-c", KILLED, *given], capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert not (tmp_path / "killed" / "model.safetensors").exists()
    seen: list[int] = []
    finetune(data, backbone, config, tmp_path / "killed", Hooks(on_progress=lambda step, _: seen.append(step)))
    assert seen[0] == 7
    finetune(data, backbone, config, tmp_path / "whole")
    assert _outputs(tmp_path / "killed") == _outputs(tmp_path / "whole")


@pytest.mark.parametrize(("patience", "last"), [(2, 12), ("auto", 16), (None, 24)])
def test_patience_ends_a_run_early_killed_or_not(
    patience: int | str | None, last: int, backbone: Path, data: Path, tmp_path: Path
) -> None:
    """At a learning rate of nothing no evaluation is better than the first one after a step."""
    config = QUICK.model_copy(update={"learning_rate": 1e-12, "evaluations": 6, "epochs": 6, "patience": patience})
    steps: list[int] = []
    result = finetune(data, backbone, config, tmp_path / "whole", Hooks(on_progress=lambda step, _: steps.append(step)))
    assert (result["steps"], result["best_step"], steps[-1]) == (last, 4, last)
    assert result["looks"] == {"made": last // 4, "planned": 6}

    def kill(step: int, figures: dict[str, float]) -> None:
        if step == last:
            raise _Killed

    with pytest.raises(_Killed):
        finetune(data, backbone, config, tmp_path / "killed", Hooks(on_evaluate=kill))
    finetune(data, backbone, config, tmp_path / "killed")
    assert _outputs(tmp_path / "killed") == _outputs(tmp_path / "whole")


def test_other_models_are_refused(backbone: Path, data: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not a 'finetuned' model: 'gpt'; fine-tune it first"):
        load_finetuned(backbone)
    finetune(data, backbone, QUICK.model_copy(update={"epochs": 0.5}), tmp_path / "classifier")
    with pytest.raises(ValueError, match="'finetuned' cannot be fine-tuned \\(it is fine-tuned already"):
        finetune(data, tmp_path / "classifier", QUICK, tmp_path / "again")
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs/config.json").write_text('{"model_type": "t5"}')
    with pytest.raises(ValueError, match=r"of type 't5' is none of ours; gpt2, .*albert"):
        open_backbone(tmp_path / "theirs")


def test_a_set_without_its_splits_is_refused(backbone: Path, data: Path, tmp_path: Path) -> None:
    folder = write_set(tmp_path / "set", "single", test=0)
    result = finetune(folder, backbone, QUICK.model_copy(update={"epochs": 0.5}), tmp_path / "out")
    assert "test" not in result
    (folder / "valid.parquet").unlink()
    with pytest.raises(FileNotFoundError, match=r"valid.parquet: the set has no valid split"):
        finetune(folder, backbone, QUICK, tmp_path / "again")
