"""Frozen features: as their models give them, learned on without a change of them, resumed, saved and used."""

import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import numpy as np
import pytest
import torch

from lm.characters import character_ids
from lm.finetune.artifact import load_finetuned
from lm.finetune.backbone import open_backbone
from lm.finetune.config import FinetuneConfig, LoRAConfig
from lm.finetune.features.backbone import Features
from lm.finetune.features.head import FeatureHead
from lm.finetune.features.words import CharacterWords, forgetting
from lm.finetune.objective import FinetuneObjective
from lm.finetune.predictor import Predictor
from lm.finetune.train import Built, build, finetune
from lm.labelled.folder import write_labelled
from lm.models.cove import cove_vectors
from lm.models.elmo import ELMo
from lm.text_model import open_model
from lm.texts.elmo import ELMoText
from lm.translator import load_translator
from lm.vectors.artifact import load_vectors
from tests.asked import Ask
from tests.lm.feature_cases import KINDS, LEFT_OUT, feature_folder
from tests.lm.finetune_cases import ASKS, backbone_folder, examples, task, write_set

pytestmark = pytest.mark.heavy

TEXTS = ["the red and sweet keel", "rain", "a mast under the sail , then grey clouds"]
OUTPUTS = ("config.json", "metrics.json", "model.safetensors", "predictions.parquet")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Any:
    made: dict[str, Path] = {}

    def folder(kind: str) -> Path:
        if kind not in made:
            made[kind] = feature_folder(tmp_path_factory.mktemp(kind), kind)
        return made[kind]

    return folder


def settings(**changes: Any) -> FinetuneConfig:
    given = {"epochs": 2, "batch": 8, "learning_rate": 0.02, "evaluations": 2, "device": "cpu", "precision": "fp32"}
    return FinetuneConfig.model_validate({**given, "head_dropout": 0.1, **changes})


def built(folder: Path, name: str, **changes: Any) -> Built:
    model, words = open_backbone(folder)
    rows = examples(name, 2)
    return build(ASKS[name][0], "text_b" in rows[0] and rows[0]["text_b"] is not None, model, words,
                 settings(**changes).resolve(model.settings))  # fmt: skip


def padded(rows: list[np.ndarray]) -> tuple[torch.Tensor, torch.Tensor]:
    lengths = torch.tensor([len(row) for row in rows])
    tokens = torch.zeros(len(rows), int(lengths.max()) + 2, dtype=torch.int64)
    for line, row in zip(tokens, rows, strict=True):
        line[: len(row)] = torch.from_numpy(row)
    return tokens, torch.arange(tokens.shape[1]) < lengths[:, None]


@pytest.mark.parametrize("kind", KINDS)
def test_features_are_those_of_the_model(kind: str, folders: Any) -> None:
    """Of texts of unlike length in one batch: what the model's own door says of each text alone."""
    model, words = open_backbone(folders(kind))
    assert isinstance(model, Features)
    tokens, real = padded(words.encode(TEXTS))
    found = model(tokens, real=real).numpy()
    assert found.shape == (model.depth, *tokens.shape, model.width)
    for row, text in enumerate(TEXTS):
        if kind == "elmo":
            elmo = open_model(folders(kind))
            assert isinstance(elmo, ELMoText)
            expected = elmo.embed([w for w in elmo.words(text) if not w.isspace()])
        elif kind == "cove":
            expected = cove_vectors(load_translator(folders(kind)), [text])[0][None]
        else:
            vectors = load_vectors(folders(kind))
            expected = np.stack([vectors.vectors[r] if r >= 0 else np.zeros(16) for r in vectors.text_rows(text)])[None]
        length = expected.shape[1]
        np.testing.assert_allclose(found[:, row, :length], expected, atol=2e-5)
        assert not found[:, row, length:].any()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["single", "pairs", "tagging"])
