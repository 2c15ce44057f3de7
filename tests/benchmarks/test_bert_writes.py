"""A masked model read left to right: the chain rule, what it draws, and the figures beside a GPT's."""

import json
import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.bert_writes import LeftToRight, beginning, bits, compared, main, measured, refereed, writer
from lm.artifact import save_model
from lm.models.bert import Bert
from lm.models.bert_config import BertConfig
from lm.special_tokens import special_ids, special_tokens
from lm.texts.base import Score
from lm.texts.bert import BertText
from lm.tokenizer import encode_documents, load_tokenizer, train_tokenizer
from lm.tokenizers.config import ByteBPEConfig
from tests.lm import exam_models


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("models")
    exam_models.bert(made)
    exam_models.gpt(made)
    exam_models.ngram(made)
    return made


@pytest.fixture(scope="module")
def bert(folder: Path) -> LeftToRight:
    return writer(str(folder / "bert"))


def alone(bert: LeftToRight, before: list[int]) -> torch.Tensor:
    """ln p of what comes next, from one row without padding."""
    special = special_tokens(bert.tokenizer)
    row = torch.tensor([[special.cls, *before, special.mask, special.sep]])
    with torch.no_grad():
        return bert.model.masked_logits(bert.model.hidden_states(row))[0, -2].log_softmax(-1)


def test_each_token_is_scored_from_those_before_it_alone(bert: LeftToRight) -> None:
    text = " ".join(exam_models.PROSE)
    [ids] = encode_documents(bert.tokenizer, [text])
    room = bert.model.config.context - 3
    assert len(ids) > room + 5  # the last ones see a part of what stands before them
    [nats] = bert.token_nats([ids])
    for place in (0, 1, 7, room, room + 1, len(ids) - 1):
        before = ids[max(0, place - room) : place].tolist()
        assert nats[place] == pytest.approx(-float(alone(bert, before)[ids[place]]), abs=1e-5)
    [other] = bert.token_nats([np.concatenate([ids[:9], ids[:3]])])
    np.testing.assert_allclose(other[:9], nats[:9], atol=1e-5)
    assert bert.token_nats([np.empty(0, np.int64)])[0].shape == (0,)
    [score] = bert.score([text])
    assert (score.tokens, score.bytes) == (len(ids), len(text.encode()))
    assert score.nats == pytest.approx(nats.sum())


def test_a_masked_model_of_byte_pairs_is_read_alike(tmp_path: Path) -> None:
    """RoBERTa's marks, its places and its one segment; nothing of a text is dropped."""
    config = ByteBPEConfig(vocab_size=300, special_tokens="roberta")
    train_tokenizer(exam_models.PROSE * 4, config, tmp_path / "tokenizer")
    vocab = load_tokenizer(tmp_path / "tokenizer").get_vocab_size()
    sizes = {"layers": 1, "width": 16, "heads": 2, "context": 40, "segments": 1, "position_offset": 2}
    model = Bert(BertConfig(**sizes, pair_head=False, vocab=vocab), seed=1)
    save_model(model, tmp_path / "tokenizer", tmp_path / "model")
    read = writer(str(tmp_path / "model"))
    [ids] = encode_documents(read.tokenizer, [exam_models.PROSE[0]])
    [nats] = read.token_nats([ids])
    for place in (0, 3, len(ids) - 1):
        before = ids[max(0, place - read.room) : place].tolist()
        assert nats[place] == pytest.approx(-float(alone(read, before)[ids[place]]), abs=1e-5)
    assert "<" not in read.generate("The", 20, temperature=1.0, top_k=None)


