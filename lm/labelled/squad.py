"""SQuAD files (Rajpurkar et al. 2016, 2018), and answers that must stand where their offset says."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from lm.labelled.streams import BadInput, whole_text


def read_squad(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The questions of a file of version 1.1 or 2.0, each with id, title, context, question and answers.

    Raises BadInput naming the place in the document where something is missing.
    """
    raw = whole_text(path)
    try:
        document = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{path}: no JSON: {error}") from error
    place = "data"
    try:
        for n, article in enumerate(document["data"]):
            for m, paragraph in enumerate(article["paragraphs"]):
                place = f"data[{n}].paragraphs[{m}]"
                context = paragraph["context"]
                for k, asked in enumerate(paragraph["qas"]):
                    place = f"data[{n}].paragraphs[{m}].qas[{k}]"
                    answers = [] if asked.get("is_impossible") else asked.get("answers", [])
                    values = {
                        "id": str(asked["id"]),
                        "title": article.get("title"),
                        "context": context,
                        "question": asked["question"],
                        "answers": [answer["text"] for answer in answers],
                        "starts": [answer["answer_start"] for answer in answers],
                    }
                    yield place, values
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise BadInput(
            f"{path}: {place}: this is no SQuAD file ({type(error).__name__}: {error}); it has"
            " data[].paragraphs[].{context, qas[].{id, question, answers[].{text, answer_start}}}"
        ) from error


class Answers(NamedTuple):
    """Answers that stand where they say, how many had to be moved there, and those that are left out."""

    texts: list[str]
    starts: list[int]
    moved: int
    left_out: list[str]


def checked_answers(context: str, texts: Sequence[str], starts: Sequence[int] | None) -> Answers:
    """Answers at their true offsets, in characters.

    One that is not where its offset says is moved to where it stands if that is exactly one place, and left out
    otherwise; so is one without letters. Without `starts`, every answer is looked for.
    """
    found = Answers([], [], 0, [])
    moved = 0
    for number, text in enumerate(texts):
        start = None if starts is None else starts[number]
        if text.strip() and (start is None or start < 0 or not context.startswith(text, start)):
            once = context.find(text)
            unique = once >= 0 and context.find(text, once + 1) < 0
            moved += unique and start is not None
            start = once if unique else None
        if not text.strip() or start is None:
            found.left_out.append(text)
            continue
        found.texts.append(text)
        found.starts.append(start)
    return found._replace(moved=moved)
