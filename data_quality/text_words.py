"""The words of some documents, as arrays of ids: cut together by language, and counted after line edits."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from data_quality.interning import encode_strings
from data_quality.line_edits import EditedLines
from data_quality.ngrams import sentences_by_line
from data_quality.segment import WordRule, word_rule
from data_quality.text_lines import Lines
from data_quality.vocabulary import WHITE_SPACE, Vocabulary


class Words(NamedTuple):
    """The words of some texts in a row."""

    ids: np.ndarray  # int32[words]
    offsets: np.ndarray  # int64[texts + 1]: text i has ids[offsets[i]:offsets[i + 1]]
    words_by_line: np.ndarray  # int64[lines], as is the next
    sentences_by_line: np.ndarray
    rules: Sequence[WordRule]  # how each text is cut

    def of(self, text: int) -> np.ndarray:
        """The ids of one text."""
        return self.ids[self.offsets[text] : self.offsets[text + 1]]

    def sentences(self, lines: Lines) -> np.ndarray:
        """Sentences in the lines of each text that have words: int64[texts]."""
        return np.diff(_before(np.where(self.words_by_line > 0, self.sentences_by_line, 0))[lines.first])


def cut_words(lines: Lines, languages: Sequence[str], vocabulary: Vocabulary) -> Words:
    """The words of some texts, each cut as its language (ISO 639) has it.

    Texts of one rule are cut together, since for short ones the calls cost most.
    """
    rules = [word_rule(language) for language in languages]
    sizes = np.diff(lines.first)
    words_by_line = np.zeros(lines.first[-1], dtype=np.int64)
    sentences_by_line = np.zeros(lines.first[-1], dtype=np.int64)
    found = []
    for rule in set(rules):  # in any order: no value depends on it
        chosen = np.repeat([other == rule for other in rules], sizes)
        ids, words_by_line[chosen], sentences_by_line[chosen] = _cut(
            lines.codes, lines.starts[chosen], lines.ends[chosen], vocabulary, rule
        )
        found.append((chosen, ids))
    before = _before(words_by_line)
    ids = np.empty(before[-1], dtype=np.int32)
    for chosen, of_rule in found:
        ids[np.repeat(chosen, words_by_line)] = of_rule
    return Words(ids, before[lines.first], words_by_line, sentences_by_line, rules)


def _before(counts: np.ndarray) -> np.ndarray:
    """The sum of all counts before each, and of all: int64[counts + 1]."""
    return np.concatenate([[0], np.cumsum(counts)])


def _cut(
    codes: np.ndarray, starts: np.ndarray, ends: np.ndarray, vocabulary: Vocabulary, rule: WordRule
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Word ids of some lines in a row, words and sentences of each line."""
    tokens, first = vocabulary.tokens(codes, starts, ends, rule)
    is_word = tokens != WHITE_SPACE
    words_by_line = np.diff(_before(is_word)[first])
    return tokens[is_word], words_by_line, sentences_by_line(vocabulary.kinds[tokens], first)


def count_kept(edited: EditedLines, text: int, lines: Lines, words: Words, vocabulary: Vocabulary) -> tuple[int, int]:
    """Words and sentences of the lines of a text that stay; only what something was cut out of is split anew."""
    whole = edited.whole + lines.first[text]
    by_line = words.words_by_line[whole]
    n_words = int(by_line.sum())
    n_sentences = int(words.sentences_by_line[whole][by_line > 0].sum())
    if edited.changed:
        ids, _, sentences = _cut(*encode_strings(edited.changed), vocabulary, words.rules[text])
        n_words += len(ids)
        n_sentences += int(sentences.sum())
    return n_words, n_sentences


def removed_words(edited: EditedLines, text: int, lines: Lines, words: Words, vocabulary: Vocabulary) -> float:
    """Share of a text's words, those of symbols only left out, that stand in what the line edits remove."""
    plain = _before(~vocabulary.is_symbol[words.of(text)])
    by_line = words.words_by_line[lines.first[text] : lines.first[text + 1]]
    plain_by_line = np.diff(plain[_before(by_line)])
    total, kept = int(plain_by_line.sum()), int(plain_by_line[edited.whole].sum())
    if edited.changed:
        ids, _, _ = _cut(*encode_strings(edited.changed), vocabulary, words.rules[text])
        kept += int((~vocabulary.is_symbol[ids]).sum())
    return max(total - kept, 0) / total if total else 0.0
