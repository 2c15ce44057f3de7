"""Tasks that even a small model can do in context: going on with a format that the prompt shows.

The formats are those that running text and records have; the words come from the corpus that the model read, so that
nothing but the pattern is new. Every item has a format of its own and examples of its own: without examples nothing
says which choice is right, and chance is one in four; each example makes it plainer.

`repeat`  harbour = harbour        the word again, against three other words
`list`    * harbour                the mark that begins the next line, against three other marks
`record`  Rope: harbour            the name of a record's second field, against three other names
          Tide: vessel
`case`    harbour HARBOUR          the word in capitals, against it as it is, as a title, and another word in capitals
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from lm.evaluate.continuations import Continuations
from lm.evaluate.decisions import Figure, decisions_table, mean, share
from lm.order import draw_seed
from lm.stop import ShouldStop, check, never
from lm.text_model import TextModel

CHOICES = 4
MOST = 16  # examples that an item has
WORD = re.compile(r"(?<![^\s])[a-z]{3,8}(?![^\s.,;:])")
MARKS = ("- ", "* ", "+ ", "> ", "# ", "o ", "~ ", "= ")
COLUMNS = {
    "shots": pa.int32(),
    "label": pa.int32(),
    "predicted": pa.int32(),
    "choices": pa.list_(pa.string()),
    "log_probs": pa.list_(pa.float64()),
    "right_bits_per_byte": pa.float64(),  # of the right choice: what examples do long before it is the likeliest
    "dropped": pa.int32(),
}


@dataclass(frozen=True)
class PatternItem:
    """Examples of one format, each with its end, what is asked in it, and which choice is right."""

    id: str
    kind: str
    examples: tuple[str, ...]
    question: str
    choices: tuple[str, ...]
    label: int


def frequent_words(texts: Iterable[str], count: int = 400, skip: int = 60) -> list[str]:
    """Words of 3 to 8 lower-case letters by falling count, without the most frequent ones, which follow anything.

    Raises ValueError if there are too few to make choices of.
    """
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(WORD.findall(text))
    words = sorted(counts, key=lambda word: (-counts[word], word))[skip : skip + count]
    if len(words) < 40:
        raise ValueError(
            f"the text has {len(words)} words of 3 to 8 lower-case letters beyond the {skip} most frequent: patterns"
            " need 40 to choose from; give more text"
        )
    return words


def pattern_items(kind: str, words: Sequence[str], count: int, seed: int = 0) -> list[PatternItem]:
    """`count` items of one kind, decided by the seed alone. Raises ValueError for a kind that there is not."""
    if kind not in PATTERNS:
        raise ValueError(f"no pattern {kind!r}; there are {', '.join(PATTERNS)}")
    items = []
    for number in range(count):
        draw = np.random.Generator(np.random.Philox(draw_seed(seed, "pattern", kind, number)))
        drawn = [words[at] for at in draw.choice(len(words), size=2 * MOST + 8, replace=False)]
        examples, question, right, wrong = PATTERNS[kind](drawn, draw)
        label = int(draw.integers(CHOICES))
        choices = (*wrong[:label], right, *wrong[label:])
        items.append(PatternItem(f"{kind}/{number}", kind, tuple(examples), question, choices, label))
    return items


Drawn = tuple[list[str], str, str, list[str]]
"""Examples, question, the right choice, three wrong ones."""


def _repeat(words: list[str], draw: np.random.Generator) -> Drawn:
    shown, (asked, *others) = words[:MOST], words[2 * MOST : 2 * MOST + CHOICES]
    return [f"{word} = {word}\n" for word in shown], f"{asked} =", f" {asked}", [f" {word}" for word in others]


def _list(words: list[str], draw: np.random.Generator) -> Drawn:
    mark, *others = [MARKS[at] for at in draw.permutation(len(MARKS))[:CHOICES]]
    asked = words[-1]
    return [f"{mark}{word}\n" for word in words[:MOST]], "", mark + asked, [other + asked for other in others]


def _record(words: list[str], draw: np.random.Generator) -> Drawn:
    first, *names = [word.capitalize() for word in words[2 * MOST : 2 * MOST + 1 + CHOICES]]
    values = zip(words[:MOST], words[MOST : 2 * MOST], strict=True)
    examples = [f"{first}: {a}\n{names[0]}: {b}\n\n" for a, b in values]
    asked = words[-1]
    return examples, f"{first}: {asked}\n", f"{names[0]}:", [f"{name}:" for name in names[1:]]


def _case(words: list[str], draw: np.random.Generator) -> Drawn:
    asked, other = words[2 * MOST], words[2 * MOST + 1]
    wrong = [f" {asked}", f" {asked.capitalize()}", f" {other.upper()}"]
    return [f"{word} {word.upper()}\n" for word in words[:MOST]], asked, f" {asked.upper()}", wrong


PATTERNS: dict[str, Callable[[list[str], np.random.Generator], Drawn]] = {
    "repeat": _repeat,
    "list": _list,
    "record": _record,
    "case": _case,
}


def pattern_decisions(
    model: TextModel,
    items: Sequence[PatternItem],
    shots: Sequence[int],
    progress: Callable[[int], None] = lambda n: None,
    should_stop: ShouldStop = never,
) -> pa.Table:
    """A row for each item and number of examples; the choice of the greatest ln p per byte. Groups are `KIND/SHOTS`.

    Examples that do not fit the context are left out from the front, and counted.
    """
    if bad := [k for k in shots if not 0 <= k <= MOST]:
        raise ValueError(f"{bad[0]} examples: an item has 0 to {MOST}")
    scorer = Continuations(model)
    rows = []
    for item in items:
        check(should_stop, "asking patterns")
        for k in shots:
            examples = list(item.examples[:k])
            while examples and not scorer.fits("".join(examples) + item.question, item.choices):
                examples = examples[1:]
            scores = scorer.score("".join(examples) + item.question, item.choices)
            predicted = int(np.argmin([score.nats / score.bytes for score in scores]))
            rows.append(
                {
                    "id": f"{item.id}/{k}",
                    "group": f"{item.kind}/{k}",
                    "score": float(predicted == item.label),
                    "shots": k,
                    "label": item.label,
                    "predicted": predicted,
                    "choices": list(item.choices),
                    "log_probs": [-score.nats for score in scores],
                    "right_bits_per_byte": scores[item.label].nats / np.log(2) / scores[item.label].bytes,
                    "dropped": k - len(examples),
                }
            )
        progress(1)
    return decisions_table(rows, COLUMNS)


def pattern_figures(table: pa.Table) -> dict[str, Figure]:
    """`shots_K`, the accuracy over all kinds with K examples, `bits_per_byte_K`, what the right choice costs there,
    and `KIND/K`, the accuracy of one kind; `gain_K`: the mean over items of what K examples add to none. Chance is
    1/4."""
    found: dict[str, Figure] = {}
    shots, score = table["shots"].to_numpy(), table["score"].to_numpy()
    numbers = sorted(set(shots.tolist()))
    for k in numbers:
        found[f"shots_{k}"] = share(score[shots == k])
        found[f"bits_per_byte_{k}"] = mean(table["right_bits_per_byte"].to_numpy()[shots == k])
    for k in numbers[1:] if numbers and numbers[0] == 0 else ():
        found[f"gain_{k}"] = mean(score[shots == k] - score[shots == 0])
    groups = np.array(table["group"].to_pylist(), dtype=object)
    for name in dict.fromkeys(groups.tolist()):
        found[name] = share(score[groups == name])
    return found
