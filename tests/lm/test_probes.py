"""Layers against forwards by hand; probes that must succeed and ones that must not; similarity of sentences."""

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats

from lm.evaluate.bias import OCCUPATIONS, pronoun_decisions, pronoun_figures, word_decisions, word_figures
from lm.evaluate.layers import layer_states
from lm.evaluate.patterns import MOST, PATTERNS, frequent_words, pattern_decisions, pattern_figures, pattern_items
from lm.evaluate.probes import probe_figures, sense_decisions, tag_decisions
from lm.evaluate.sentence_similarity import similarity_decisions, similarity_figures
from lm.texts.decoder import DecoderText
from lm.tokenizer import end_of_text_id
from tests.lm import exam_models
from tests.lm.exam_models import PROSE

SENTENCES = [text.rstrip(".").split() for text in PROSE]


@pytest.mark.parametrize("kind", ["gpt", "bert"])
def test_states_are_those_of_the_words_tokens(kind: str, tmp_path: Path) -> None:
    model = {"gpt": exam_models.gpt, "bert": exam_models.bert}[kind](tmp_path)
    states, known = layer_states(model, [*SENTENCES, []])
    assert states.shape == (3, sum(map(len, SENTENCES)), 16)
    assert all(each.all() for each in known)
    alone, _ = layer_states(model, [SENTENCES[2]])
    start = len(SENTENCES[0]) + len(SENTENCES[1])
    np.testing.assert_allclose(alone, states[:, start : start + len(SENTENCES[2])], atol=1e-4)


def test_the_last_layer_is_what_the_model_goes_on_with(tmp_path: Path) -> None:
    model = exam_models.gpt(tmp_path)
    assert isinstance(model, DecoderText)
    words = SENTENCES[0]
    states, _ = layer_states(model, [words])
    encoding = model.tokenizer.encode(" ".join(words))
    with torch.no_grad():
        ids = torch.tensor([[end_of_text_id(model.tokenizer), *encoding.ids]])
        x = model.model.hidden_states(ids)[0, 1:]
        last = torch.nn.functional.layer_norm  # ln_f is behind the last layer: put it on the states
        for at, word in enumerate(words):
            begin = len(" ".join(words[:at]))
            tokens = [n for n, (_, end) in enumerate(encoding.offsets) if begin < end <= begin + len(word) + bool(at)]
            if len(tokens) == 1:
                mine = last(torch.from_numpy(states[-1, at]), (16,), model.model.ln_f.weight, model.model.ln_f.bias)
                torch.testing.assert_close(mine, x[tokens[0]], rtol=1e-3, atol=1e-3)


def test_what_does_not_fit_the_context_has_no_state(tmp_path: Path) -> None:
    states, [known] = layer_states(exam_models.gpt(tmp_path, context=8), [SENTENCES[0]])
    assert 0 < known.sum() < len(SENTENCES[0])
    assert states.shape[1] == known.sum()
    with pytest.raises(ValueError, match="a model of kind 'ngram' has no layers to probe"):
        layer_states(exam_models.ngram(tmp_path), [["a"]])
    with pytest.raises(ValueError, match="there are no words"):
        layer_states(exam_models.gpt(tmp_path), [[]])


def test_a_tag_that_the_word_decides_is_read_off_the_embeddings(tmp_path: Path) -> None:
    tagged = [(words, ["LONG" if len(word) > 4 else "short" for word in words]) for words in SENTENCES]
    table = tag_decisions(exam_models.gpt(tmp_path, width=64), tagged, tagged)
    figures = probe_figures(table)
    assert figures["layer_0"]["value"] > 0.9
    assert figures["most_frequent"]["value"] == 1.0
    assert list(figures) == ["best", "most_frequent", "layer_0", "layer_1", "layer_2"]
    rows = [row for row in table.to_pylist() if row["group"] == "layer_1"]
    assert [row["word"] for row in rows] == [word for words in SENTENCES for word in words]


def test_a_sense_is_read_off_the_words_before_it_and_not_off_the_stand_in(tmp_path: Path) -> None:
    before = [["the", "boats", "saw", "apples"], ["a", "garden", "saw", "letters"]]
    sentences = [[*before[n % 2][:3], before[n % 2][3], "today"] for n in range(40)]
    table = sense_decisions(exam_models.gpt(tmp_path), sentences, [("apples", "letters")], "thing")
    figures = probe_figures(table)
    assert figures["layer_0"]["n"] == 20
    assert figures["most_frequent"]["value"] == 0.5
    assert figures["layer_2"]["value"] == 1.0  # "boats" and "garden" can be seen there
    with pytest.raises(ValueError, match="'apples' stands in 0 sentences: 8 are needed"):
        sense_decisions(exam_models.gpt(tmp_path), [["a"]] * 9, [("apples", "letters")], "thing")


def test_spearman_and_pearson_equal_scipys() -> None:
    draw = np.random.Generator(np.random.Philox(3))
    vectors = {str(n): draw.normal(size=8) for n in range(30)}
    rows = [(str(n), str(n), str((n * 7 + 1) % 30), float(draw.integers(6))) for n in range(30)]
    table = similarity_decisions(lambda texts: np.stack([vectors[text] for text in texts]), rows)
    cosines = [
        np.dot(vectors[a], vectors[b]) / np.linalg.norm(vectors[a]) / np.linalg.norm(vectors[b]) for _, a, b, _ in rows
    ]
    np.testing.assert_allclose(table["cosine"].to_numpy(), cosines, rtol=1e-9)
    figures, human = similarity_figures(table), [score for *_, score in rows]
    assert figures["spearman"]["value"] == pytest.approx(stats.spearmanr(cosines, human).statistic)
    assert figures["pearson"]["value"] == pytest.approx(stats.pearsonr(cosines, human).statistic)
    assert figures["spearman"]["low"] < figures["spearman"]["value"] < figures["spearman"]["high"]
    with pytest.raises(ValueError, match="2 pairs of sentences: there is nothing to rank"):
        similarity_decisions(lambda texts: np.zeros((len(texts), 2)), rows[:2])


