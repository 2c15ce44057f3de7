"""CoNLL columns: a word a line with its tag, a blank line between sentences; and the schemes of tags of spans."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from lm.labelled.read_config import ReadConfig, Scheme
from lm.labelled.streams import BadInput, lines

DOCUMENT = "-DOCSTART-"
_SEPARATORS = {"whitespace": re.compile(r"[ \t]+"), "space": re.compile(" "), "tab": re.compile("\t")}


def read_conll(path: Path, config: ReadConfig, untagged: bool = False) -> Iterator[tuple[str, dict[str, Any]]]:
    """Sentences as `words` and `tags`, named by their first line. Lines of documents (`-DOCSTART-`) end a sentence and
    are left out, lines of comments are left out.

    Args:
        untagged: whether a file may have words alone, as its first one says; its sentences are then `words`.

    Raises BadInput for a line that lacks a column.
    """
    separator = _SEPARATORS[config.separator]
    words: list[str] = []
    tags: list[str] = []
    first = 0
    alone = False

    def sentence() -> tuple[str, dict[str, Any]]:
        return f"line {first}", {"words": words} if alone else {"words": words, "tags": tags}

    for number, line in lines(path):
        # a lone space may be a word, where a tab separates
        if config.comment is not None and line.startswith(config.comment):
            continue
        if not line.strip(" \t") or line.startswith(DOCUMENT):
            if words:
                yield sentence()
                words, tags = [], []
            continue
        columns = separator.split(line.strip(" ") if config.separator == "whitespace" else line)
        if not first:
            alone = untagged and len(columns) == 1
        try:
            word, tag = columns[config.word], columns[config.word if alone else config.tag]
        except IndexError:
            raise BadInput(
                f"{path}: line {number} has {len(columns)} columns, read.word is {config.word} and read.tag"
                f" {config.tag}: {line[:60]!r}; set them or read.separator"
            ) from None
        if not (alone or len(columns) > 1) or not word or not tag:
            raise BadInput(
                f"{path}: line {number} has no word or no tag: {line[:60]!r}; set read.separator (now"
                f" {config.separator}), read.word and read.tag"
            )
        first = first if words else number
        words.append(word)
        tags.append(tag)
    if words:
        yield sentence()


def to_iob2(tags: Sequence[str], scheme: Scheme) -> tuple[list[str], int]:
    """Tags of a sentence in IOB2 (every span begins with B-), and how many were not as their scheme has them: I- or E-
    without the span that it goes on, which then begins one.

    IOB1 (Ramshaw & Marcus 1995; CoNLL-2003): I- begins a span unless it touches one of its kind, which B- begins.

    Raises ValueError for a tag that is none of a scheme.
    """
    if scheme == "none":
        return list(tags), 0
    letters = "BIESO" if scheme == "bioes" else "BIO"
    made: list[str] = []
    wrong = 0
    before = "O"  # the tag before as it was written
    for tag in tags:
        letter, _, kind = tag.partition("-")
        if letter not in letters or (letter == "O") != (not kind) or len(letter) != 1:
            raise ValueError(
                f"tag {tag!r} is none of scheme {scheme}: it has O and {', '.join(letters[:-1])} with -KIND"
            )
        if letter == "O":
            made.append("O")
        elif letter in "BS":
            made.append(f"B-{kind}")
        else:
            last, _, last_kind = before.partition("-")
            open_ = last in "BI" and last_kind == kind  # E and S close their span
            made.append(f"I-{kind}" if open_ else f"B-{kind}")
            wrong += scheme != "iob1" and not open_
        before = tag
    return made, wrong