def test_nothing_of_the_model_changes_or_has_a_gradient(kind: str, name: str, folders: Any) -> None:
    made = built(folders(kind), name, features_lstm=6 if name == "tagging" else None)
    model, form = made.model.train(), made.form
    before = {n: t.clone() for n, t in model.state_dict().items() if n.startswith("backbone.")}
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    items = form.items(examples(name, 6))
    for _ in range(2):
        losses = FinetuneObjective(form).losses(model, items.batch(np.arange(6)))
        sum(term.total for term in losses.terms.values()).backward()  # type: ignore[union-attr]
        optimizer.step()
    assert all(p.grad is None for p in model.backbone.parameters())
    learned = {n for n, p in model.named_parameters() if p.grad is not None and bool(p.grad.abs().sum() > 0)}
    expected = {"head.linear.weight", "head.linear.bias"} | (
        {"head.mix.w", "head.mix.gamma"} if kind == "elmo" else set()
    )
    assert {n for n in learned if "lstms" not in n} == expected
    assert any("lstms" in n for n in learned) == (name == "tagging")
    after = model.state_dict()
    assert all(torch.equal(after[n], tensor) for n, tensor in before.items())
    assert set(before) <= model.constant


@pytest.mark.parametrize("kind", ["elmo", "glove"])
@pytest.mark.parametrize("name", ["single", "pairs", "similarity", "tagging"])
def test_examples_are_learned_by_heart(kind: str, name: str, folders: Any, tmp_path: Path) -> None:
    data = write_set(tmp_path / "data", name, train=32, test=0, same=True)
    result = finetune(data, folders(kind), settings(epochs=40, learning_rate=0.03, features_lstm=16, head_dropout=0.0,
                                                    pooling="concat"), tmp_path / "out")  # fmt: skip
    metric = ASKS[name][1][0]
    assert result["valid"][metric] > 0.85
    assert result["learning"] < result["parameters"]


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_saved_answers_alike(kind: str, folders: Any, tmp_path: Path) -> None:
    data = write_set(tmp_path / "data", "pairs")
    result = finetune(data, folders(kind), settings(), tmp_path / "out")
    rows = examples("pairs", 14, 2)
    said = Predictor(tmp_path / "out")(rows)
    right = [answer["label"] == ("other", "same")[row["label"]] for answer, row in zip(said, rows, strict=True)]
    assert np.mean(right) == result["test"]["accuracy"]
    assert load_finetuned(tmp_path / "out").model.backbone.kind.features
    words = result["words"]["train"]
    told = sum(e[side].split().count(LEFT_OUT) for e in examples("pairs", 32) for side in ("text", "text_b"))
    assert words["unknown"] == (0 if kind == "cove" else told)
    assert words["words"] > words["unknown"]


def test_a_symmetric_task_is_unchanged_when_texts_are_swapped(folders: Any) -> None:
    made = built(folders("elmo"), "pairs", features_lstm=5)
    rows = examples("pairs", 5)
    swapped = [{**row, "text": row["text_b"], "text_b": row["text"]} for row in rows]
    one, other = (made.model.eval()(made.form.items(r).batch(np.arange(5)))[0] for r in (rows, swapped))
    assert torch.equal(one, other)
    apart = built(folders("elmo"), "entailment")
    one, other = (apart.model.eval()(apart.form.items(r).batch(np.arange(5)))[0] for r in (rows, swapped))
    assert not torch.allclose(one, other)


def test_a_bilstm_does_not_read_padding() -> None:
    head = FeatureHead(4, 3, 2, lstm=3, pooling="concat").eval()
    features, lengths = torch.randn(3, 2, 6, 4), torch.tensor([6, 2])
    both = head(features, lengths)
    alone = head(features[:, 1:, :2], lengths[1:])
    torch.testing.assert_close(both[1:], alone)
    other = features.clone()
    other[:, 1, 2:] = 9.0
    torch.testing.assert_close(head(other, lengths), both)


def test_unknown_words_are_counted_and_said(folders: Any) -> None:
    for kind, expected in (("elmo", "they are read by their characters"), ("glove", "their vectors are zeros")):
        model, words = open_backbone(folders(kind))
        [ids] = words.encode(["the keel the keel"])
        assert words.not_known() == f"2 of 4 words (50.0%) are not in the model's vocabulary: {expected}"
        assert ids[1] == ids[3]
        assert len(words.encode([""])[0]) == 1
    model, words = open_backbone(folders("elmo"))
    assert isinstance(words, CharacterWords)
    assert isinstance(model.model, ELMo)
    known = words.encode(["sail"])[0]
    assert words.not_known() is None
    table = words.characters(torch.from_numpy(known))
    assert torch.equal(table, model.model.characters[torch.from_numpy(known)])