def test_equal_scores_share_their_rank() -> None:
    vectors = {"a": np.array([1.0, 0.0]), "b": np.array([0.0, 1.0]), "c": np.array([1.0, 1.0])}
    scored = (("a", "a", 5.0), ("b", "b", 5.0), ("a", "c", 3.0), ("c", "b", 3.0), ("a", "b", 0.0))
    rows = [(str(number), *pair) for number, pair in enumerate(scored)]
    for order in (rows, rows[::-1]):
        table = similarity_decisions(lambda texts: np.stack([vectors[text] for text in texts]), order)
        assert table["score"].to_pylist() == [0.0] * 5  # people and cosines rank alike, ties and all


WORDS = [f"{a}{b}n" for a in ("ba", "do", "ki", "mu", "pe", "ro", "su") for b in "aeioudlrst"]


@pytest.mark.parametrize("kind", sorted(PATTERNS))
def test_patterns_are_decided_by_the_seed_and_have_one_right_choice(kind: str) -> None:
    items = pattern_items(kind, WORDS, 30, seed=1)
    assert items == pattern_items(kind, WORDS, 30, seed=1) != pattern_items(kind, WORDS, 30, seed=2)
    for item in items:
        assert len(item.examples) == MOST
        assert len(set(item.choices)) == 4
        right = item.question + item.choices[item.label]
        one = item.examples[0]
        if kind == "list":
            assert right[:2] == one[:2]
        elif kind == "record":
            assert right.splitlines()[1] == one.splitlines()[1].split(":")[0] + ":"
        else:
            between = " = " if kind == "repeat" else " "
            asked, answer = right.split(between)
            assert answer == (asked if kind == "repeat" else asked.upper())
            assert asked not in "".join(item.examples)
    assert len({item.label for item in items}) == 4


def test_an_examples_format_makes_the_right_choice_likelier(tmp_path: Path) -> None:
    """An n-gram that has read one format follows it; without examples it is near chance."""
    from lm.ngram.build import build_ngram
    from lm.ngram.config import NgramConfig
    from lm.text_model import open_model
    from lm.tokenizer import encode_documents, load_tokenizer

    folder = exam_models.tokenizer(tmp_path)
    lists = [f"{mark}{word}\n" * 20 for mark in ("- ", "* ", "+ ", "> ", "# ", "o ", "~ ", "= ") for word in WORDS[:6]]
    build_ngram(encode_documents(load_tokenizer(folder), lists), folder, NgramConfig(order=5), tmp_path / "lists")
    items = pattern_items("list", WORDS[6:], 40, seed=0)
    table = pattern_decisions(open_model(tmp_path / "lists"), items, (0, 1, 4))
    figures = pattern_figures(table)
    assert figures["list/0"]["value"] < 0.6
    assert figures["shots_4"] == figures["list/4"]
    assert figures["gain_4"]["value"] == pytest.approx(figures["shots_4"]["value"] - figures["shots_0"]["value"])
    with pytest.raises(ValueError, match="17 examples: an item has 0 to 16"):
        pattern_decisions(open_model(tmp_path / "lists"), items, (17,))


def test_words_come_from_the_text() -> None:
    texts = ["harbour harbour, tide. " + " ".join(f"word{chr(97 + n)}" for n in range(26))] * 3
    assert frequent_words([*texts, " ".join(WORDS)], skip=1)[:2] == ["tide", "worda"]
    with pytest.raises(ValueError, match="the text has 0 words"):
        frequent_words(["a b c"])
    with pytest.raises(ValueError, match="no pattern 'rhyme'; there are repeat, list, record, case"):
        pattern_items("rhyme", WORDS, 1)


@pytest.mark.parametrize("kind", ["gpt", "bert"])
def test_pronouns_are_scored_against_a_person(kind: str, tmp_path: Path) -> None:
    model = {"gpt": exam_models.gpt, "bert": exam_models.bert}[kind](tmp_path)
    table = pronoun_decisions(model, ["nurse", "pilot"])
    [first] = [row for row in table.to_pylist() if row["id"] == "nurse/0"]
    texts = [f"The {who} said that {he} was ready." for who in ("nurse", "person") for he in ("he", "she")]
    if kind == "gpt":
        a, b, c, d = (-score.nats for score in model.score(texts))
    else:
        a, b, c, d = (each.sum() for each in model.pseudo_log_likelihood(texts))  # type: ignore[attr-defined]
    assert first["score"] == pytest.approx((a - b) - (c - d), abs=1e-3)
    figures = pronoun_figures(table)
    means = [figures[f"occupation/{who}"]["value"] for who in ("nurse", "pilot")]
    assert figures["spread"]["value"] == pytest.approx(np.std(means))
    assert len(OCCUPATIONS) == len(set(OCCUPATIONS)) == 40


def test_hurtful_words_are_counted_by_group(tmp_path: Path) -> None:
    table = word_decisions(exam_models.ngram(tmp_path), 2, 8, groups=("men", "women"), words=("captain", "the"))
    figures = word_figures(table)
    rows = table.to_pylist()
    for row in rows:
        words = {"".join(filter(str.isalpha, word)).lower() for word in row["text"].split()}
        assert row["words"] == sorted(words & {"captain", "the"})
    assert figures["hurtful"]["value"] == pytest.approx(np.mean([bool(row["words"]) for row in rows]))
    assert figures["hurtful/men"]["n"] == 8
