"""The words of whole documents, as arrays of ids: cut together by language, and counted after line edits."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from data_quality.interning import rows_of
from data_quality.line_edits import EditedLines
from data_quality.ngrams import sentences_by_line
from data_quality.segment import WordRule, word_rule
from data_quality.text_lines import Lines
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


def words_by_document(lines: Lines, languages: Sequence[str], vocabulary: Vocabulary) -> list[TextWords]:
    """The words of some texts, each cut as its language (ISO 639) has it.

    Texts of one rule are cut together, since for short ones the calls cost most.
    """
    rules = [word_rule(language) for language in languages]
    found: dict[int, TextWords] = {}
    for rule in set(rules):  # in any order: no value depends on it
        texts = [at for at, other in enumerate(rules) if other == rule]
        chosen = np.concatenate([np.arange(lines.first[at], lines.first[at + 1]) for at in texts])
        words = _cut(lines.codes, lines.starts[chosen], lines.ends[chosen], vocabulary, rule)
        sizes = np.diff(lines.first)[texts]
        line = word = 0
        for at, last_line in zip(texts, np.cumsum(sizes).tolist(), strict=True):
            by_line = words.words_by_line[line:last_line]
            last_word = word + int(by_line.sum())
            found[at] = TextWords(words.ids[word:last_word], by_line, words.sentences_by_line[line:last_line], rule)
            line, word = last_line, last_word
    return [found[at] for at in range(len(rules))]


def _cut(codes: np.ndarray, starts: np.ndarray, ends: np.ndarray, vocabulary: Vocabulary, rule: WordRule) -> TextWords:
    tokens, first = vocabulary.tokens(codes, starts, ends, rule)
    is_word = tokens != WHITE_SPACE
    words_by_line = np.diff(np.concatenate([[0], np.cumsum(is_word)])[first])
    return TextWords(tokens[is_word], words_by_line, sentences_by_line(vocabulary.kinds[tokens], first), rule)


def count_kept(edited: EditedLines, words: TextWords, vocabulary: Vocabulary) -> tuple[int, int]:
    """Words and sentences of the lines that stay; only a line out of which something was cut is split anew."""
    by_line = words.words_by_line[edited.whole]
    n_words = int(by_line.sum())
    n_sentences = int(words.sentences_by_line[edited.whole][by_line > 0].sum())
    if edited.changed:
        again = _cut_changed(edited, words, vocabulary)
        n_words += len(again.ids)
        n_sentences += int(again.sentences_by_line.sum())
    return n_words, n_sentences


def removed_words(edited: EditedLines, words: TextWords, vocabulary: Vocabulary) -> float:
    """Share of the words, those of symbols only left out, that stand in what the line edits remove."""
    by_line = words.plain_by_line(vocabulary)
    total, kept = int(by_line.sum()), int(by_line[edited.whole].sum())
    if edited.changed:
        kept += int(_cut_changed(edited, words, vocabulary).plain_by_line(vocabulary).sum())
    return max(total - kept, 0) / total if total else 0.0


def _cut_changed(edited: EditedLines, words: TextWords, vocabulary: Vocabulary) -> TextWords:
    return _cut(*rows_of(edited.changed), vocabulary, words.rule)
