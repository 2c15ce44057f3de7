"""Losses and probabilities against transformers' task models with the same random weights, and GPT-1's double heads."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lm.finetune.artifact import load_finetuned
from lm.finetune.backbone import open_backbone
from lm.finetune.config import FinetuneConfig
from lm.finetune.forms.tagging import NOT_SCORED
from lm.finetune.objective import FinetuneObjective
from lm.finetune.train import Built, build, finetune
from lm.interop.bert import config_to_hugging_face, export_bert
from lm.interop.gpt2 import export_gpt2
from lm.models.bert import Bert
from lm.models.gpt import GPT
from lm.tokenizer import load_tokenizer
from lm.train.objective import combine, step_totals
from tests.lm.finetune_cases import ASKS, BACKBONES, examples, tokenizer_folder, write_set

transformers = pytest.importorskip("transformers")
KINDS = {"bert": "Bert", "roberta": "Roberta", "albert": "Albert"}
HEADS = {
    "single": "ForSequenceClassification",
    "pairs": "ForSequenceClassification",
    "similarity": "ForSequenceClassification",
    "choice": "ForMultipleChoice",
    "tagging": "ForTokenClassification",
    "unanswerable": "ForQuestionAnswering",
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Folders of theirs, which `open_backbone` reads too."""
    root, made = tmp_path_factory.mktemp("theirs"), {}

    def folder(kind: str) -> Path:
        if kind not in made:
            tokenizer = tokenizer_folder(root / kind / "tokenizer", kind in KINDS)
            model = BACKBONES[kind](load_tokenizer(tokenizer).get_vocab_size())
            (export_bert if isinstance(model, Bert) else export_gpt2)(model, tokenizer, root / kind / "model")
            made[kind] = root / kind / "model"
        return made[kind]

    return folder


def ours(folder: Path, name: str, **values: Any) -> Built:
    pretrained, tokenizer = open_backbone(folder)
    config = FinetuneConfig(dropout=0, head_dropout=0, seed=3, **values).resolve(pretrained.settings)
    made = build(ASKS[name][0], name != "single", pretrained, tokenizer, config)
    with torch.no_grad():
        for p in made.model.head.parameters():  # not only what begins at zero
            p.normal_(0, 0.5, generator=torch.Generator().manual_seed(p.numel()))
    made.model.double().eval()
    return made


def theirs(made: Built, folder: Path, kind: str, name: str) -> nn.Module:
    """Their model with our backbone's weights and our head's."""
    cls = getattr(transformers, KINDS[kind] + HEADS[name])
    more = {"problem_type": "regression"} if name == "similarity" else {}
    labels = {"num_labels": made.form.outputs} if name not in ("choice", "unanswerable") else {}
    model: nn.Module = cls.from_pretrained(folder, attn_implementation="eager", **labels, **more).double().eval()
    head, state = made.model.head, model.state_dict()
    taken = {}
    if kind == "roberta" and HEADS[name] == "ForSequenceClassification":
        taken = {"classifier.dense": head.pooler, "classifier.out_proj": head.linear}
    elif name == "unanswerable":
        taken = {"qa_outputs": head.linear}
    else:
        taken = {"classifier": head.linear}
        pooler = {"bert": "bert.pooler.dense", "albert": "albert.pooler", "roberta": "roberta.pooler.dense"}[kind]
        taken |= {pooler: head.pooler} if f"{pooler}.weight" in state else {}
    for prefix, module in taken.items():
        for part in ("weight", "bias"):
            state[f"{prefix}.{part}"] = getattr(module, part).detach().double()
    model.load_state_dict(state)
    return model


def inputs(batch: Any) -> dict[str, Tensor]:
    real = torch.arange(batch["tokens"].shape[1]) < batch["lengths"][:, None]
    given = {"input_ids": batch["tokens"], "attention_mask": real.long()}
    return given | ({"token_type_ids": batch["segments"]} if "segments" in batch else {})


@pytest.mark.parametrize(
    ("kind", "name"),
    [(kind, name) for kind in ("bert", "albert") for name in HEADS]
    + [("roberta", name) for name in ("single", "pairs", "tagging", "unanswerable")],
)
def test_encoders_equal_transformers_task_models(folders: Any, kind: str, name: str) -> None:
    folder = folders(kind)
    made = ours(folder, name)
    reference = theirs(made, folder, kind, name)
    rows = [row for row in examples(name, 12) if name != "choice" or len(row["choices"]) == 2]
    items = made.form.items(rows)
    batch = items.batch(np.arange(len(items)))
    outputs, _ = made.model(batch)
    loss = made.form.loss(outputs, batch) / made.form.count(batch)
    given = inputs(batch)
    if name == "choice":
        given = {key: value.view(-1, 2, value.shape[-1]) for key, value in given.items()}
        found = reference(**given, labels=batch["labels"])
        torch.testing.assert_close(outputs.view(-1, 2), found.logits, atol=1e-9, rtol=0)
    elif name == "tagging":
        found = reference(**given, labels=batch["tags"].masked_fill(batch["tags"] == NOT_SCORED, -100))
        real = given["attention_mask"].bool()
        torch.testing.assert_close(outputs[real], found.logits[real], atol=1e-9, rtol=0)
    elif name == "unanswerable":
        found = reference(**given)
        real = given["attention_mask"].bool()
        for n, logits in enumerate((found.start_logits, found.end_logits)):
            torch.testing.assert_close(outputs[..., n][real], logits[real], atol=1e-9, rtol=0)
        # their loss is over padding too: one row at a time has none
        each = []
        for n in range(len(items)):
            one = items.batch(np.array([n]))
            said = reference(**inputs(one), start_positions=one["starts"], end_positions=one["ends"])
            each.append(said.loss)
        torch.testing.assert_close(loss, torch.stack(each).mean(), atol=1e-9, rtol=0)
        return
    else:
        labels = batch["labels"].double() if name == "similarity" else batch["labels"]
        found = reference(**given, labels=labels)
        torch.testing.assert_close(outputs, found.logits, atol=1e-9, rtol=0)
    torch.testing.assert_close(loss, found.loss, atol=1e-9, rtol=0)


