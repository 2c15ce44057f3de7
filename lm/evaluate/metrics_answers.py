"""Exact match and F1 of answers: the rules of SQuAD 1.1 and 2.0 (Rajpurkar et al. 2016, 2018), and of CMRC 2018 for
Chinese (Cui et al. 2019). All values are of one question, the best over its right answers."""

import re
import string
from collections import Counter
from collections.abc import Callable, Sequence

PUNCTUATION = frozenset(string.punctuation)
ARTICLES = re.compile(r"\b(a|an|the)\b")
CMRC_PUNCTUATION = frozenset("-:_*^/\\~`+=，。：？！“”；’《》·、「」（）－～『』")
CHINESE = re.compile(r"[\u4e00-\u9fa5]")

Score = Callable[[str, str], float]


def normal_answer(text: str) -> str:
    """Lower case, without punctuation (ASCII) and the articles a, an, the; single spaces."""
    kept = "".join(c for c in text.lower() if c not in PUNCTUATION)
    return " ".join(ARTICLES.sub(" ", kept).split())


def exact_match(answer: str, predicted: str) -> float:
    """1 if both are equal once normalised."""
    return float(normal_answer(answer) == normal_answer(predicted))


def token_f1(answer: str, predicted: str) -> float:
    """F1 of the words that both have, as often as both have them; 0 if either has none (SQuAD 1.1)."""
    words, said = normal_answer(answer).split(), normal_answer(predicted).split()
    return _f1(sum((Counter(words) & Counter(said)).values()), len(words), len(said))


def token_f1_or_none(answer: str, predicted: str) -> float:
    """The same; 1 if neither has a word (SQuAD 2.0: no answer, and none was given)."""
    if not normal_answer(answer) and not normal_answer(predicted):
        return 1.0
    return token_f1(answer, predicted)


def chinese_exact_match(answer: str, predicted: str) -> float:
    """1 if both are equal without punctuation, in lower case."""
    return float(_without_punctuation(answer) == _without_punctuation(predicted))


def chinese_f1(answer: str, predicted: str) -> float:
    """F1 of the longest run that both have; a Chinese character is one part, as is what stands between spaces in other
    scripts (the official script cuts that by nltk's English tokenizer)."""
    parts, said = chinese_parts(answer), chinese_parts(predicted)
    return _f1(_longest_common_run(parts, said), len(parts), len(said))


def chinese_f1_or_none(answer: str, predicted: str) -> float:
    """The same; 1 if neither has a part (no answer, and none was given), as SQuAD 2.0 counts it."""
    if not chinese_parts(answer) and not chinese_parts(predicted):
        return 1.0
    return chinese_f1(answer, predicted)


def chinese_parts(text: str) -> list[str]:
    """Characters and words, in lower case, without punctuation."""
    spaced = "".join("" if c in CMRC_PUNCTUATION else f" {c} " if CHINESE.match(c) else c for c in text.lower().strip())
    return spaced.split()


def best(score: Score, answers: Sequence[str], predicted: str, unanswerable: bool = False) -> float:
    """The largest score over the right answers.

    In SQuAD 2.0 (`unanswerable`) those without a word do not count, and where none is left, or there are none at all,
    the right answer is "".
    """
    if unanswerable:
        answers = [answer for answer in answers if normal_answer(answer)] or [""]
    return max((score(answer, predicted) for answer in answers), default=0.0)


def scores_of(language: str, unanswerable: bool) -> dict[str, Score]:
    """exact_match and f1 by the rules of a language. `unanswerable`: whether no answer may be the right one."""
    if language.split("-")[0] == "zh":
        return {"exact_match": chinese_exact_match, "f1": chinese_f1_or_none if unanswerable else chinese_f1}
    return {"exact_match": exact_match, "f1": token_f1_or_none if unanswerable else token_f1}


def _f1(both: int, there: int, said: int) -> float:
    return 2 * both / (there + said) if both else 0.0


def _without_punctuation(text: str) -> str:
    return "".join(c for c in text.lower().strip() if c not in CMRC_PUNCTUATION)


def _longest_common_run(first: Sequence[str], second: Sequence[str]) -> int:
    longest, before = 0, [0] * (len(second) + 1)
    for part in first:
        now = [0] * (len(second) + 1)
        for place, other in enumerate(second, 1):
            if part == other:
                now[place] = before[place - 1] + 1
        before, longest = now, max(longest, *now)
    return longest
