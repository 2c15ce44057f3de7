"""The words of whole documents, as arrays of ids: cut together by language, and counted after line edits."""

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np

from data_quality.line_edits import EditedLines
from data_quality.ngrams import sentences_by_line
from data_quality.segment import WordRule, word_rule
from data_quality.vocabulary import WHITE_SPACE, Vocabulary


class TextWords(NamedTuple):
    """Word arrays of one text: ids of all words, and per line (str.splitlines) word and sentence counts."""

    ids: np.ndarray
    words_by_line: np.ndarray
    sentences_by_line: np.ndarray
    rule: WordRule

    def plain_by_line(self, vocabulary: Vocabulary) -> np.ndarray:
        """Words per line that are not of symbols only: int64[lines]."""
        plain = np.concatenate([[0], np.cumsum(~vocabulary.is_symbol[self.ids])])
        return np.diff(plain[np.concatenate([[0], np.cumsum(self.words_by_line)])])


def words_by_document(
    documents: Sequence[list[str]], languages: Sequence[str], vocabulary: Vocabulary
) -> list[TextWords]:
    """The words of some documents, given as their lines, each cut as its language (ISO 639) has it."""
    rules = [word_rule(language) for language in languages]
    found: dict[int, TextWords] = {}
    for rule in set(rules):  # in any order: no value depends on it
        chosen = [at for at, other in enumerate(rules) if other == rule]
        found |= zip(chosen, _cut([documents[at] for at in chosen], vocabulary, rule), strict=True)
    return [found[at] for at in range(len(documents))]


def _cut(documents: Sequence[list[str]], vocabulary: Vocabulary, rule: WordRule) -> Iterator[TextWords]:
    """Documents of one rule are cut together, since for short ones the calls cost most."""
    tokens, starts = vocabulary.tokens([*chain.from_iterable(documents)], rule)
    vocabulary.describe()
    is_word = tokens != WHITE_SPACE
    ids = tokens[is_word]
    before = np.concatenate([[0], np.cumsum(is_word)])[starts]
    words_by_line = np.diff(before)
    sentences = sentences_by_line(vocabulary.kinds[tokens], starts)
    start = 0
    for lines in documents:
        end = start + len(lines)
        yield TextWords(ids[before[start] : before[end]], words_by_line[start:end], sentences[start:end], rule)
        start = end


def count_kept(edited: EditedLines, words: TextWords, vocabulary: Vocabulary) -> tuple[int, int]:
    """Words and sentences of the lines that stay; only a line out of which something was cut is split anew."""
    whole, changed = _whole_and_changed(edited)
    by_line = words.words_by_line[whole]
    n_words = int(by_line.sum())
    n_sentences = int(words.sentences_by_line[whole][by_line > 0].sum())
    if changed:
        (again,) = _cut([changed], vocabulary, words.rule)
        n_words += len(again.ids)
        n_sentences += int(again.sentences_by_line.sum())
    return n_words, n_sentences


def removed_words(edited: EditedLines, words: TextWords, vocabulary: Vocabulary) -> float:
    """Share of the words, those of symbols only left out, that stand in what the line edits remove."""
    whole, changed = _whole_and_changed(edited)
    by_line = words.plain_by_line(vocabulary)
    total, kept = int(by_line.sum()), int(by_line[whole].sum())
    if changed:
        (again,) = _cut([changed], vocabulary, words.rule)
        kept += int(again.plain_by_line(vocabulary).sum())
    return max(total - kept, 0) / total if total else 0.0


def _whole_and_changed(edited: EditedLines) -> tuple[list[int], list[str]]:
    """Numbers of the lines that stay as they are, and what is left of the others that stay."""
    whole = [number for number, left in edited.kept if left is None]
    return whole, [left for _, left in edited.kept if left is not None]
