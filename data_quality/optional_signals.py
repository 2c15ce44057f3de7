"""The optional groups of signals, each measured only where a configuration asks for it (signal_choice.py)."""

import heapq
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from data_quality.bad_words import BadWordSignals
from data_quality.blank_lines import BLANK_LINES
from data_quality.chinese import TraditionalCharacters, char_repetition, chinese_signals
from data_quality.config import SignalsConfig
from data_quality.custom import CustomDocument, CustomSignals
from data_quality.ngrams import contained_characters
from data_quality.ratio import ratio
from data_quality.urls import BannedUrls
from data_quality.vocabulary import Vocabulary

Values = dict[str, float]


@dataclass(frozen=True)
class Measured:
    """A document with its words as a group of signals sees it."""

    document: CustomDocument
    ids: np.ndarray  # int32[words], into `vocabulary`
    vocabulary: Vocabulary


class OptionalSignals:
    """What the groups of one configuration need, loaded once per process."""

    def __init__(self, config: SignalsConfig) -> None:
        self._groups: list[Callable[[Measured], Values]] = []
        for group in config.groups:
            self._groups.append(_measure(group, config))
        if config.custom:
            own = CustomSignals(config.custom)
            self._groups.append(lambda measured: own.measure(measured.document))

    def measure(self, measured: Measured) -> Values:
        """All signals of all groups."""
        values: Values = {}
        for group in self._groups:
            values |= group(measured)
        return values


@lru_cache(maxsize=4)
def optional_signals(config_json: str) -> OptionalSignals:
    """The groups of a configuration, given as JSON, of this process."""
    return OptionalSignals(SignalsConfig.model_validate_json(config_json))


def _measure(group: str, config: SignalsConfig) -> Callable[[Measured], Values]:
    match group:
        case "paper_repetition":
            return _paper_repetition
        case "char_repetition":
            return lambda measured: char_repetition(measured.document.text)
        case "chinese":
            return lambda measured: chinese_signals(measured.document.text)
        case "paragraphs":
            return _paragraphs
        case "stop_words":
            return _stop_words
        case "traditional" if config.traditional is not None:
            characters = TraditionalCharacters(config.traditional)
            return lambda measured: characters.measure(measured.document.text)
        case "url" if config.url is not None:
            urls = BannedUrls(config.url)
            return lambda measured: urls.measure(_url(measured.document))
        case "bad_words" if config.bad_words is not None:
            bad_words = BadWordSignals(config.bad_words)
            return lambda measured: bad_words.measure(
                measured.document.text, measured.document.language, len(measured.ids)
            )
    raise ValueError(f"the signals of the group {group} lack what they need: pass them through resolve_signals")


def _url(document: CustomDocument) -> str | None:
    if '"url"' not in document.metadata_json:
        return None
    url = json.loads(document.metadata_json).get("url")
    return url if isinstance(url, str) else None


def _paragraphs(measured: Measured) -> Values:
    """C4's paragraph filter (datatrove filters/c4_filters.py `C4ParagraphFilter`)."""
    longest = heapq.nlargest(3, map(len, measured.document.text.split("\n")))
    return {"third_longest_line": longest[2] if len(longest) == 3 else 0}


def _stop_words(measured: Measured) -> Values:
    english = measured.vocabulary.stop_words["en"]  # DCLM's, whatever the language
    return {"stop_word_count": int(np.isin(measured.ids, english).sum())}


def _paper_repetition(measured: Measured) -> Values:
    """Gopher's repetition in the words of arXiv 2112.11446, section A.1.1: see the signal catalogue."""
    text, vocabulary = measured.document.text, measured.vocabulary
    ids = measured.ids[~vocabulary.is_symbol[measured.ids]]
    lengths = vocabulary.lengths[ids]
    contained = contained_characters(ids, lengths)
    characters = int(lengths.sum())
    values = {f"paper_top_{n}_gram": ratio(int(contained[n - 2]), characters) for n in (2, 3, 4)}
    values |= {f"paper_dup_{n}_gram": ratio(int(contained[n - 2]), characters) for n in range(5, 11)}
    for name, elements in (("line", text.split("\n")), ("para", BLANK_LINES.split(text))):
        counts = Counter(stripped for element in elements if (stripped := element.strip()))
        repeated = {element: count for element, count in counts.items() if count > 1}
        values[f"paper_dup_{name}_frac"] = ratio(sum(repeated.values()), counts.total())
        values[f"paper_dup_{name}_char_frac"] = ratio(_characters(repeated), _characters(counts))
    return values


def _characters(counts: dict[str, int]) -> int:
    return sum(len(element) * count for element, count in counts.items())
