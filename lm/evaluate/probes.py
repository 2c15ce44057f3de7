"""Probes: how much of a word's tag, or of its sense, a linear softmax reads off each frozen layer.

Tags: a softmax regression on the states of each layer of labelled words (Peters et al. 2018, section 5.3: lower layers
of ELMo know parts of speech best, upper ones senses). Beside it stands what needs no model: each word's most frequent
tag.

Senses by pseudo-words (Gale, Church & Yarowsky 1992; Schütze 1992): two words of a text are written as one and the same
stand-in, so that only the words around it say which of the two was meant. A static vector is the same for both:
chance by construction. A causal model sees the words before it only.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from lm.evaluate.decisions import Figure, by_group, decisions_table
from lm.evaluate.layers import layer_states
from lm.stop import ShouldStop, check, never
from lm.text_model import TextModel

COLUMNS = {"layer": pa.int32(), "label": pa.string(), "predicted": pa.string(), "word": pa.string()}
BASELINE = "most_frequent"


def fit_probe(states: np.ndarray, labels: Sequence[str], strength: float = 1.0, seed: int = 0):  # type: ignore[no-untyped-def]
    """A softmax regression (scikit-learn, L-BFGS, L2) on standardised states [words, width]; predicts label names.

    `strength`: scikit-learn's C, the inverse of the penalty. Raises ValueError for a single class.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    if len(set(labels)) < 2:
        raise ValueError(f"a probe needs two classes to tell apart; all {len(labels)} words are {labels[0]!r}")
    probe = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=300, tol=1e-3, random_state=seed))
    return probe.fit(states, list(labels))


def tag_decisions(
    model: TextModel,
    train: Sequence[tuple[Sequence[str], Sequence[str]]],
    test: Sequence[tuple[Sequence[str], Sequence[str]]],
    joined: bool = False,
    should_stop: ShouldStop = never,
) -> pa.Table:
    """A row for each word of `test` and each layer, and for the most frequent tag of the word in `train`.

    train, test: (words, tags) of each sentence. Groups are `layer_N` and `most_frequent`.
    """
    learned, known = layer_states(model, [words for words, _ in train], joined, should_stop)
    asked, asked_known = layer_states(model, [words for words, _ in test], joined, should_stop)
    tags = [tag for (_, row), here in zip(train, known, strict=True) for tag, k in zip(row, here, strict=True) if k]
    words = [
        (f"{number}/{place}", word, tag)
        for number, ((sentence, row), here) in enumerate(zip(test, asked_known, strict=True))
        for place, (word, tag, k) in enumerate(zip(sentence, row, here, strict=True))
        if k
    ]
    by_name = {BASELINE: (-1, _most_frequent(train, [word for _, word, _ in words]))}
    for layer in range(len(learned)):
        check(should_stop, "fitting probes")
        by_name[f"layer_{layer}"] = (layer, list(fit_probe(learned[layer], tags).predict(asked[layer])))
    return _table(by_name, words)


def sense_decisions(
    model: TextModel,
    sentences: Sequence[Sequence[str]],
    pairs: Sequence[tuple[str, str]],
    stand_in: str,
    most: int = 100,
    should_stop: ShouldStop = never,
) -> pa.Table:
    """A row for each occurrence of the test half of each pair of words and each layer: which of the two was meant?

    Up to `most` occurrences of each word, as many of one as of the other; every second one is learned from. Groups are
    `layer_N` and `most_frequent`, which is chance. Raises ValueError naming a word that hardly occurs.
    """
    rows: list[dict[str, object]] = []
    for pair in pairs:
        check(should_stop, "telling senses apart")
        found = {word: _occurrences(sentences, word, most) for word in pair}
        count = min(map(len, found.values())) // 2 * 2
        if count < 8:
            few = min(found, key=lambda word: len(found[word]))
            raise ValueError(f"{few!r} stands in {len(found[few])} sentences: 8 are needed to tell it from the other")
        cases = [(word, sentence, place) for word in pair for sentence, place in found[word][:count]]
        written = [
            [stand_in if at == place else word for at, word in enumerate(sentence)] for _, sentence, place in cases
        ]
        states, known = layer_states(model, written, should_stop=should_stop)
        at, chosen, labels = 0, [], []
        for (word, _, place), here in zip(cases, known, strict=True):
            if here[place]:
                chosen.append(at + int(here[:place].sum()))
                labels.append(word)
            at += int(here.sum())
        own = states[:, chosen]
        learn = np.arange(len(labels)) % 2 == 0
        asked = [
            (f"{'-'.join(pair)}/{number}", label)
            for number, (label, learned) in enumerate(zip(labels, learn, strict=True))
            if not learned
        ]
        for layer in range(len(own)):
            probe = fit_probe(own[layer][learn], [label for label, seen in zip(labels, learn, strict=True) if seen])
            predicted = probe.predict(own[layer][~learn])
            rows += [
                _row(f"layer_{layer}/{id}", f"layer_{layer}", layer, label, str(guess), stand_in)
                for (id, label), guess in zip(asked, predicted, strict=True)
            ]
        rows += [_row(f"{BASELINE}/{id}", BASELINE, -1, label, pair[0], stand_in) for id, label in asked]
    return decisions_table(rows, COLUMNS)


def probe_figures(table: pa.Table) -> dict[str, Figure]:
    """The accuracy of each layer and of `most_frequent`; `best` is that of the best layer, which was chosen on the same
    words and so is a little too good."""
    groups = by_group(table)
    layers = {name: each for name, each in groups.items() if name != BASELINE}
    best = max(layers.values(), key=lambda each: each["value"] or 0.0)
    ordered = sorted(layers, key=lambda name: int(name.removeprefix("layer_")))
    return {"best": best, BASELINE: groups[BASELINE], **{name: layers[name] for name in ordered}}


def _occurrences(sentences: Sequence[Sequence[str]], word: str, most: int) -> list[tuple[Sequence[str], int]]:
    """The first place of the word in each sentence that has it, once."""
    found = [(sentence, list(sentence).index(word)) for sentence in sentences if list(sentence).count(word) == 1]
    return found[:most]


def _most_frequent(train: Sequence[tuple[Sequence[str], Sequence[str]]], words: Sequence[str]) -> list[str]:
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    total: Counter[str] = Counter()
    for sentence, tags in train:
        for word, tag in zip(sentence, tags, strict=True):
            counts[word][tag] += 1
            total[tag] += 1
    [(common, _)] = total.most_common(1)
    return [counts[word].most_common(1)[0][0] if word in counts else common for word in words]


def _table(by_name: dict[str, tuple[int, list[str]]], words: Sequence[tuple[str, str, str]]) -> pa.Table:
    rows = [
        _row(f"{name}/{id}", name, layer, tag, str(guess), word)
        for name, (layer, predicted) in by_name.items()
        for (id, word, tag), guess in zip(words, predicted, strict=True)
    ]
    return decisions_table(rows, COLUMNS)


def _row(id: str, group: str, layer: int, label: str, predicted: str, word: str) -> dict[str, object]:
    return {
        "id": id,
        "group": group,
        "score": float(label == predicted),
        "layer": layer,
        "label": label,
        "predicted": predicted,
        "word": word,
    }
