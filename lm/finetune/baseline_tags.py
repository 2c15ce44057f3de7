"""What spelling and neighbours can do for tags: indicator features and logistic regression, each word for itself.

The features are those of Ratnaparkhi (1996), with the shape of a word as taggers of names have it (Bikel et al. 1997).
"""

from collections.abc import Iterator, Sequence
from itertools import groupby, pairwise
from typing import Any

import numpy as np
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression

from lm.finetune.forms.base import Answer

AFFIX = 4
"""Characters of the longest beginning and end of a word that are features."""
AROUND = 2
"""Words on each side that are features."""
OUTSIDE = ("<s>", "</s>")


def shape(word: str) -> str:
    """What a word looks like: X for a capital, x for any other letter, 9 for a digit, else the character; runs of the
    same count once. `McDonald's` is `XxXx'x`, `1996-08` is `9-9`."""
    signs = ("9" if c.isdigit() else "X" if c.isupper() else "x" if c.isalpha() else c for c in word)
    return "".join(sign for sign, _ in groupby(signs))


def features_of(words: Sequence[str]) -> Iterator[list[str]]:
    """Of each word of a sentence: itself, its shape, beginnings and ends, its neighbours, it and a neighbour."""
    low = [word.lower() for word in words]
    padded = [OUTSIDE[0]] * AROUND + low + [OUTSIDE[1]] * AROUND
    for place, word in enumerate(words):
        here = padded[place : place + 2 * AROUND + 1]
        found = ["always", f"word={word}", f"low={low[place]}", f"shape={shape(word)}"]
        for size in range(1, min(AFFIX, len(word)) + 1):
            found += [f"begins={word[:size]}", f"ends={word[-size:]}"]
        found += [f"{at - AROUND:+d}={near}" for at, near in enumerate(here) if at != AROUND]
        before, this, behind = here[AROUND - 1 : AROUND + 2]
        found += [f"before={before} {this}", f"behind={this} {behind}"]
        for step, name in ((-1, "shape before"), (1, "shape behind")):
            if 0 <= place + step < len(words):
                found.append(f"{name}={shape(words[place + step])}")
        yield found


class WordTagger:
    """Sentences as sparse matrices of the features that training had, a row for each word, and what a softmax says of
    them. What training has not seen says nothing."""

    def __init__(self, tags: Sequence[str]) -> None:
        self.tags = list(tags)
        self._number = {tag: n for n, tag in enumerate(self.tags)}
        self._columns = CountVectorizer(analyzer=_as_they_are, binary=True, dtype=np.float64)

    @property
    def features(self) -> int:
        """How many different features training had."""
        return len(self._columns.vocabulary_)

    def learn_features(self, sentences: Sequence[Sequence[str]]) -> Any:
        """The features of training, sparse [words, features]."""
        return self._columns.fit_transform(_all_features(sentences))

    def look_up(self, sentences: Sequence[Sequence[str]]) -> Any:
        """The same of other sentences."""
        return self._columns.transform(_all_features(sentences))

    def numbers(self, tags: Sequence[Sequence[str]]) -> np.ndarray:
        """Every word's tag as its place among the tags, int64 [words]."""
        return np.array([self._number[tag] for of in tags for tag in of], np.int64)

    def answers(self, model: LogisticRegression, features: Any, sentences: Sequence[Sequence[str]]) -> list[Answer]:
        """The most probable tag of each word and its probability, sentence by sentence. As behind the tagging head
        nothing makes a sequence of them, and I- without a beginning is read as one."""
        p = model.predict_proba(features)
        best = p.argmax(1)
        said = [self.tags[number] for number in model.classes_[best]]
        sure = p[np.arange(len(best)), best].astype(np.float32).tolist()
        ends = np.cumsum([0, *(len(words) for words in sentences)]).tolist()
        return [{"predicted": said[begin:end], "probabilities": sure[begin:end]} for begin, end in pairwise(ends)]


def _all_features(sentences: Sequence[Sequence[str]]) -> Iterator[list[str]]:
    return (found for words in sentences for found in features_of(words))


def _as_they_are(found: Any) -> Any:
    return found
