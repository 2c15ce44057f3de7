"""Perplexity with its definition: windows against forwards done by hand, what each figure means, faults."""

import math
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from lm.evaluate.report import Definition, perplexity_decisions, perplexity_figures
from lm.evaluate.words import word_count
from lm.ngram.build import build_word_ngram
from lm.ngram.config import NgramConfig
from lm.text_model import open_model
from lm.texts.decoder import DecoderText
from lm.texts.windows import Window, window_nats
from lm.tokenizer import encode_documents, end_of_text_id
from tests.lm import exam_models
from tests.lm.exam_models import PROSE

LONG = " ".join(PROSE)


def ids_of(model: DecoderText, text: str) -> np.ndarray:
    return np.array([end_of_text_id(model.tokenizer), *encode_documents(model.tokenizer, [text])[0].tolist()])


def costs(model: DecoderText, ids: np.ndarray) -> np.ndarray:
    """-ln p of each id but the first, all read at once."""
    with torch.no_grad():
        logs = model.model(torch.from_numpy(ids[None, :-1]))[0].double().log_softmax(-1).numpy()
    return np.array([-logs[at, token] for at, token in enumerate(ids[1:])])


@pytest.fixture
def model(tmp_path: Path) -> DecoderText:
    made = exam_models.gpt(tmp_path)
    assert isinstance(made, DecoderText)
    return made


def windows(model: DecoderText, text: str, context: int, stride: int) -> np.ndarray:
    [found] = window_nats(model.model, [ids_of(model, text)], Window(context, stride), model.model.config.vocab)
    return found


def test_a_window_over_all_is_the_full_forward(model: DecoderText) -> None:
    short = PROSE[0]
    for stride in (1, 7, 48):
        np.testing.assert_allclose(windows(model, short, 48, stride), costs(model, ids_of(model, short)), rtol=1e-4)


def test_a_stride_of_one_shows_each_token_a_whole_context(model: DecoderText) -> None:
    ids, found = ids_of(model, LONG), windows(model, LONG, 8, 1)
    assert len(ids) > 40
    for at in range(1, len(ids)):
        assert found[at - 1] == pytest.approx(costs(model, ids[max(0, at - 8) : at + 1])[-1], rel=1e-4)


def test_a_stride_of_the_context_cuts_plain_windows(model: DecoderText) -> None:
    ids = ids_of(model, LONG)
    plain = [costs(model, ids[begin : begin + 9]) for begin in range(0, len(ids) - 1, 8)]
    np.testing.assert_allclose(windows(model, LONG, 8, 8), np.concatenate(plain), rtol=1e-4)


def test_a_first_token_that_is_not_scored_is_not_counted(model: DecoderText) -> None:
    """Neither are its nats: a text of one token more, whose other figures are the same, has the same figures."""
    table = perplexity_decisions(model, [PROSE[0]], Definition(begin=False))
    [row], figures = table.to_pylist(), perplexity_figures(table)
    [first] = model.tokenizer.decode_batch([model.encode([PROSE[0]])[0].ids[:1].tolist()])
    rest = PROSE[0].removeprefix(first)
    assert (row["characters"], row["words"]) == (len(rest), word_count([rest]))
    assert row["nats"] == pytest.approx(costs(model, ids_of(model, PROSE[0])[1:]).sum(), rel=1e-4)
    assert figures["perplexity_per_word"]["value"] == pytest.approx(math.exp(row["nats"] / word_count([rest])))
    long = perplexity_decisions(model, ["The harbour"], Definition(begin=False)).to_pylist()[0]
    assert long["words"] == word_count(["The harbour"]) - 1


def test_more_sight_is_what_a_smaller_stride_gives(model: DecoderText) -> None:
    """Every stride scores every token once; what is seen grows as the stride shrinks."""
    lengths = {len(windows(model, LONG, 12, stride)) for stride in (1, 3, 6, 12)}
    assert lengths == {len(ids_of(model, LONG)) - 1}


