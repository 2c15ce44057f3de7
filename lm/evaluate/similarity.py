"""Word vectors against people: pairs ranked by likeness (Spearman), and analogies that are right."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lm.evaluate.metrics_labels import spearman
from lm.stop import ShouldStop, check, never
from lm.vectors.neighbours import WordVectors
from lm.vectors.vocabulary import SPACE

BATCH = 512


@dataclass(frozen=True)
class Agreement:
    """Spearman's rank correlation with what people said, over the `known` pairs of `pairs` that have both vectors."""

    spearman: float
    known: int
    pairs: int


def read_pairs(path: Path) -> list[tuple[str, str, float]]:
    """Pairs with a score: two words and a number with tabs or commas between them; lines that begin with # are none.

    Raises ValueError naming the line that is not so. A first line whose score is no number is a header.
    """
    pairs = []
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        fields = line.split("\t" if "\t" in line else ",")
        try:
            pairs.append((fields[0].strip(), fields[1].strip(), float(fields[2])))
        except (IndexError, ValueError) as error:
            if not pairs and number == 1:
                continue
            raise ValueError(f"{path}, line {number}: not two words and a score with tabs between: {line!r}") from error
    if not pairs:
        raise ValueError(f"{path}: there are no pairs of words in it")
    return pairs


def agreement(vectors: WordVectors, pairs: list[tuple[str, str, float]]) -> Agreement:
    """How the cosines rank the pairs, beside how people did. Case is ignored: of equal words the most frequent counts.

    Raises ValueError if fewer than two pairs are known.
    """
    rows = folded_rows(vectors, len(vectors))
    known = [
        (rows[a], rows[b], score) for x, y, score in pairs if (a := x.lower()) in rows and (b := y.lower()) in rows
    ]
    if len(known) < 2:
        raise ValueError(f"{len(known)} of {len(pairs)} pairs have vectors: there is nothing to rank")
    pairs_of_rows = np.array([pair[:2] for pair in known])
    first, second = (vectors.directions[pairs_of_rows[:, side]].astype(np.float64) for side in (0, 1))
    cosines = (first * second).sum(axis=1)
    return Agreement(spearman(cosines, np.array([score for _, _, score in known])), len(known), len(pairs))


def read_analogies(path: Path) -> dict[str, list[tuple[str, str, str, str]]]:
    """Sections of analogies `a b c d` (a is to b as c is to d), as in word2vec's questions-words.txt.

    Raises ValueError naming the line that is not four words.
    """
    sections: dict[str, list[tuple[str, str, str, str]]] = {}
    name = ""
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), start=1):
        if line.startswith(":"):
            name = line[1:].strip()
        elif words := line.split():
            if len(words) != 4:
                raise ValueError(f"{path}, line {number}: not four words: {line!r}")
            sections.setdefault(name, []).append((words[0], words[1], words[2], words[3]))
    if not sections:
        raise ValueError(f"{path}: there are no analogies in it")
    return sections


def analogy_accuracy(
    vectors: WordVectors,
    sections: dict[str, list[tuple[str, str, str, str]]],
    among: int = 300_000,
    should_stop: ShouldStop = never,
) -> dict[str, tuple[int, int]]:
    """(right, asked) of each section and of "total"; asked are those whose four words have vectors.

    d is sought among the `among` most frequent words, less a, b and c (3CosAdd). Case is ignored.
    """
    rows = folded_rows(vectors, among)
    directions = vectors.directions[: min(among, len(vectors))]
    found: dict[str, tuple[int, int]] = {}
    first = np.array([rows[_folded(word)] for word in vectors.words[: len(directions)]])  # the same word in lower case
    for name, questions in sections.items():
        lowered = [[word.lower() for word in question] for question in questions]
        known = np.array(
            [[rows[word] for word in q] for q in lowered if all(word in rows for word in q)], dtype=np.int64
        )
        right = 0
        for part in _parts(known.reshape(-1, 4)):
            check(should_stop, "asking analogies")
            a, b, c = (directions[part[:, side]] for side in range(3))
            cosines = (b - a + c) @ directions.T
            np.put_along_axis(cosines, part[:, :3], -np.inf, axis=1)
            right += int((first[cosines.argmax(axis=1)] == part[:, 3]).sum())
        found[name] = (right, len(known))
    found["total"] = (sum(r for r, _ in found.values()), sum(n for _, n in found.values()))
    return found


def _parts(questions: np.ndarray) -> Iterator[np.ndarray]:
    for begin in range(0, len(questions), BATCH):
        yield questions[begin : begin + BATCH]


def folded_rows(vectors: WordVectors, among: int) -> dict[str, int]:
    """The row of each word in lower case among the most frequent ones; of several, the most frequent."""
    rows: dict[str, int] = {}
    for row, word in enumerate(vectors.words[:among]):
        rows.setdefault(_folded(word), row)
    return rows


def _folded(word: str) -> str:
    return word.lower().removeprefix(SPACE)
