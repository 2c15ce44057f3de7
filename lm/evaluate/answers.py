"""How good a written answer is: exact match and F1 as SQuAD counts them (Rajpurkar et al. 2016, section 6.1).

Answers are compared in lower case, without punctuation, articles (a, an, the) and more than one space. F1 is that of
the words the two have in common; of several right answers the best counts. Chinese text, which has no spaces, is
compared by characters (CMRC 2018).
"""

import re
import string
from collections import Counter
from collections.abc import Sequence

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = set(string.punctuation) | set("，。！？；：、“”‘’（）《》【】…—·")
_HAN = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]")


def normal_answer(text: str) -> str:
    """As answers are compared."""
    kept = "".join(character for character in text.lower() if character not in _PUNCTUATION)
    return " ".join(_ARTICLES.sub(" ", kept).split())


def exact_match(answer: str, right: Sequence[str]) -> float:
    """1 if the answer is one of the right ones, else 0."""
    return float(any(normal_answer(answer) == normal_answer(each) for each in right))


def token_f1(answer: str, right: Sequence[str]) -> float:
    """The best F1 of the answer's words with those of a right one; two empty answers agree."""
    return max((_f1(_words(answer), _words(each)) for each in right), default=0.0)


def _words(text: str) -> list[str]:
    return _HAN.sub(lambda found: f" {found[0]} ", normal_answer(text)).split()


def _f1(answer: list[str], right: list[str]) -> float:
    if not answer or not right:
        return float(answer == right)
    common = sum((Counter(answer) & Counter(right)).values())
    return 2 * common / (len(answer) + len(right))