def test_the_configurations_say_the_same(folders: Any) -> None:
    """What `from_pretrained` above relied on."""
    model, _ = open_backbone(folders("roberta"))
    assert config_to_hugging_face(model.settings, 0)["model_type"] == "roberta"  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["gpt1", "gpt"])
def test_choices_with_language_modelling_equal_double_heads(folders: Any, kind: str) -> None:
    """L3 of multiple choice against transformers' OpenAIGPT and GPT-2 with two heads, whose sum it is."""
    folder = folders(kind)
    made = ours(folder, "choice", pooling="extract", auxiliary_weight=0.5)
    cls = transformers.OpenAIGPTDoubleHeadsModel if kind == "gpt1" else transformers.GPT2DoubleHeadsModel
    reference = cls.from_pretrained(folder, attn_implementation="eager", num_labels=1).double().eval()
    reference.resize_token_embeddings(made.model.backbone.vocab, mean_resizing=False)
    gpt, head = made.model.backbone.model, made.model.head
    assert isinstance(gpt, GPT)
    embedding = reference.get_input_embeddings()
    with torch.no_grad():
        embedding.weight.copy_(gpt.token_embedding.weight)
        reference.multiple_choice_head.summary.weight.copy_(head.linear.weight)  # type: ignore[union-attr, arg-type]
        reference.multiple_choice_head.summary.bias.copy_(head.linear.bias)  # type: ignore[union-attr, arg-type]
    rows = [row for row in examples("choice", 12) if len(row["choices"]) == 2]
    items = made.form.items(rows)
    batch = items.batch(np.arange(len(items)))
    objective = FinetuneObjective(made.form, 0.5)
    loss = combine(objective.losses(made.model, batch), step_totals(objective, [batch]))
    tokens = batch["tokens"].view(len(rows), 2, -1)
    real = torch.arange(tokens.shape[-1]) < batch["lengths"].view(len(rows), 2, 1)
    said = reference(
        input_ids=tokens,
        mc_token_ids=(batch["lengths"] - 1).view(len(rows), 2),
        labels=tokens.masked_fill(~real, -100),
        mc_labels=batch["labels"],
    )
    torch.testing.assert_close(loss, said.mc_loss + 0.5 * said.loss, atol=1e-9, rtol=0)
    torch.testing.assert_close(made.model(batch)[0].view(len(rows), 2), said.mc_logits, atol=1e-9, rtol=0)


def test_a_hugging_face_folder_is_tuned_as_it_is(folders: Any, tmp_path: Path) -> None:
    data = write_set(tmp_path / "data", "pairs", test=0)
    config = FinetuneConfig(epochs=1, batch=16, device="cpu", precision="fp32")
    finetune(data, folders("roberta"), config, tmp_path / "out")
    model = load_finetuned(tmp_path / "out").model
    assert isinstance(model.backbone.model, Bert)
    assert model.backbone.model.config.position_offset == 1


def test_a_pretrained_pooler_is_where_the_head_begins(folders: Any) -> None:
    pretrained, tokenizer = open_backbone(folders("bert"))
    model = pretrained.model
    assert isinstance(model, Bert)
    assert model.pair_head is not None
    for initialisation in ("pretrained", "random"):
        config = FinetuneConfig(initialisation=initialisation).resolve(pretrained.settings)
        head = build(ASKS["single"][0], False, pretrained, tokenizer, config).model.head
        same = torch.equal(head.pooler.weight, model.pair_head.pooler.weight)  # type: ignore[union-attr]
        assert same == (initialisation == "pretrained")


def test_weights_of_tags_are_torchs_weighted_mean(folders: Any) -> None:
    made = ours(folders("bert"), "tagging")
    form: Any = made.form
    form.class_weights = np.array([0.5, 2, 1, 3, 1], np.float32)
    batch = form.items(examples("tagging", 9)).batch(np.arange(9))
    outputs, _ = made.model(batch)
    weight = torch.tensor(form.class_weights, dtype=torch.float64)
    expected = F.cross_entropy(outputs.flatten(0, 1), batch["tags"].flatten(), weight=weight, ignore_index=-100)
    torch.testing.assert_close(form.loss(outputs, batch) / form.count(batch), expected, atol=1e-6, rtol=0)