def test_callers_in_many_threads_are_read_each_by_their_own_words(folders: Any) -> None:
    """Words that no vocabulary has: each caller's are numbered as if there were no other."""
    _, words = open_backbone(folders("elmo"))
    assert isinstance(words, CharacterWords)
    both = Barrier(2)

    def read(own: list[str]) -> None:
        with forgetting():
            [ids] = words.encode([" ".join(own)])
            both.wait(timeout=240)
            assert ids.tolist() == list(range(words.vocab, words.vocab + len(own)))
            assert np.array_equal(words.characters(torch.from_numpy(ids)), character_ids(own, words.length))

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(read, (["zyzzyva", "quincunx"], ["xylem", "zyzzyva", "phloem"])))


def test_what_is_served_keeps_no_word_of_its_callers(folders: Any, tmp_path: Path) -> None:
    finetune(write_set(tmp_path / "data", "single"), folders("elmo"), settings(), tmp_path / "out")
    predictor = Predictor(tmp_path / "out")
    words = predictor.model.backbone.words
    first = predictor([{"text": "a zyzzyva under the quincunx"}, {"text": "the quincunx"}])
    assert not words.kept.words
    assert predictor([{"text": "xylem"}, {"text": "the quincunx"}])[1] == first[1]
    assert predictor.not_known() is not None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"pooling": "extract"},
            r"pooling is extract, but the texts of a glove get no token for it: `mean` or `concat`",
        ),
        ({"freeze": 1}, r"freeze: nothing of a glove learns; it gives features of words"),
        ({"lora": LoRAConfig()}, r"lora: nothing of a glove learns"),
        ({"unfreeze_epochs": 1.0}, r"unfreeze_epochs: nothing of a glove learns"),
        ({"auxiliary_weight": 0.5}, r"'glove' does not predict the next token"),
    ],
)
def test_settings_for_models_that_learn_are_refused(changes: dict[str, Any], message: str, folders: Any) -> None:
    model, _ = open_backbone(folders("glove"))
    with pytest.raises(ValueError, match=message):
        settings(**changes).resolve(model.settings)


def test_what_features_cannot_do_is_said(folders: Any, tmp_path: Path) -> None:
    data = write_set(tmp_path / "choice", "choice")
    with pytest.raises(
        ValueError, match=r"'glove' gives features of words for labels, numbers and tags; .*multiple_choice"
    ):
        finetune(data, folders("glove"), settings(), tmp_path / "out")
    rows = [{**row, "text": "qqq zzz"} for row in examples("single", 4)]
    write_labelled(tmp_path / "foreign", task("single"), {"train": rows, "valid": rows})
    with pytest.raises(ValueError, match="none of the 8 words to learn from is in its vocabulary"):
        finetune(tmp_path / "foreign", folders("glove"), settings(), tmp_path / "out")
    gpt, _ = open_backbone(backbone_folder(tmp_path / "gpt", "gpt"))
    with pytest.raises(ValueError, match="features_lstm is for models that stay as they are; a gpt learns"):
        settings(features_lstm=8).resolve(gpt.settings)


@pytest.mark.parametrize("kind", KINDS)
def test_a_killed_process_goes_on_and_ends_in_the_same_bits(
    kind: str, folders: Any, tmp_path: Path, fork_server: Ask
) -> None:
    data = write_set(tmp_path / "data", "tagging" if kind == "elmo" else "single", train=24, valid=8, test=8)
    config = settings(checkpoint_interval=2, features_lstm=4)
    given = [str(data), str(folders(kind)), config.model_dump_json()]
    train = "tests.lm.killed_features:train"
    ended = fork_server(call=train, arguments=[*given, str(tmp_path / "killed"), 5])
    assert ended["signal"] == signal.SIGKILL
    assert not (tmp_path / "killed" / "model.safetensors").exists()
    for name in ("killed", "whole"):
        assert fork_server(call=train, arguments=[*given, str(tmp_path / name), 0])["signal"] == 0
    for name in OUTPUTS:
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name


def test_settings_of_other_models_are_what_they_were() -> None:
    """A run of before there were features has the same key, and its model's folder the same bytes."""
    assert "features_lstm" not in FinetuneConfig().model_dump()
    assert FinetuneConfig(features_lstm=8).model_dump()["features_lstm"] == 8
