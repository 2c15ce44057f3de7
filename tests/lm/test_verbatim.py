"""Verbatim runs: against looking for every run by brute force; what a model remembers, with the evidence."""

from pathlib import Path

import numpy as np
import pytest

from lm.evaluate.memorised import Written, memorised_decisions, memorised_figures, write_texts
from lm.evaluate.verbatim import Verbatim
from lm.order import draw_seed
from lm.texts.base import TextModel
from tests.lm import exam_models
from tests.lm.exam_models import PROSE


def brute_force(text: np.ndarray, documents: list[np.ndarray], span: int) -> list[bool]:
    runs = {tuple(ids[at : at + span]) for ids in documents for at in range(len(ids) - span + 1)}
    return [tuple(text[at : at + span]) in runs for at in range(max(0, len(text) - span + 1))]


@pytest.mark.parametrize("span", [1, 2, 3, 7])
def test_runs_are_those_that_brute_force_finds(span: int) -> None:
    draw = np.random.Generator(np.random.Philox(draw_seed(0, "runs", span)))
    documents = [draw.integers(4, size=size) for size in (0, 1, 30, 200, 55)]
    texts = [draw.integers(4, size=size) for size in (0, span - 1, span, 40, 120)] + [documents[3][20:80]]
    found = Verbatim(texts, span).search(zip("abcde", documents, strict=True))
    for text, each in zip(texts, found, strict=True):
        expected = brute_force(text, documents, span)
        assert each.runs.tolist() == expected
        covered = {place for at, here in enumerate(expected) if here for place in range(at, at + span)}
        assert (each.covered, each.ids) == (len(covered), len(text))
        if any(expected):
            at = expected.index(True)
            document = documents["abcde".index(str(each.document))]
            assert each.at is not None
            assert document[each.at : each.at + span].tolist() == text[at : at + span].tolist()
    assert found[-1].share == 1.0


def test_equal_hashes_of_different_runs_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    from lm.evaluate import verbatim

    monkeypatch.setattr(verbatim, "_BASE", np.uint64(1))  # a run is then the sum of its ids
    found = Verbatim([np.array([1, 2, 3])], 3).search([("d", np.array([3, 2, 1, 1, 2]))])
    assert not found[0].runs.any()


def test_the_order_of_documents_decides_nothing() -> None:
    text, documents = np.arange(10), [("a", np.arange(4, 12)), ("b", np.arange(0, 7))]
    one, other = (Verbatim([text], 3).search(order)[0] for order in (documents, documents[::-1]))
    assert one.runs.tolist() == other.runs.tolist() == [True] * 8
    assert (one.document, one.at) == (other.document, other.at) == ("b", 0)
    same = [("z", np.arange(0, 7)), ("y", np.arange(0, 7))]
    found = [Verbatim([text], 3).search(order)[0] for order in (same, same[::-1])]
    assert [each.document for each in found] == ["y", "y"]  # the least id of those that have the run


@pytest.fixture
def model(tmp_path: Path) -> TextModel:
    return exam_models.ngram(tmp_path, order=5)


def test_a_model_that_knows_its_corpus_by_heart_is_found_out(model: TextModel) -> None:
    [encoded] = model.encode([PROSE[0]])
    decode = model.model.names.decode  # type: ignore[attr-defined]
    prompt, truth = decode(encoded.ids[:8].tolist()), decode(encoded.ids[8:].tolist())
    written = write_texts(model, [("prompted/0", prompt, truth)], 60, temperature=0.0)
    written += [Written("unprompted/0", "", "Nothing of this stands anywhere, not even once in the whole text.")]
    documents = list(zip("abcdef", PROSE, strict=True))
    tokens = [(id, model.encode([text])[0].ids) for id, text in documents]
    table = memorised_decisions(model, written, tokens, documents, span=6)
    first, second = table.to_pylist()
    assert first["document"] == "a"
    assert first["continues"]
    assert first["covered"] == first["tokens"] > 6
    assert first["words_covered"] > 6
    assert (second["runs_found"], second["document"], second["words_covered"]) == (0, None, 0)
    figures = memorised_figures(table)
    assert figures["prompted/runs"]["value"] == figures["prompted/tokens"]["value"] == 1.0
    assert figures["prompted/continued"]["value"] == 1.0
    assert figures["unprompted/tokens"]["value"] == figures["unprompted/texts"]["value"] == 0.0


def test_the_seed_decides_what_is_written(model: TextModel, tmp_path: Path) -> None:
    for each in (model, exam_models.gpt(tmp_path)):
        prompts = [(str(n), "", "") for n in range(3)]
        texts = [[w.text for w in write_texts(each, prompts, 12, seed)] for seed in (1, 1, 2)]
        assert texts[0] == texts[1] != texts[2]
        assert len(set(texts[0])) > 1


def test_a_run_has_at_least_one_id() -> None:
    with pytest.raises(ValueError, match="a run has at least one id, not 0"):
        Verbatim([], 0)
