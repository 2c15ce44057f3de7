"""What does not fit is counted: texts that lost their end, answers that no window holds."""

from pathlib import Path
from typing import Any

import pytest

from lm.finetune.backbone import open_backbone
from lm.finetune.config import FinetuneConfig
from lm.finetune.forms.questions import QuestionItems
from lm.finetune.freeze import learning_count
from lm.finetune.train import build, finetune
from lm.labelled.folder import LabelledSet, write_labelled
from lm.labelled.forms import Generation
from tests.lm.finetune_cases import ASKS, backbone_folder, examples, write_set


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("backbones")
    return {kind: backbone_folder(root / kind, kind) for kind in ("gpt", "bert")}


def items(folder: Path, name: str, rows: list[dict[str, Any]], **settings: Any) -> Any:
    pretrained, tokenizer = open_backbone(folder)
    config = FinetuneConfig(**settings).resolve(pretrained.settings)
    return build(ASKS[name][0], name != "single", pretrained, tokenizer, config).form.items(rows)


@pytest.mark.parametrize("kind", ["gpt", "bert"])
@pytest.mark.parametrize("name", ["single", "pairs", "choice"])
def test_texts_that_are_cut_are_counted(folders: dict[str, Path], kind: str, name: str) -> None:
    fits = [items(folders[kind], name, [row]).lost == {"cut": 0} for row in examples(name, 12)]
    rows = [row for row, whole in zip(examples(name, 12), fits, strict=True) if whole]
    whole = items(folders[kind], name, rows)
    assert whole.lost == {"cut": 0}
    longest = int(whole.lengths.max())
    over = int((whole.lengths == longest).sum())
    assert items(folders[kind], name, rows, max_tokens=longest).lost == {"cut": 0}
    assert items(folders[kind], name, rows, max_tokens=longest - 1).lost == {"cut": over}


def test_a_word_longer_than_a_window_is_counted(folders: dict[str, Path]) -> None:
    row = {"id": "0", "words": ["the", "a" * 40], "tags": ["O", "O"]}
    assert items(folders["gpt"], "tagging", [row, *examples("tagging", 3)], max_tokens=16).lost == {"cut": 1}


def test_answers_out_of_reach_are_counted(folders: dict[str, Path]) -> None:
    context = " ".join(["the red boat"] * 12)
    rows = [
        {"id": "whole", "context": context, "question": "who ?", "answers": ["red boat"], "starts": [4]},
        {"id": "too long", "context": context, "question": "who ?", "answers": [context[4:-4]], "starts": [4]},
        {"id": "not there", "context": context, "question": "who ?", "answers": ["green"], "starts": [4]},
        {"id": "long question", "context": context, "question": "who " * 20, "answers": ["red boat"], "starts": [4]},
    ]
    found: QuestionItems = items(folders["bert"], "questions", rows, max_tokens=24)
    assert found.lost == {"cut": 1, "unreachable": 2}


def test_what_is_lost_stands_beside_the_scores(folders: dict[str, Path], tmp_path: Path) -> None:
    quick = FinetuneConfig(epochs=1, batch=8, evaluations=1, device="cpu", precision="fp32")
    whole = finetune(write_set(tmp_path / "tags", "tagging"), folders["gpt"], quick, tmp_path / "whole")
    assert whole["lost"] == {}
    texts = write_set(tmp_path / "texts", "single")
    short = finetune(texts, folders["gpt"], quick.model_copy(update={"max_tokens": 8}), tmp_path / "short")
    assert set(short["lost"]) == {"train", "valid", "test"}
    assert 0 < short["lost"]["train"]["cut"] <= short["examples"]


def test_a_second_text_on_dev_alone_is_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    given = LabelledSet(write_set(tmp_path / "set", "single"))
    splits: Any = {split: given.read(split).to_pylist() for split in ("train", "valid")}  # type: ignore[arg-type]
    splits["valid"][3]["text_b"] = "a boat"
    write_labelled(tmp_path / "other", given.task, splits)
    with pytest.raises(ValueError, match=r"valid.parquet: has a second text \(text_b\), which no training example has"):
        finetune(tmp_path / "other", folders["gpt"], FinetuneConfig(), tmp_path / "out")


def test_a_task_that_no_head_learns_says_what_does(folders: dict[str, Path]) -> None:
    pretrained, tokenizer = open_backbone(folders["gpt"])
    with pytest.raises(ValueError, match=r"'generation' is learned by the language model itself.*textmill instruct"):
        build(Generation(), False, pretrained, tokenizer, FinetuneConfig().resolve(pretrained.settings))


def test_a_probe_of_an_encoder_is_linear(folders: dict[str, Path]) -> None:
    pretrained, tokenizer = open_backbone(folders["bert"])
    config = FinetuneConfig(freeze="all").resolve(pretrained.settings)
    assert config.pooling == "mean"
    model = build(ASKS["single"][0], False, pretrained, tokenizer, config).model
    width, classes = pretrained.width, 3
    assert learning_count(model) == width * classes + classes
    assert FinetuneConfig().resolve(pretrained.settings).pooling == "pooler"