def test_each_figure_is_what_its_definition_says(model: DecoderText) -> None:
    texts = [PROSE[0], "天地 ß", PROSE[1] + "\n"]
    table = perplexity_decisions(model, texts, Definition())
    figures = perplexity_figures(table)
    nats = sum(score.nats for score in model.score(texts))
    size, characters = sum(len(text.encode()) for text in texts), sum(map(len, texts))
    assert figures["bits_per_byte"]["value"] == pytest.approx(nats / math.log(2) / size)
    assert figures["bits_per_character"]["value"] == pytest.approx(nats / math.log(2) / characters)
    tokens = sum(score.tokens for score in model.score(texts))
    assert figures["perplexity_per_token"]["value"] == pytest.approx(math.exp(nats / tokens))
    assert figures["words"]["value"] == 18 + 3 + 17  # punctuation and each Chinese character is a word
    assert figures["perplexity_per_word"]["value"] == pytest.approx(math.exp(nats / figures["words"]["value"]))
    assert sum(table["score"].to_numpy() * table["bytes"].to_numpy()) == pytest.approx(-nats / math.log(2))


def test_without_a_beginning_the_first_token_is_neither_scored_nor_counted(model: DecoderText) -> None:
    ids = ids_of(model, PROSE[0])[1:]
    table = perplexity_decisions(model, [PROSE[0]], Definition(begin=False))
    first = len(model.tokenizer.decode([int(ids[0])]).encode())
    assert table["tokens"].to_pylist() == [len(ids) - 1]
    assert table["bytes"].to_pylist() == [len(PROSE[0].encode()) - first]
    assert table["characters"].to_pylist() == [len(PROSE[0]) - first]
    assert table["nats"].to_pylist()[0] == pytest.approx(costs(model, ids).sum(), rel=1e-4)


def test_the_definition_stands_beside_the_number(model: DecoderText, tmp_path: Path) -> None:
    assert Definition().described(model)["context"] == 48
    assert Definition().described(model)["stride"] == 24
    assert Definition(20, 5, False).described(model) == {
        "context": 20,
        "stride": 5,
        "beginning": "the first token of each text is seen, not scored",
        "end_of_text": "not scored",
        "texts": "each by itself, not packed",
    }
    carried = Definition().described(exam_models.rnn(tmp_path))
    assert carried["context"] == "all before, as far as the model goes back"


def test_models_without_windows_are_scored_as_they_are(tmp_path: Path) -> None:
    model = exam_models.ngram(tmp_path)
    figures = perplexity_figures(perplexity_decisions(model, PROSE, Definition()))
    nats, size = sum(score.nats for score in model.score(PROSE)), sum(len(text) for text in PROSE)
    assert figures["bits_per_byte"]["value"] == pytest.approx(nats / math.log(2) / size)
    with pytest.raises(ValueError, match="a model of kind 'ngram' has no windows"):
        perplexity_decisions(model, PROSE, Definition(stride=2))


def test_texts_without_a_probability_are_counted(tmp_path: Path) -> None:
    """An average over them would be infinite, and no number says so."""
    build_word_ngram(["a b c"], NgramConfig(order=2, smoothing="mle"), tmp_path)
    model = open_model(tmp_path)
    figures = perplexity_figures(perplexity_decisions(model, ["a b", "c a", "a b c"], Definition()))
    assert figures["impossible"]["value"] == pytest.approx(1 / 3)
    assert set(figures) == {"impossible", "tokens", "bytes", "characters", "words"}
    assert "impossible" not in perplexity_figures(perplexity_decisions(model, ["a b"], Definition()))


def test_a_perplexity_that_no_float_holds_is_left_out() -> None:
    row = {
        "id": "0",
        "group": "all",
        "score": -1.0,
        "tokens": 9,
        "bytes": 9,
        "characters": 9,
        "words": 1,
        "nats": 710.0,
        "spelling_nats": 0.0,
    }
    table = pa.Table.from_pylist([row])
    assert "perplexity_per_word" not in perplexity_figures(table)
    assert perplexity_figures(table)["perplexity_per_token"]["value"] == pytest.approx(math.exp(710 / 9))


def test_faults(model: DecoderText) -> None:
    with pytest.raises(ValueError, match=r"the stride must lie in 1\.\.48, the context; it is 49"):
        perplexity_decisions(model, PROSE, Definition(stride=49))
    with pytest.raises(ValueError, match="a context of 64 tokens: the model has 48"):
        perplexity_decisions(model, PROSE, Definition(context=64))
    with pytest.raises(ValueError, match="not one token"):
        perplexity_figures(perplexity_decisions(model, [""], Definition()))
