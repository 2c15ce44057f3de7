"""Settings of fine-tuning: what `auto` becomes, what does not fit, presets."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from lm.finetune.backbone import open_backbone
from lm.finetune.config import FinetuneConfig
from lm.finetune.forms.choose import weights_of
from lm.finetune.presets import FINETUNE_PRESETS, finetune_preset
from lm.finetune.train import build
from lm.models.bert_config import BertConfig
from lm.models.gpt_config import GPTConfig
from tests.lm.finetune_cases import ASKS, CONTEXT, backbone_folder, examples


def test_config_resolves_and_plans() -> None:
    model = GPTConfig(layers=1, width=8, heads=1, context=8, vocab=16)
    config = FinetuneConfig(batch=4, warmup=0.2, evaluations=5, precision="auto")
    resolved = config.resolve(model)
    assert "auto" not in json.loads(resolved.model_dump_json()).values()
    assert (resolved.pooling, resolved.auxiliary_weight, resolved.scored_piece) == ("mean", 0.5, "last")
    assert resolved.resolve(model) == resolved
    # early stopping: half of the looks, but not while layers still wake up, and not where another length is published
    assert [FinetuneConfig(evaluations=n).resolve(model).patience for n in (1, 4, 5)] == [1, 2, 3]
    assert FinetuneConfig(unfreeze_epochs=1).resolve(model).patience is None
    assert FinetuneConfig(unfreeze_epochs=1, patience=4).resolve(model).patience == 4
    fixed = {name for name, preset in FINETUNE_PRESETS.items() if preset.patience is None}
    assert fixed == {"gpt1", "bert", "ulmfit"}
    encoder = config.resolve(BertConfig(layers=1, width=8, heads=1, vocab=16))
    assert (encoder.pooling, encoder.auxiliary_weight, encoder.scored_piece) == ("pooler", 0.0, "first")
    plan = resolved.train_config(model, 100)
    assert (plan.schedule.warmup_steps, plan.eval_interval, plan.select) == (20, 20, "best")
    assert FinetuneConfig(warmup=0).train_config(model, 10).schedule.warmup_steps == 0
    assert FinetuneConfig(warmup=1).train_config(model, 10).schedule.warmup_steps == 10
    assert FinetuneConfig(schedule="stlr").train_config(model, 10).schedule.shape == "stlr"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"lamda": 1}, "Extra inputs"),
        ({"auxiliary_weight": -0.5}, "auxiliary_weight must not be below 0"),
        ({"patience": 0}, "patience.*\n.*greater than or equal to 1"),
        ({"freeze": -1}, "freeze must be `all` or a number of layers"),
        ({"freeze": 2, "lora": {}}, "lora freezes the whole backbone"),
        ({"unfreeze_epochs": 1, "freeze": "all"}, "unfreeze_epochs needs layers that may learn"),
        ({"class_weights": [1, -1]}, "class_weights must not be below 0"),
    ],
)
def test_settings_that_do_not_fit_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        FinetuneConfig.model_validate(values)


def test_an_encoder_has_no_auxiliary_loss() -> None:
    with pytest.raises(ValueError, match=r"auxiliary_weight is 0.5, but a model of kind 'bert' does not predict"):
        FinetuneConfig(auxiliary_weight=0.5).resolve(BertConfig())


def test_presets_by_name() -> None:
    gpt1, bert = finetune_preset("gpt1"), finetune_preset("bert", learning_rate=5e-5)
    assert (gpt1.learning_rate, gpt1.batch, gpt1.epochs, gpt1.auxiliary_weight) == (6.25e-5, 32, 3, 0.5)
    assert (bert.learning_rate, bert.batch, bert.pooling) == (5e-5, 32, "pooler")
    with pytest.raises(ValueError, match="did you mean 'gpt1'"):
        finetune_preset("gpt-1")
    for name, preset in FINETUNE_PRESETS.items():
        model = BertConfig() if "bert" in name else GPTConfig()
        assert preset.resolve(model).train_config(model, 50).steps == 50


def test_config_is_importable_without_heavy_libraries() -> None:
    code = "import sys, lm.finetune.presets; print([m for m in ('torch', 'sklearn', 'pyarrow') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_limit_is_the_context_at_most(tmp_path: Path) -> None:
    pretrained, tokenizer = open_backbone(backbone_folder(tmp_path, "gpt"))
    config = FinetuneConfig(max_tokens=500).resolve(pretrained.settings)
    form = build(ASKS["single"][0], False, pretrained, tokenizer, config).form
    assert form.reader.limit == CONTEXT  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match="max_tokens is 5: a sequence of this task needs at least 8"):
        build(ASKS["choice"][0], True, pretrained, tokenizer, config.model_copy(update={"max_tokens": 5}))


def test_class_weights_are_given_balanced_or_refused() -> None:
    ask, rows = ASKS["pairs"][0], examples("pairs", 9)  # five of class 0, four of class 1
    assert weights_of(ask, FinetuneConfig(), rows) == []
    assert weights_of(ask, FinetuneConfig(class_weights="balanced"), rows) == [9 / (2 * 5), 9 / (2 * 4)]
    assert weights_of(ask, FinetuneConfig(class_weights=(1, 3)), rows) == [1, 3]
    with pytest.raises(ValueError, match="class_weights has 3 weights for 2 classes: other, same"):
        weights_of(ask, FinetuneConfig(class_weights=(1, 2, 3)), rows)
    with pytest.raises(ValueError, match="class_weights are for classification and tagging"):
        weights_of(ASKS["choice"][0], FinetuneConfig(class_weights="balanced"), rows)
    tags = weights_of(ASKS["tagging"][0], FinetuneConfig(class_weights="balanced"), examples("tagging", 20))
    assert len(tags) == 5
    assert tags[0] < tags[2]  # O is common, I-PER is not