def test_greedy_text_is_the_likeliest_token_each_time(bert: LeftToRight) -> None:
    prompt = "The old harbour"
    ids = encode_documents(bert.tokenizer, [prompt])[0].tolist()
    begun, marks = len(ids), sorted(special_ids(bert.tokenizer))
    for _ in range(6):
        chances = alone(bert, ids)
        chances[marks] = -math.inf
        ids.append(int(chances.argmax()))
    written = bert.generate(prompt, 6, temperature=0.0)
    read, whole = bert.tokenizer.decode(ids[:begun]), bert.tokenizer.decode(ids)
    assert read + written == whole
    assert bert.generate(prompt, 6, temperature=0.0, stop=[written[2:4]]) == written[:2]
    drawn = [bert.generate(prompt, 30, seed=seed, temperature=1.0, top_k=None) for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert "[" not in "".join(drawn)  # no mark


def test_a_piece_of_a_word_goes_on_with_it(bert: LeftToRight, monkeypatch: pytest.MonkeyPatch) -> None:
    """No `##` stands between, and a new word stands behind a space."""
    names = bert.tokenizer.get_vocab()
    piece, word = (
        next(names[name] for name in names if re.fullmatch(form, name)) for form in ("##[a-z]+", "[a-z]{2,}")
    )
    drawn = iter([piece, word])

    def told(befores: Sequence[np.ndarray]) -> torch.Tensor:
        logits = torch.zeros(1, len(names))
        logits[0, next(drawn)] = 9.0
        return logits

    monkeypatch.setattr(bert, "next_logits", told)
    one, two = bert.tokenizer.id_to_token(piece), bert.tokenizer.id_to_token(word)
    assert bert.generate("The old", 2, temperature=0.0) == f"{one.removeprefix('##')} {two}"


def test_gibbs_fills_every_place(bert: LeftToRight) -> None:
    texts = [bert.gibbs(12, 2, seed) for seed in (0, 0, 1)]
    assert texts[0] == texts[1] != texts[2]
    assert "[" not in "".join(texts)
    counts = [bert.gibbs(1, 1, seed) for seed in range(200)]
    chances = alone(bert, []).exp()
    chances[sorted(special_ids(bert.tokenizer))] = 0
    best = int(chances.argmax())
    p = float(chances[best] / chances.sum())  # one place: what stands there is drawn from what the model says
    share = counts.count(str(bert.tokenizer.decode([best]))) / len(counts)
    assert abs(share - p) < 4 * math.sqrt(p * (1 - p) / len(counts))


def test_figures_are_compared_over_the_same_documents() -> None:
    first, second = [Score(3, 8.0, 4), Score(2, 2.0, 12)], [Score(3, 4.0, 4), Score(2, 4.0, 12)]
    assert bits(first)(np.arange(2)) == pytest.approx(10 / 16 / math.log(2))
    assert bits(first)(np.array([1, 1])) == pytest.approx(2 / 12 / math.log(2))  # not the mean over documents
    found = compared("bits_per_byte", bits(first), bits(second), 2)
    assert found["bert - gpt"]["value"] == pytest.approx(2 / 16 / math.log(2))
    assert found["bert - gpt"]["low"] == pytest.approx(-2 / 12 / math.log(2))
    assert found["bert - gpt"]["high"] == pytest.approx(4 / 4 / math.log(2))


def test_the_command_prints_figures_and_samples(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "held-out.txt").write_text("\n".join([*exam_models.PROSE, "", "Too short."]) + "\n")
    models = [str(folder / name) for name in ("bert", "gpt")]
    some = [
        "--characters",
        "40",
        "--samples",
        "1",
        "--tokens",
        "5",
        "--sweeps",
        "1",
        "--referee",
        str(folder / "ngram"),
    ]
    main([*models, str(tmp_path / "held-out.txt"), *some])
    lines: list[dict[str, Any]] = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    score, cloze, *rest = lines
    assert (score["figure"], score["items"], cloze["figure"], cloze["items"]) == ("bits_per_byte", 7, "cloze", 6)
    for who in ("bert", "gpt"):
        assert score[who]["low"] < score[who]["value"] < score[who]["high"]
    assert score["bert - gpt"]["value"] == pytest.approx(score["bert"]["value"] - score["gpt"]["value"])
    texts = [beginning(text, 40) for text in [*exam_models.PROSE, "Too short."]]
    model = writer(models[0])
    nats = sum(float(each.sum()) for each in model.token_nats([found.ids for found in model.encode(texts)]))
    assert score["bert"]["value"] == pytest.approx(nats / math.log(2) / sum(len(t.encode()) for t in texts), rel=1e-6)
    assert [line["sample"] for line in rest[:3]] == ["bert", "gpt", "bert, gibbs"]
    assert rest[0]["prompt"] == "The harbour was quiet and the small"
    assert [line["referee"] for line in rest[3:]] == ["bert", "gpt", "bert, gibbs"]
    assert all(line["texts"] and line["low"] <= line["value"] <= line["high"] for line in rest[3:])


def test_beginnings_end_with_a_word() -> None:
    assert beginning("two  words\nand more", 9) == "two words"
    assert beginning("two words", 8) == "two"
    assert beginning("unbreakable", 5) == "unbre"
    assert beginning(" \n", 5) == ""


def test_what_cannot_be_asked_is_said(folder: Path, bert: LeftToRight) -> None:
    with pytest.raises(ValueError, match=r"gpt: a model of kind 'gpt'; the first one is masked \(kind bert\)"):
        writer(str(folder / "gpt"))
    assert isinstance(bert.text, BertText)
    with pytest.raises(ValueError, match="there is no text to read"):
        measured(bert, bert, [])
    with pytest.raises(ValueError, match="no text has 5 words: there is no last word to ask for"):
        measured(bert, bert, ["Too short."])
    with pytest.raises(ValueError, match=r"scores texts \(`score`\), not packed sequences"):
        bert.bits_per_byte()
    assert refereed(bert, []) == []
