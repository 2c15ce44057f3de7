"""A masked language model from token shards to a folder, and what can be done with it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lm.artifact import load_torch
from lm.config import OptimizerConfig, TrainConfig
from lm.evaluate.pseudo_likelihood import pseudo_log_likelihood
from lm.fill import fill_gaps, filled_text, framed
from lm.models.bert import Bert
from lm.pretrain import pretrain
from lm.pretraining import BertPretraining
from lm.recipes.recipe import Given
from lm.special_tokens import special_tokens
from lm.stop import Interrupted
from lm.text_model import open_model
from lm.texts.bert import BertText
from lm.tokenizer import encode_documents, load_tokenizer
from lm.train.hooks import Hooks
from lm.words_in_tokens import WordStarts
from tests.lm.masked_corpus import ROBERTA, documents, make_index, make_similar

SIZE = {"layers": 1, "width": 16, "heads": 2, "context": 32, "vocab": 300}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("corpus")
    made = make_index(folder, documents(30))
    (folder / "similar").mkdir()
    make_similar(made[0], load_tokenizer(made[1])).save(folder / "similar")
    return made


def settings(**changed: Any) -> BertPretraining:
    given: dict[str, Any] = {"model": SIZE, "segments": {"length": 32, "passes": 2}}
    return BertPretraining.model_validate(given | changed)


def given(corpus: Any, config: BertPretraining, **changed: Any) -> Given:
    index, tokenizer = corpus
    train = TrainConfig(
        **{"steps": 6, "batch": 8, "eval_sequences": 20, "precision": "fp32", "optimizer": {"learning_rate": 0.01}}
        | changed
    )
    similar = tokenizer.parent / "similar" if config.masking.hidden_by == "similar" else None
    return Given(config, config.resolve(train), index, index, tokenizer, similar_words=similar)


@pytest.fixture(scope="module")
def trained(corpus: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any], list[Any]]:
    folder, seen = tmp_path_factory.mktemp("trained"), []
    hooks = Hooks(on_sample=lambda *sample: seen.append(sample))
    ready = given(corpus, settings(), steps=30, sample_interval=30, sample_prompts=("Ba [MASK] .", "lo"))
    return folder / "model", pretrain(ready, folder / "checkpoints", folder / "model", hooks), seen


def test_it_learns_more_than_how_frequent_tokens_are(trained: tuple[Path, dict[str, Any], list[Any]]) -> None:
    folder, result, samples = trained
    assert result["valid"]["masked_loss"] < result["untrained"]["masked_loss"]
    assert result["valid"].keys() == result["untrained"].keys()
    assert {"masked_accuracy", "pair_accuracy"} <= result["valid"].keys()
    assert 0 < result["commonest"]["masked_accuracy"] < 1
    assert result["parameters"] == sum(p.numel() for p in load_torch(folder, Bert)[0].parameters())
    assert [step for step, _, _ in samples][-2:] == [30, 30]
    assert [text[:4] for _, _, text in samples[-2:]] == ["Ba [", "lo ["]


@pytest.mark.parametrize(
    "changed",
    [
        {"segments": {"length": 32, "pairs": "sop"}, "model": {**SIZE, "embedding": 8, "shared_layers": True}},
        {
            "segments": {"length": 32, "pairs": "none"},
            "model": {**SIZE, "pair_head": False, "boundary_head": True, "boundary_width": 4},
            "masking": {"unit": "word", "spans": [0.5, 0.5], "fate": "span", "boundary": True},
        },
        {
            "masking": {
                "unit": "word",
                "chinese_words": True,
                "spans": [0.4, 0.3],
                "fate": "word",
                "hidden_by": "similar",
            }
        },
    ],
    ids=["albert", "spanbert", "macbert"],
)
def test_its_kin_are_trained_by_the_same_recipe(corpus: Any, tmp_path: Path, changed: dict[str, Any]) -> None:
    seen: list[dict[str, float]] = []
    hooks = Hooks(on_metrics=lambda _, figures: seen.append(figures))
    result = pretrain(given(corpus, settings(**changed), metrics_interval=1), tmp_path / "c", tmp_path / "m", hooks)
    assert seen[-1]["loss"] < seen[0]["loss"]
    assert result["valid"]["masked_loss"] > 0
    assert ("pair_accuracy" in result["valid"]) == (settings(**changed).segments.pairs != "none")
    terms = {name.removeprefix("loss_") for name in seen[0] if name.startswith("loss_")}
    assert terms == ({"mlm", "sbo"} if settings(**changed).masking.boundary else {"mlm", "pair"})


def test_what_does_not_fit_together_is_refused() -> None:
    for changed, message in (
        ({"segments": {"length": 64}}, "segments.length 64 is more than the model's context of 32"),
        ({"segments": {"length": 32, "pairs": "none"}}, "segments.pairs and model.pair_head go together"),
        ({"masking": {"boundary": True}}, "masking.boundary and model.boundary_head go together"),
    ):
        with pytest.raises(ValueError, match=message):
            settings(**changed)


def test_the_memory_of_logits_is_reckoned_for_masked_tokens_alone() -> None:
    wide = settings(model={**SIZE, "vocab": 100_000})
    train = TrainConfig(steps=1, batch=256)
    assert wide.resolve(train).micro_batch == 2**28 // (4 * 5 * 100_000)  # round(32 * .15) = 5 tokens of an example


def test_it_stops_when_asked(corpus: Any, tmp_path: Path) -> None:
    config = settings()
    index, tokenizer = corpus
    train = config.resolve(
        TrainConfig(steps=3, batch=4, precision="fp32", optimizer=OptimizerConfig(learning_rate=0.01))
    )
    stopped = Given(config, train, index, index, tokenizer, should_stop=lambda: True)
    with pytest.raises(Interrupted):
        pretrain(stopped, tmp_path / "c", tmp_path / "m")


# --- what its users do ---


def test_a_folder_opens_and_says_what_it_cannot_do(trained: tuple[Path, dict[str, Any], list[Any]]) -> None:
    model = open_model(trained[0])
    assert isinstance(model, BertText)
    for what in (lambda: model.score(["a"]), lambda: model.bits_per_byte(None)):  # type: ignore[arg-type]
        with pytest.raises(ValueError, match=r"no probability of a text.*pseudo_log_likelihood"):
            what()
    with pytest.raises(ValueError, match=r"does not continue a text; .*this one: `textmill score`, `textmill fill`"):
        model.generate("a", 3)


def test_gaps_are_filled_by_the_likeliest_tokens(trained: tuple[Path, dict[str, Any], list[Any]]) -> None:
    model, tokenizer = load_torch(trained[0], Bert)
    text = "ba [MASK] lo[MASK]."
    ids, gaps = framed(tokenizer, text)
    special = special_tokens(tokenizer)
    assert [ids[gap] for gap in gaps] == [special.mask] * 2
    assert ids.count(special.mask) == 2
    chances = model(torch.tensor([ids]))[0, gaps].softmax(-1)
    filled = fill_gaps(model, tokenizer, text, 3)
    for row, row_chances in zip(filled, chances, strict=True):
        assert [c for _, c in row] == pytest.approx(row_chances.topk(3).values.tolist(), rel=1e-4)
    assert filled_text(text, [[("x", 0.5)], [("y", 0.25), ("z", 0.1)]]) == "ba [x 50%] lo[y 25%, z 10%]."
    assert [len(row) for row in fill_gaps(model, tokenizer, text, 10**6)] == [chances.shape[-1]] * 2
    with pytest.raises(ValueError, match=r"no gap: write \[MASK\]"):
        fill_gaps(model, tokenizer, "ba lo")


def test_embeddings_do_not_depend_on_the_neighbours_in_a_batch(trained: tuple[Path, dict[str, Any], list[Any]]) -> None:
    model = open_model(trained[0])
    assert isinstance(model, BertText)
    texts = ["ba lo", "mu " * 50, "", "kilo de na. Po?"]
    together = model.embed(texts)
    assert together.shape == (4, 16)
    assert np.isfinite(together).all()
    for text, vector in zip(texts, together, strict=True):
        assert np.allclose(model.embed([text])[0], vector, atol=1e-5)
    assert not np.allclose(together[0], together[3], atol=0.01)


@pytest.mark.parametrize("variant", ["original", "within_word_l2r"])
def test_pseudo_likelihood_masks_one_token_at_a_time(
    trained: tuple[Path, dict[str, Any], list[Any]], variant: Any
) -> None:
    model, tokenizer = load_torch(trained[0], Bert)
    special, text = special_tokens(tokenizer), "bakilomuna de sapo"
    ids = encode_documents(tokenizer, [text])[0].tolist()
    starts = WordStarts(tokenizer)(np.array(ids))
    assert not starts.all()
    expected = []
    for at, token in enumerate(ids):
        seen = [special.cls, *ids, special.sep]
        seen[at + 1] = special.mask
        later = at + 1
        while variant == "within_word_l2r" and later < len(ids) and not starts[later]:
            seen[later + 1] = special.mask
            later += 1
        expected.append(model(torch.tensor([seen]))[0, at + 1].log_softmax(-1)[token].item())
    [scores] = pseudo_log_likelihood(model, tokenizer, [text], variant, batch=3)
    assert scores.tolist() == pytest.approx(expected, rel=1e-4)
    long, empty = pseudo_log_likelihood(model, tokenizer, ["ba lo " * 40, ""], variant)
    assert len(long) == 80
    assert len(empty) == 0
    with pytest.raises(Interrupted):
        pseudo_log_likelihood(model, tokenizer, [text], variant, should_stop=lambda: True)


def test_roberta_is_trained_and_filled(tmp_path: Path) -> None:
    corpus = make_index(tmp_path, documents(10), ROBERTA)
    size = {**SIZE, "vocab": load_tokenizer(corpus[1]).get_vocab_size(), "segments": 1, "position_offset": 2}
    config = settings(model={**size, "pair_head": False}, segments={"length": 32, "pairs": "none"})
    pretrain(given(corpus, config, steps=2), tmp_path / "c", tmp_path / "m")
    model = open_model(tmp_path / "m")
    assert isinstance(model, BertText)
    assert len(model.fill("ba [MASK] lo", 2)) == 1
    ids, gaps = framed(model.tokenizer, "ba [MASK] lo")
    assert model.tokenizer.decode(ids[gaps[0] + 1 : -1]) == " lo"
