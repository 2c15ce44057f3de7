"""Asking a model: batches, distributions, samples, gaps, bits per byte, the filter's scorer."""

import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lm.evaluate.perplexity import unigram_bits_per_byte
from lm.ngram.build import build_ngram, build_word_ngram
from lm.ngram.config import NgramConfig
from lm.ngram.model import NgramModel, load_ngram
from lm.ngram.score import NgramScorer, ngram_bits_per_byte
from lm.packing import PackedSequences
from lm.stop import Interrupted
from lm.tokenizer import token_byte_lengths
from lm.tokens import TokenIndex, build_index
from tests.lm.ngram_oracle import sentences


@pytest.fixture
def index(shards: list[Path]) -> TokenIndex:
    return build_index(shards)


def of_tokens(tmp_path: Path, index: TokenIndex, tokenizer_dir: Path, **config: Any) -> NgramModel:
    build_ngram(index, tokenizer_dir, NgramConfig(**config), tmp_path / "model")
    return load_ngram(tmp_path / "model")


def of_words(tmp_path: Path, **config: Any) -> NgramModel:
    build_word_ngram([" ".join(sentence) for sentence in sentences()], NgramConfig(**config), tmp_path)
    return load_ngram(tmp_path)


@pytest.mark.parametrize("smoothing", ["modified_kneser_ney", "add_k", "stupid_backoff"])
@pytest.mark.parametrize("order", [1, 2, 4])
def test_batch_single_and_distribution_agree(tmp_path: Path, smoothing: str, order: int) -> None:
    model = of_words(tmp_path, order=order, smoothing=smoothing)
    draw = np.random.default_rng(0)
    ids = draw.integers(0, model.vocab, 60)
    ids[::3] = model.encode(" ".join(sentences()[2]))[0]
    offsets = np.array([0, 0, 20, 21, 60])
    for at_start in (True, False):
        got = model.log_probs(ids, offsets, at_start=at_start)
        for begin, end in pairwise(offsets):
            for i in range(begin, end):
                history = [*([model.boundary] if at_start else []), *ids[begin:i].tolist()]
                assert model.log_prob(history, ids[i]) == got[i]
                if model.is_distribution:
                    assert math.log(model.distribution(history)[ids[i]]) == pytest.approx(got[i], rel=1e-6)


def test_a_stream_with_boundaries_is_its_sequences(tmp_path: Path) -> None:
    model = of_words(tmp_path, order=4)
    parts = [[*map(int, model.encode(" ".join(sentence))), model.boundary] for sentence in sentences()[:30]]
    stream = np.concatenate(parts)
    offsets = np.concatenate([[0], np.cumsum([len(part) for part in parts])])
    np.testing.assert_array_equal(model.log_probs(stream, np.array([0, len(stream)])), model.log_probs(stream, offsets))
    assert model.sequence_log_prob(parts[3][:-1]) == pytest.approx(
        model.log_probs(stream, offsets)[offsets[3] : offsets[4]].sum()
    )


def test_ids_and_offsets_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    model = of_words(tmp_path, order=2)
    with pytest.raises(ValueError, match=f"ids must be 0 to {model.vocab - 1}, these are 0 to {model.vocab}"):
        model.log_probs(np.array([0, model.vocab]), np.array([0, 2]))
    for offsets in ([0, 3], [2, 0], [-1, 2], []):
        with pytest.raises(ValueError, match="offsets must rise from 0 to 2"):
            model.log_probs(np.array([0, 1]), np.array(offsets, dtype=np.int64))
    assert model.log_probs(np.array([], dtype=np.int64), np.array([0])).size == 0


def test_a_gap_is_filled_by_what_both_sides_ask_for(tmp_path: Path) -> None:
    model = of_words(tmp_path, order=3)
    left, right = [model.boundary, *model.encode("the")], model.encode("the of").tolist()
    joint = np.array(
        [
            sum(model.log_prob([*left, w, *right[:i]], right[i]) for i in range(2)) + model.log_prob(left, w)
            for w in range(model.vocab)
        ]
    )
    joint[model.boundary] = -np.inf
    expected = np.exp(joint - joint.max()) / np.exp(joint - joint.max()).sum()
    answers = model.cloze(left, [*right, model.boundary], top=5)
    assert [w for w, _ in answers] == np.argsort(-expected, kind="stable")[:5].tolist()
    assert [p for _, p in answers] == pytest.approx(np.sort(expected)[::-1][:5].tolist())
    assert sum(p for _, p in model.cloze([], [], top=model.vocab)) == pytest.approx(1.0)


def test_a_gap_that_nothing_fits_is_an_error(tmp_path: Path) -> None:
    model = of_words(tmp_path, order=3, smoothing="mle")
    with pytest.raises(ValueError, match="nothing fits into this gap"):
        model.cloze([0], [0, 0])  # <unk>, never seen


