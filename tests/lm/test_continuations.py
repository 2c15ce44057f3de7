"""Answers behind prompts: with kept keys and values and without, against reading everything anew."""

from pathlib import Path

import numpy as np
import pytest
import torch

from lm.evaluate.continuations import Continuations
from lm.evaluate.prefix import Prefix
from lm.texts.decoder import DecoderText
from lm.tokenizer import encode_documents, end_of_text_id
from tests.lm import exam_models

PROMPT = "The harbour was quiet and the small boats"
ANSWERS = [" lay in a row", " lay", " carried wine and red apples", " laughed."]


def by_hand(model: DecoderText, prompt: str, answer: str, begin: bool = True) -> float:
    """-ln p of the answer's tokens, everything read at once."""
    whole = encode_documents(model.tokenizer, [prompt + answer])[0].tolist()
    length = len(encode_documents(model.tokenizer, [prompt])[0])
    ids = [end_of_text_id(model.tokenizer), *whole] if begin else whole
    with torch.no_grad():
        logs = model.model(torch.tensor([ids[:-1]]))[0].double().log_softmax(-1)
    first = length + begin
    return -float(sum(logs[at - 1, ids[at]] for at in range(first, len(ids))))


@pytest.mark.parametrize("kind", ["gpt", "banded", "modern"])
@pytest.mark.parametrize("cached", [True, False])
def test_a_decoder_scores_answers_as_if_all_was_read_anew(kind: str, cached: bool, tmp_path: Path) -> None:
    make = {
        "gpt": exam_models.gpt,
        "banded": lambda folder: exam_models.gpt(folder, band=4),
        "modern": exam_models.modern,
    }
    model = make[kind](tmp_path)
    assert isinstance(model, DecoderText)
    scores = Continuations(model, cached=cached).score(PROMPT, ANSWERS)
    for answer, score in zip(ANSWERS, scores, strict=True):
        assert score.nats == pytest.approx(by_hand(model, PROMPT, answer), rel=1e-4)
        assert score.bytes == len(answer.encode())
    assert [score.tokens for score in scores] == [
        len(encode_documents(model.tokenizer, [PROMPT + answer])[0])
        - len(encode_documents(model.tokenizer, [PROMPT])[0])
        for answer in ANSWERS
    ]


def test_without_a_beginning_the_prompt_stands_for_itself(tmp_path: Path) -> None:
    model = exam_models.gpt(tmp_path)
    assert isinstance(model, DecoderText)
    [score] = Continuations(model, begin=False).score(PROMPT, [" lay in a row"])
    assert score.nats == pytest.approx(by_hand(model, PROMPT, " lay in a row", begin=False), rel=1e-4)
    assert score.nats != pytest.approx(by_hand(model, PROMPT, " lay in a row"), rel=1e-4)


@pytest.mark.parametrize("kind", ["rnn", "ngram"])
def test_other_models_score_the_difference_of_two_texts(kind: str, tmp_path: Path) -> None:
    model = {"rnn": exam_models.rnn, "ngram": exam_models.ngram}[kind](tmp_path)
    scores = Continuations(model).score(PROMPT, ANSWERS)
    [before] = model.score([PROMPT])
    for answer, score in zip(ANSWERS, scores, strict=True):
        [whole] = model.score([PROMPT + answer])
        assert score.nats == pytest.approx(whole.nats - before.nats, rel=1e-5)
    with pytest.raises(ValueError, match="always begins with the beginning of a document"):
        Continuations(model, begin=False)


def test_a_space_at_the_end_of_a_prompt_goes_to_the_answer(tmp_path: Path) -> None:
    scorer = Continuations(exam_models.gpt(tmp_path))
    [one], [other] = scorer.score("The harbour ", ["was"]), scorer.score("The harbour", [" was"])
    assert (one.tokens, one.bytes) == (other.tokens, other.bytes) == (1, 4)
    assert one.nats == pytest.approx(other.nats, rel=1e-5)


def test_what_prompts_begin_with_is_read_once(tmp_path: Path) -> None:
    model = exam_models.gpt(tmp_path)
    assert isinstance(model, DecoderText)
    prefix, whole = Prefix(model.model), Prefix(model.model)
    ids = np.array([end_of_text_id(model.tokenizer), *encode_documents(model.tokenizer, [PROMPT])[0].tolist()])
    other = np.concatenate([ids[:-2], ids[:3]])
    answers = [np.array([5, 6]), np.array([7])]
    prefix.nats(ids, answers)
    read = prefix.read
    again = prefix.nats(ids, answers)
    assert prefix.read == read + 1  # its last token alone
    prefix.nats(other, answers)
    assert prefix.read == read + 1 + 3
    for kept, anew in zip(prefix.nats(ids, answers), whole.nats(ids, answers), strict=True):
        np.testing.assert_allclose(kept, anew, rtol=1e-5)
    np.testing.assert_allclose(again[1], whole.nats(ids, answers)[1], rtol=1e-5)


def test_a_prompt_beyond_the_context_is_seen_from_its_end(tmp_path: Path) -> None:
    model = exam_models.gpt(tmp_path, context=12)
    scorer = Continuations(model)
    assert scorer.fits("The harbour", [" was"])
    assert not scorer.fits(PROMPT * 3, [" was"])
    assert isinstance(model, DecoderText)
    [found] = scorer.score(PROMPT * 3, [" was"])
    ids = encode_documents(model.tokenizer, [PROMPT * 3 + " was"])[0]
    with torch.no_grad():
        last = model.model(torch.from_numpy(ids[-13:-1])[None])[0, -1].double().log_softmax(-1)
    assert found.tokens == 1
    assert found.nats == pytest.approx(-float(last[ids[-1]]), rel=1e-4)


def test_faults(tmp_path: Path) -> None:
    scorer = Continuations(exam_models.gpt(tmp_path, context=12))
    with pytest.raises(ValueError, match="the answer '' has no token behind the prompt 'The harbour'"):
        scorer.score("The harbour", [""])
    with pytest.raises(ValueError, match="tokens does not fit the context of 12"):
        scorer.score("The", [PROMPT * 3])
    assert scorer.prefix is not None
    with pytest.raises(ValueError, match="a prompt and each answer need at least one token"):
        scorer.prefix.nats(np.array([], dtype=np.int64), [np.array([1])])
    with pytest.raises(ValueError, match="a prompt of 12 tokens and an answer of 3 do not fit 12"):
        scorer.prefix.nats(np.ones(12, dtype=np.int64), [np.ones(3, dtype=np.int64)])
