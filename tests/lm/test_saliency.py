"""Gradient times input: exact where the model is linear, equal to differences of scores elsewhere."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lm.finetune.config import FinetuneConfig
from lm.finetune.predictor import Predictor
from lm.finetune.saliency import saliency
from lm.finetune.train import finetune
from tests.lm.finetune_cases import backbone_folder, examples, write_set

QUICK: dict[str, Any] = {"epochs": 1, "batch": 8, "learning_rate": 3e-3, "evaluations": 1, "device": "cpu"}


def predictor_of(root: Path, name: str, kind: str) -> Predictor:
    data = write_set(root / "data", name, train=16, valid=8, test=0)
    finetune(data, backbone_folder(root / "backbone", kind), FinetuneConfig(**QUICK), root / "tuned")
    return Predictor(root / "tuned")


@pytest.mark.parametrize("kind", ["bert", "albert", "gpt", "modern", "xlnet", "transformer_xl"])
def test_a_tokens_number_is_the_slope_of_the_score_along_its_embedding(kind: str, tmp_path: Path) -> None:
    """(s(e_i (1 + h)) - s(e_i (1 - h))) / 2h, by scaling the embedding of one position, in float64."""
    predictor = predictor_of(tmp_path, "single", kind)
    predictor.model.double()
    example = examples("single", 1, seed=9)[0]
    found = saliency(predictor, example)
    assert found is not None
    items = predictor.form.items([example])
    batch = items.batch(np.arange(1))
    chosen = predictor.task.ask.classes.index(found.target)  # type: ignore[union-attr]
    table = predictor.model.backbone.model.token_embedding
    assert isinstance(table, torch.nn.Module)
    assert len(found.tokens) == len(found.scores) == int(batch["lengths"][0])

    def score(place: int, factor: float) -> float:
        def scaled(module: object, inputs: object, output: torch.Tensor) -> torch.Tensor:
            change = torch.ones_like(output)
            change[0, place] = factor
            return output * change

        hook = table.register_forward_hook(scaled)
        with torch.no_grad():
            outputs, _ = predictor.model(batch)
        hook.remove()
        return float(outputs[0, chosen])

    for place in (0, 1, len(found.tokens) - 1):
        slope = (score(place, 1 + 1e-4) - score(place, 1 - 1e-4)) / 2e-4
        assert found.scores[place] == pytest.approx(slope, rel=1e-3, abs=1e-7)
    assert any(found.scores)


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("similarity", "the number"),
        ("choice", "choice "),
        ("tagging", ""),
        ("questions", "start and end of the answer"),
        ("pairs", ""),
    ],
)
@pytest.mark.parametrize("kind", ["bert", "gpt"])
def test_every_form_has_a_score_that_is_derived(name: str, target: str, kind: str, tmp_path: Path) -> None:
    predictor = predictor_of(tmp_path, name, kind)
    found = saliency(predictor, examples(name, 1, seed=9)[0])
    assert found is not None
    assert found.target.startswith(target)
    assert np.isfinite(found.scores).all()
    assert any(found.scores)
    first, last = ("[CLS]", "[SEP]") if kind == "bert" else ("⟨start⟩", "⟨extract⟩")
    assert (found.tokens[0], found.tokens[-1]) == (first, last)


def test_the_word_that_is_asked_about_is_the_one(tmp_path: Path) -> None:
    predictor = predictor_of(tmp_path, "tagging", "gpt")
    example = examples("tagging", 1, seed=9)[0]
    said = predictor([example])[0]["tags"]
    found = [saliency(predictor, example, word) for word in range(len(said))]
    assert [each.target for each in found if each is not None] == said
    early = found[0]
    assert early is not None
    assert early.scores[-1] == 0  # a decoder's state at the first word has not read the last token


def test_recurrent_models_have_none(tmp_path: Path) -> None:
    predictor = predictor_of(tmp_path, "single", "rnn")
    assert saliency(predictor, examples("single", 1)[0]) is None