def test_samples_follow_the_distribution_and_the_seed(tmp_path: Path) -> None:
    model = of_words(tmp_path, order=3)
    draws = [next(iter(model.sample(max_new_tokens=1, seed=seed)), model.boundary) for seed in range(3000)]
    expected = 3000 * model.distribution([model.boundary])
    often = expected > 20
    seen = np.bincount(draws, minlength=model.vocab)
    chi_squared = ((seen - expected)[often] ** 2 / expected[often]).sum()
    assert chi_squared < often.sum() + 4 * math.sqrt(2 * often.sum())
    text = list(model.sample(model.encode("the").tolist(), 50, seed=1))
    assert text == list(model.sample(model.encode("the").tolist(), 50, seed=1))
    assert text != list(model.sample(model.encode("the").tolist(), 50, seed=2))
    assert model.boundary not in text
    greedy = list(model.sample(max_new_tokens=3, temperature=0.0))
    assert greedy[0] == int(model.distribution([model.boundary]).argmax())
    with pytest.raises(Interrupted, match="generating"):
        list(model.sample(should_stop=lambda: True))


def test_bits_per_byte_are_those_of_the_unigram_baseline(
    tmp_path: Path, index: TokenIndex, tokenizer_dir: Path
) -> None:
    model = of_tokens(tmp_path, index, tokenizer_dir, order=1, smoothing="add_k", k=1.0, precision="float64")
    lengths, packed = token_byte_lengths(model.names), PackedSequences(index, 16)
    expected = unigram_bits_per_byte(index.token_counts(), packed, lengths, limit=30)
    got = ngram_bits_per_byte(model, packed, lengths, limit=30, batch=7)
    assert {key: got[key] for key in expected} == pytest.approx(expected, rel=1e-12)


def test_a_longer_context_is_worth_bits(tmp_path: Path, index: TokenIndex, tokenizer_dir: Path) -> None:
    lengths, packed = token_byte_lengths(load_ngram_tokenizer(tokenizer_dir)), PackedSequences(index, 32)
    bits = []
    for order in (1, 2, 4):
        model = of_tokens(tmp_path, index, tokenizer_dir, order=order)
        bits.append(ngram_bits_per_byte(model, packed, lengths)["bits_per_byte"])
    assert bits == sorted(bits, reverse=True)
    one = PackedSequences(index, 1)  # every token after one other: contexts that are cut off
    figures = ngram_bits_per_byte(model, one, lengths)
    assert figures["bytes"] == index.bytes.sum()
    assert figures["tokens"] == index.tokens
    assert figures["bits_per_byte"] > bits[-1]
    scores = of_tokens(tmp_path, index, tokenizer_dir, order=2, smoothing="stupid_backoff")
    with pytest.raises(ValueError, match="do not sum to one: there are no bits per byte"):
        ngram_bits_per_byte(scores, packed, lengths)
    with pytest.raises(Interrupted, match="evaluating"):
        ngram_bits_per_byte(model, packed, lengths, should_stop=lambda: True)


def load_ngram_tokenizer(folder: Path) -> Any:
    from lm.tokenizer import load_tokenizer

    return load_tokenizer(folder)


def test_the_scorer_is_perplexity_for_a_filter(tmp_path: Path, index: TokenIndex, tokenizer_dir: Path) -> None:
    model = of_tokens(tmp_path, index, tokenizer_dir, order=3)
    scorer = NgramScorer(tmp_path / "model", languages={"en", None})
    text = "the model learns the data"
    ids = model.encode(text)
    expected = math.exp(-sum(model.log_prob([model.boundary, *ids[:i]], ids[i]) for i in range(len(ids))) / len(ids))
    assert scorer(text, "en") == scorer(text) == pytest.approx(expected)
    assert scorer(text, "de") is None
    assert scorer("", "en") is None
    assert scorer("zzq qqx 12 §§", "en") > scorer(text, "en")  # type: ignore[operator]


@pytest.fixture(params=["token", "word"])
def small_model(request: pytest.FixtureRequest, tmp_path: Path, index: TokenIndex, tokenizer_dir: Path) -> NgramModel:
    return (
        of_words(tmp_path, order=3) if request.param == "word" else of_tokens(tmp_path, index, tokenizer_dir, order=3)
    )


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(max_size=60) | st.text("the datamodel.\n\r\x0b\u2028 \x00我", max_size=60))
def test_any_text_is_scored_or_has_no_token(small_model: NgramModel, text: str) -> None:
    model = small_model
    score = NgramScorer(model)(text)
    lines = text.split("\n") if model.described["unit"] == "word" else [text]
    logs = []
    for ids in map(model.encode, lines):
        logs += [model.log_prob([model.boundary, *ids[:i].tolist()], ids[i]) for i in range(len(ids))]
    if not logs:
        assert score is None
        return
    assert score == pytest.approx(math.exp(-math.fsum(logs) / len(logs)))
    assert 1 <= score < math.inf


def test_a_model_of_words_scores_lines(tmp_path: Path) -> None:
    model = of_words(tmp_path, order=3)
    first, second = (" ".join(sentence) for sentence in sentences()[1:3])
    got = NgramScorer(model)(f"{first}\n\n{second}\n")
    logs = [model.log_probs(ids, np.array([0, len(ids)])) for ids in (model.encode(first), model.encode(second))]
    assert got == pytest.approx(math.exp(-np.concatenate(logs).mean()))
