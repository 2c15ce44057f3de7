"""Every form of task on every kind of backbone: inputs, truncation, overfitting, and what must not change."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lm.finetune.artifact import load_finetuned
from lm.finetune.backbone import open_backbone
from lm.finetune.config import FinetuneConfig
from lm.finetune.forms.choice import joined
from lm.finetune.framing import Framing, truncated
from lm.finetune.run import answer
from lm.finetune.train import Built, build, finetune
from lm.models.bert import Bert
from lm.tokenizer import load_tokenizer
from tests.lm.finetune_cases import ASKS, BACKBONES, backbone_folder, examples, write_set

GPT1 = Framing(begin=100, between=(102,), end=101, pad=0, segments=False, at_first=False)
BERT = Framing(begin=2, between=(3,), end=3, pad=0, segments=True, at_first=True)
ROBERTA = Framing(begin=0, between=(2, 2), end=2, pad=1, segments=False, at_first=True)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Any:
    root = tmp_path_factory.mktemp("backbones")
    made: dict[str, Path] = {}

    def folder(name: str) -> Path:
        if name not in made:
            made[name] = backbone_folder(root / name, name)
        return made[name]

    return folder


def built(folder: Path, name: str, **values: Any) -> Built:
    pretrained, tokenizer = open_backbone(folder)
    config = FinetuneConfig(dropout=0, head_dropout=0, **values).resolve(pretrained.settings)
    return build(ASKS[name][0], name != "single", pretrained, tokenizer, config)


# --- framing ---------------------------------------------------------------------------------------------------------


def test_decoders_have_start_delimiter_and_extract() -> None:
    assert GPT1.single([5, 6, 7], 9).tokens.tolist() == [100, 5, 6, 7, 101]
    assert GPT1.single([5, 6, 7], 4).tokens.tolist() == [100, 5, 6, 101]
    assert GPT1.single([], 4).tokens.tolist() == [100, 101]
    row = GPT1.pair([5, 6], [7], 9)
    assert (row.tokens.tolist(), row.second, row.last) == ([100, 5, 6, 102, 7, 101], 4, 1)


def test_encoders_have_cls_sep_and_segments() -> None:
    assert BERT.single([5, 6], 9).tokens.tolist() == [2, 5, 6, 3]
    rows = [BERT.pair([5, 6], [7], 9), BERT.pair([5], [6], 9)]
    batch = BERT.batch(rows)
    assert batch["tokens"].tolist() == [[2, 5, 6, 3, 7, 3], [2, 5, 3, 6, 3, 0]]
    assert batch["segments"].tolist() == [[0, 0, 0, 0, 1, 1], [0, 0, 0, 1, 1, 0]]
    assert batch["lengths"].tolist() == [6, 5]
    assert "segments" not in BERT.batch([BERT.single([5], 9)])
    assert ROBERTA.pair([5], [6], 9).tokens.tolist() == [0, 5, 2, 2, 6, 2]
    assert "segments" not in ROBERTA.batch([ROBERTA.pair([5], [6], 9)])


@pytest.mark.parametrize(
    ("a", "b", "room"), [(3, 9, 6), (9, 3, 6), (5, 5, 6), (5, 5, 7), (4, 9, 20), (0, 9, 4), (8, 1, 3)]
)
def test_the_longer_text_of_a_pair_is_cut(a: int, b: int, room: int) -> None:
    """As `_truncate_seq_pair` does it, a token at a time."""
    first, second = list(range(a)), list(range(100, 100 + b))
    found = truncated(first, second, room)
    while len(first) + len(second) > room:
        (first if len(first) > len(second) else second).pop()
    assert (list(found[0]), list(found[1])) == (first, second)


def test_context_and_question_are_joined_as_the_script_is_written() -> None:
    assert joined("a day", "was") == "a day was"
    assert joined("a day ", "was") == "a day was"
    assert joined("天气", "很好") == "天气很好"
    assert (joined("", "x"), joined("x", "")) == ("x", "x")


def test_choices_read_as_the_papers_have_it(folders: Any) -> None:
    example = {
        "id": "0",
        "context": "the sail",
        "question": "and then",
        "choices": ["mast", "rain", "keel"],
        "label": 2,
    }
    for name, (first, second) in {
        "gpt": ("the sail and then", "mast"),
        "bert": ("the sail", "and then mast"),
    }.items():
        form = built(folders(name), "choice").form
        tokenizer = load_tokenizer(folders(name))
        items = form.items([example])
        assert [len(of) for of in items.rows] == [3]
        ids = [tokenizer.encode(text, add_special_tokens=False).ids for text in (first, second)]
        assert items.rows[0][0].tokens.tolist() == form.reader.framing.pair(*ids, 48).tokens.tolist()  # type: ignore[attr-defined]
    bert = built(folders("bert"), "choice").form
    alone = bert.items([{**example, "context": ""}]).rows[0][0].tokens.tolist()
    assert (
        alone
        == bert.reader.framing.pair(
            *(load_tokenizer(folders("bert")).encode(t, add_special_tokens=False).ids for t in ("and then", "mast")), 48
        ).tokens.tolist()
    )  # type: ignore[attr-defined]


@pytest.mark.parametrize("kind", ["gpt", "bert"])
def test_a_long_context_of_choices_loses_its_end_and_not_the_question(folders: Any, kind: str) -> None:
    form = built(folders(kind), "choice").form
    tokenizer = load_tokenizer(folders(kind))
    question, choice = "and then some", "mast"
    example = {"id": "0", "context": "the sail under " * 40, "question": question, "choices": [choice, "keel"]}
    for row, answer_text in zip(form.items([example]).rows[0], example["choices"], strict=True):
        text = tokenizer.decode(row.tokens[:-1].tolist(), skip_special_tokens=False)
        assert len(row.tokens) == 48
        assert question in text
        assert text.endswith(answer_text)
        assert "the sail under the sail" in text


# --- what must not change --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["similarity", "pairs"])
@pytest.mark.parametrize("kind", ["gpt", "modern", "xlnet"])
def test_a_symmetric_task_is_unchanged_to_the_bit_when_its_texts_are_swapped(
    folders: Any, kind: str, name: str
) -> None:
    made = built(folders(kind), name)
    assert made.form.orders == 2
    rows = examples(name, 17)
    rows[0]["text"] = " ".join(["the sail"] * 40)  # too long: it is cut in both orders alike
    swapped = [{**row, "text": row["text_b"], "text_b": row["text"]} for row in rows]
    model = made.model.eval()
    said = [answer(model, made.form, made.form.items(of)) for of in (rows, swapped)]
    assert said[0] == said[1]
    batches = [made.form.items(of).batch(np.arange(17)) for of in (rows, swapped)]
    totals = [made.form.loss(model(batch)[0], batch) for batch in batches]
    assert torch.equal(totals[0], totals[1])


def test_both_orders_are_summed_before_the_head(folders: Any) -> None:
    made = built(folders("gpt"), "similarity", pooling="extract")
    model, rows = made.model.eval(), examples("similarity", 6)
    items = made.form.items(rows)
    together, _ = model(items.batch(np.arange(6)))
    for n, of in enumerate(items.rows):
        assert of[0].tokens.tolist() != of[1].tokens.tolist()
        pooled = torch.zeros(32)
        for row in of:
            pooled = pooled + model.backbone(torch.from_numpy(row.tokens)[None])[0, -1]
        expected = model.head.linear.weight @ pooled + model.head.linear.bias  # type: ignore[union-attr, operator]
        torch.testing.assert_close(together[n], expected, atol=1e-6, rtol=0)


def test_encoders_read_one_order_unless_told(folders: Any) -> None:
    assert built(folders("bert"), "similarity").form.orders == 1
    assert built(folders("bert"), "similarity", both_orders=True).form.orders == 2
    assert built(folders("gpt"), "entailment").form.orders == 1


@pytest.mark.parametrize("kind", list(BACKBONES))
def test_a_backbone_gains_nothing_but_the_rows_of_new_tokens(folders: Any, kind: str) -> None:
    plain, _ = open_backbone(folders(kind))
    encoder = isinstance(plain.model, Bert)
    before = plain.state_dict()
    for name in ASKS:
        model = built(folders(kind), name).model
        after = model.backbone.state_dict()
        rows = 0 if encoder else 2 if name in ("single", "tagging") else 3
        assert list(after) == list(before)
        for key, tensor in after.items():
            by_token = tensor.shape[:1] == (plain.vocab + rows,) and rows
            assert tensor.shape == ((plain.vocab + rows, *before[key].shape[1:]) if by_token else before[key].shape)
            assert torch.equal(tensor[: len(before[key])] if tensor.dim() else tensor, before[key])


@pytest.mark.parametrize("kind", list(BACKBONES))
@pytest.mark.parametrize("name", ["pairs", "tagging"])
@torch.no_grad()
def test_padding_and_company_change_no_output(folders: Any, kind: str, name: str) -> None:
    made = built(folders(kind), name)
    model, items = made.model.eval().double(), made.form.items(examples(name, 9))
    batch = items.batch(np.arange(len(items)))
    together = made.form.split(model(batch)[0], batch)
    for n in range(len(items)):
        alone = items.batch(np.array([n]))
        np.testing.assert_allclose(made.form.split(model(alone)[0], alone)[0], together[n], atol=1e-6, rtol=0)


# --- learning --------------------------------------------------------------------------------------------------------

SETTINGS: dict[str, dict[str, Any]] = {
    "single": {"epochs": 20},
    "pairs": {"epochs": 20},
    "similarity": {"epochs": 30},
    "choice": {"epochs": 40},
    "tagging": {"epochs": 15},
    "questions": {"epochs": 15},
    "unanswerable": {"epochs": 20},
}


@pytest.mark.parametrize("name", list(SETTINGS))
@pytest.mark.parametrize("kind", ["gpt", "bert"])
def test_each_head_overfits_32_examples(folders: Any, kind: str, name: str, tmp_path: Path) -> None:
    config = FinetuneConfig(
        batch=8,
        learning_rate=2e-3 if kind == "bert" else 4e-3,
        evaluations=4,
        dropout=0,
        head_dropout=0,
        device="cpu",
        precision="fp32",
        **SETTINGS[name],
    )
    data = write_set(tmp_path / "data", name, same=True, test=0)
    result = finetune(data, folders(kind), config, tmp_path / "out")
    assert result["valid"][result["metric"]] >= 0.93  # 30 of 32: another machine rounds otherwise
    model, form, _, _, _ = load_finetuned(tmp_path / "out")
    again = answer(model, form, form.items(examples(name, 32)))
    assert len(again) == 32


@pytest.mark.parametrize("kind", ["gpt1", "modern", "roberta", "albert", "xlnet", "transformer_xl", "rnn"])
def test_every_kind_of_backbone_learns(folders: Any, kind: str, tmp_path: Path) -> None:
    name, rate, epochs = ("single", 1e-2, 30) if kind == "rnn" else ("questions", 5e-3, 12)
    config = FinetuneConfig(
        batch=8,
        learning_rate=rate,
        epochs=epochs,
        evaluations=3,
        auxiliary_weight=0,
        dropout=0,
        head_dropout=0,
        device="cpu",
        precision="fp32",
    )
    data = write_set(tmp_path / "data", name, same=True, test=0)
    result = finetune(data, folders(kind), config, tmp_path / "out")
    assert result["valid"][result["metric"]] >= 0.9
    assert load_finetuned(tmp_path / "out").model.backbone.kind == open_backbone(folders(kind))[0].kind
