"""Windows over long inputs: tags aligned with pieces of words, answers across windows, none lost or counted twice."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lm.finetune.backbone import open_backbone
from lm.finetune.config import FinetuneConfig
from lm.finetune.forms.base import Reader
from lm.finetune.forms.questions import QuestionForm, QuestionItems
from lm.finetune.forms.tagging import NOT_SCORED, TaggingForm
from lm.finetune.framing import framing_of
from lm.finetune.run import answer
from lm.finetune.train import build
from lm.finetune.windows import best_windows, windows
from lm.labelled.forms import QuestionAnswering, Tagging
from lm.models.bert_config import BertConfig
from lm.models.gpt_config import GPTConfig
from lm.tokenizer import load_tokenizer
from tests.lm.finetune_cases import ASKS, backbone_folder, examples, tokenizer_folder

TAGS = Tagging(tags=("O", "B-PER", "I-PER"))


@pytest.fixture(scope="module")
def readers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    root = tmp_path_factory.mktemp("tokenizers")
    pieces, byte = (load_tokenizer(tokenizer_folder(root / n, n == "wordpiece")) for n in ("wordpiece", "bytes"))

    def encoder(limit: int) -> Reader:
        return Reader(pieces, framing_of(BertConfig(), pieces, pieces.get_vocab_size()), limit)

    def decoder(limit: int) -> Reader:
        return Reader(byte, framing_of(GPTConfig(), byte, byte.get_vocab_size()), limit)

    return {"encoder": encoder, "decoder": decoder}


@pytest.mark.parametrize(
    ("length", "size", "stride"), [(0, 4, 2), (3, 4, 2), (4, 4, 2), (5, 4, 2), (23, 8, 3), (23, 8, 8)]
)
def test_windows_cover_every_place(length: int, size: int, stride: int) -> None:
    found = windows(length, size, stride)
    assert {p for w in found for p in range(w.begin, w.end)} == set(range(length))
    assert all(w.end - w.begin == size for w in found[:-1])
    assert [w.begin for w in found] == [n * stride for n in range(len(found))]
    assert found[-1].end == length
    best = best_windows(found)
    for place in range(length):
        inside = [
            (min(place - w.begin, w.end - 1 - place) + 0.01 * (w.end - w.begin), -n)
            for n, w in enumerate(found)
            if w.begin <= place < w.end
        ]
        assert best[place] == -max(inside)[1]
    causal = best_windows(found, causal=True)
    assert all(
        place - found[n].begin == max(place - w.begin for w in found if w.begin <= place < w.end)
        for place, n in enumerate(causal)
    )


def test_a_stride_that_leaves_places_out_is_refused() -> None:
    with pytest.raises(ValueError, match=r"windows of 4 tokens cannot move on by 5: the stride must be within 1..4"):
        windows(10, 4, 5)


# --- tagging ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("last", [False, True])
def test_one_piece_of_each_word_is_scored(readers: Any, last: bool) -> None:
    reader = readers["decoder"](40)
    form = TaggingForm(TAGS, reader, last_piece=last)
    words, tags = ["Eve", "and", "Evening", "London"], ["B-PER", "O", "O", "I-PER"]
    items = form.items([{"id": "0", "words": words, "tags": tags}])
    texts = [word if not n else f" {word}" for n, word in enumerate(words)]
    sizes = [len(reader.tokenizer.encode(t, add_special_tokens=False).ids) for t in texts]
    assert max(sizes) > 2
    ends = 1 + np.cumsum(sizes)
    expected = np.full(2 + sum(sizes), NOT_SCORED)
    expected[ends - 1 if last else ends - sizes] = [1, 0, 0, 2]
    assert items.tags[0].tolist() == expected.tolist()
    whole = reader.tokenizer.encode(" ".join(words), add_special_tokens=False).ids
    assert items.rows[0].tokens[1:-1].tolist() == whole  # words alone make the same tokens as the sentence
    batch = items.batch(np.array([0]))
    assert form.count(batch) == 4
    assert batch["weights"].sum() == 4


@pytest.mark.parametrize("kind", ["encoder", "decoder"])
@pytest.mark.parametrize("causal", [False, True])
def test_every_word_of_a_long_sentence_is_scored_once(readers: Any, kind: str, causal: bool) -> None:
    form = TaggingForm(TAGS, readers[kind](12), stride=4, causal=causal)
    rows = [
        {**row, "tags": ["B-PER" if n % 3 else "O" for n in range(len(row["words"]))]}
        for row in examples("tagging", 20)
    ]
    items = form.items(rows)
    assert len(items) > len(rows)
    assert all(len(row.tokens) <= 12 for row in items.rows)
    seen = [(owner, word) for owner, words in zip(items.owners, items.words, strict=True) for word, _ in words]
    assert sorted(seen) == [(n, w) for n, row in enumerate(rows) for w in range(len(row["words"]))]
    for owner, words, tags in zip(items.owners, items.words, items.tags, strict=True):
        scored = {place: rows[owner]["tags"][word] for word, place in words}
        assert {p: form.ask.tags[t] for p, t in enumerate(tags) if t != NOT_SCORED} == scored
    # an oracle that gives each scored position its tag is right everywhere
    outputs = [np.where(tags[:, None] == np.arange(3), 5.0, 0.0) for tags in items.tags]
    assert [a["predicted"] for a in form.answers(items, outputs)] == [row["tags"] for row in rows]


def test_words_that_are_odd(readers: Any) -> None:
    form = TaggingForm(TAGS, readers["encoder"](8))
    items = form.items([{"id": "0", "words": ["\u200b", "x" * 300, "Ada"]}])  # nothing left of it; one [UNK]; a word
    assert [sum(len(w) for w in items.words)] == [3]
    with pytest.raises(ValueError, match=r"example 1: a word without a character cannot be tagged: \['a', ''\]"):
        form.items([{"id": "0", "words": ["a"]}, {"id": "1", "words": ["a", ""]}])
    long = TaggingForm(TAGS, readers["decoder"](8))
    found = long.items([{"id": "0", "words": ["Ada", "x" * 300, "Bob"]}])
    assert max(len(row.tokens) for row in found.rows) == 8  # a word longer than a window loses its end
    assert sorted(word for words in found.words for word, _ in words) == [0, 1, 2]
    chinese = Tagging(tags=("O", "B-LOC"), joined=True)
    joined = TaggingForm(chinese, readers["decoder"](40)).items([{"id": "0", "words": list("京和")}])
    assert (
        joined.rows[0].tokens[1:-1].tolist()
        == readers["decoder"](9).tokenizer.encode("京和", add_special_tokens=False).ids
    )


# --- questions -------------------------------------------------------------------------------------------------------

CONTEXT = "the a of with under over and then Ada some very the a of Rome with under over and then some very Paris the"


def question(answer: str = "Rome", start: int | None = None, **more: Any) -> dict[str, Any]:
    start = CONTEXT.index(answer) if start is None else start
    return {"id": "q", "context": CONTEXT, "question": "where ?", "answers": [answer], "starts": [start], **more}


def decoded(form: QuestionForm, items: QuestionItems, n: int) -> str:
    """What start and end of a window cut out of the context; "" for the null position."""
    start, end, _ = items.targets[n]
    row, window = items.rows[n], items.places[n]
    if start == form._null(row):
        assert end == start
        return ""
    offsets = items.offsets[items.owners[n]]
    first, last = (int(place) - row.second + window.begin for place in (start, end))
    return items.contexts[items.owners[n]][offsets[first][0] : offsets[last][1]].strip()


@pytest.mark.parametrize("kind", ["encoder", "decoder"])
def test_answers_stand_in_the_windows_that_hold_them(readers: Any, kind: str) -> None:
    form = QuestionForm(QuestionAnswering(), readers[kind](14 if kind == "encoder" else 20), stride=5)
    items = form.items([question()])
    assert len(items) > 2
    said = [decoded(form, items, n) for n in range(len(items))]
    assert set(said) == {"", "Rome"}
    for n, window in enumerate(items.places):
        begin, end = items.offsets[0][window.begin][0], items.offsets[0][window.end - 1][1]
        holds = begin <= CONTEXT.index("Rome") and CONTEXT.index("Rome") + 4 <= end
        assert (said[n] == "Rome") == holds
        row = items.rows[n]
        assert len(row.tokens) <= form.reader.limit
        asked = form.reader.tokenizer.encode("where ?", add_special_tokens=False).ids
        assert row.tokens[1 : 1 + len(asked)].tolist() == asked


def test_wrong_offsets_are_found_again_or_left_out(readers: Any) -> None:
    form = QuestionForm(QuestionAnswering(), readers["encoder"](60))
    there = CONTEXT.index("Rome")
    for shown in (there, there - 3, there + 2, 0):
        items = form.items([question("Rome", shown)])
        assert decoded(form, items, 0) == "Rome"
    twice = form.items([question("with under", CONTEXT.rindex("with under") + 1)])
    start = int(twice.targets[0][0]) - twice.rows[0].second
    assert twice.offsets[0][start][0] == CONTEXT.rindex("with under")  # the nearer of two
    missing = form.items([question("Berlin", 3), question()])
    assert missing.targets[:, 2].tolist() == [0, 1]
    assert form.count(missing.batch(np.arange(2))) == 1
    second = form.items([question("Berlin", 3, answers=["Berlin", "Paris"], starts=[3, CONTEXT.index("Paris")])])
    assert decoded(form, second, 0) == "Paris"


def brute_force(form: QuestionForm, items: QuestionItems, outputs: list[np.ndarray]) -> tuple[float, str, float]:
    """The best span over all windows and all pairs, and the score of none."""
    found = []

    def asked(i: int, j: int) -> int:
        """The window that a span is asked of."""
        holding = [(n, w) for n, w in enumerate(items.places) if w.begin <= i and j < w.end]
        return max(holding, key=lambda of: min(i - of[1].begin, of[1].end - 1 - j) + 0.01 * (of[1].end - of[1].begin))[
            0
        ]

    for n, window in enumerate(items.places):
        scores, row = outputs[n], items.rows[n]
        for i in range(window.begin, window.end):
            for j in range(i, min(window.end, i + form.max_answer)):
                if asked(i, j) == n:
                    at = row.second - window.begin
                    total = float(scores[at + i, 0]) + float(scores[at + j, 1])
                    text = items.contexts[0][items.offsets[0][i][0] : items.offsets[0][j][1]].strip()
                    found.append((total, text))
    null = min(float(outputs[n][form._null(items.rows[n])].sum()) for n in range(len(items)))
    return (*max(found), null)


@pytest.mark.parametrize("kind", ["encoder", "decoder"])
@pytest.mark.parametrize("seed", range(4))
def test_the_best_span_over_windows_is_that_of_brute_force(readers: Any, kind: str, seed: int) -> None:
    form = QuestionForm(QuestionAnswering(unanswerable=True), readers[kind](20), stride=5, max_answer=4)
    items = form.items([question()])
    draw = np.random.default_rng(seed)
    outputs = [draw.normal(size=(len(row.tokens), 2)).astype(np.float32) for row in items.rows]
    score, text, null = brute_force(form, items, outputs)
    [said] = form.answers(items, outputs)
    assert said["span"] == text == CONTEXT[said["start"] : said["end"]]
    assert said["null_difference"] == pytest.approx(null - score, abs=1e-5)
    assert said["predicted"] == ("" if null - score > 0 else text)
    assert 0 < said["probability"] < 1
    form.threshold = null - score + 1
    assert form.answers(items, outputs)[0]["predicted"] == text
    form.threshold = null - score - 1
    assert form.answers(items, outputs)[0]["predicted"] == ""


def test_an_empty_context_has_no_answer(readers: Any) -> None:
    form = QuestionForm(QuestionAnswering(), readers["encoder"](20))
    items = form.items([{"id": "q", "context": " ", "question": "where ?"}])
    [said] = form.answers(items, [np.zeros((len(items.rows[0].tokens), 2), np.float32)])
    assert (said["predicted"], said["start"], said["probability"]) == ("", -1, 0)


def test_a_long_question_leaves_room_for_its_context(readers: Any) -> None:
    form = QuestionForm(QuestionAnswering(), readers["encoder"](19), max_question=64)
    items = form.items([question(question="where is " * 50)])
    assert all(row.last >= 1 and len(row.tokens) <= 19 for row in items.rows)
    short = QuestionForm(QuestionAnswering(), readers["encoder"](19), max_question=3).items(
        [question(question="where is " * 50)]
    )
    assert all(row.second == 1 + 3 + 1 for row in short.rows)


@pytest.mark.parametrize("name", ["tagging", "unanswerable"])
def test_items_answer_alone_as_together(tmp_path: Path, name: str) -> None:
    """Whatever other examples, and so windows and padding, go along."""
    pretrained, tokenizer = open_backbone(backbone_folder(tmp_path, "bert"))
    config = FinetuneConfig(max_tokens=16, stride=4).resolve(pretrained.settings)
    made = build(ASKS[name][0], True, pretrained, tokenizer, config)
    model = made.model.double().eval()
    rows = examples(name, 9)
    together = answer(model, made.form, made.form.items(rows), batch=4)
    for row, said in zip(rows, together, strict=True):
        [alone] = answer(model, made.form, made.form.items([row]))
        assert alone["predicted"] == said["predicted"]
    assert torch.get_default_dtype() == torch.float32
