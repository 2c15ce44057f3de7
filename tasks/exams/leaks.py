"""Which items of an exam stand in a model's training documents: 13 words in a row, as GPT-3's authors asked.

The model's lineage says which documents these are. Items are compared as in `data_quality/decontaminate.py`: words in
lower case without punctuation, characters for Chinese; a shorter item must occur as a whole.
"""

from pathlib import Path
from typing import Any

from data_quality.benchmarks import Item
from data_quality.config import DecontaminateConfig
from data_quality.decontaminate import Index, build_index, normal_words
from lm.labelled.read_config import ReadConfig
from lm.labelled.records import has_columns, read_records
from tasks.exams import config as exam_config
from tasks.exams.room import Result, Room, limited, numbered, read_texts
from tasks.exams.training import text_documents

BODY = ("text", "text_b", "context", "question", "source")
"""Columns of labelled sets whose words make an item's text; answers may stand anywhere."""


def leaks(room: Room) -> Result:
    """A row for each item: `score` is -1 if it stands in a training document, which is named, else 0."""
    import pyarrow as pa

    from lm.evaluate.decisions import decisions_table, plain, share
    from lm.stop import check

    ask: exam_config.Contamination = room.exam
    texts = limited(_items(room), ask.limit, lambda item: item[0])
    words = [len(normal_words(text)) for _, text in texts]
    sought = [(id, text) for (id, text), count in zip(texts, words, strict=True) if count >= ask.minimum]
    if not sought:
        raise ValueError(f"no item has {ask.minimum} words (`minimum`): none can be looked for")
    folder = room.work.scratch / "index"
    folder.mkdir(exist_ok=True)
    wanted = DecontaminateConfig(words=ask.words, characters=ask.words, minimum=min(ask.minimum, ask.words))
    # Each item is a benchmark of its own: every item that a document holds is wanted, not the one that shares the most.
    build_index((Item(id, id, text) for id, text in sought), folder, wanted)
    index = Index(folder)
    where: dict[str, str] = {}
    for document, text in text_documents(room.trainings):
        check(room.should_stop, "looking for items")
        for match in index.matches(text):
            item = index.ids[match.item]
            where[item] = min(document, where.get(item, document))  # whatever the order of shards
    rows: list[dict[str, Any]] = [
        {
            "id": id,
            "group": "too short" if count < ask.minimum else "looked for",
            "score": -float(id in where),
            "words": count,
            "document": where.get(id),
        }
        for (id, _), count in zip(texts, words, strict=True)
    ]
    table = decisions_table(rows, {"words": pa.int32(), "document": pa.string()})
    found = -table["score"].to_numpy()
    asked = [count >= ask.minimum for count in words]
    figures = {
        "found": share(found[asked]),
        "too_short": plain(float(len(texts) - len(sought)), len(texts)),
    }
    definition = {
        "found": f"{ask.words} words (characters of Chinese) in a row stand in a training document",
        "not looked for": f"items of fewer than {ask.minimum} words",
        **room.what_was_read(),
    }
    return table, figures, definition


def _items(room: Room) -> list[tuple[str, str]]:
    """(id, text) of each item of the files or of the labelled set."""
    ask: exam_config.Contamination = room.exam
    found: list[tuple[str, str]] = []
    if room.labelled is not None:
        for row in room.examples().read(ask.split).to_pylist():
            parts = [row[name] for name in BODY if row.get(name)] or [" ".join(row.get("words") or [])]
            found.append((row["id"], "\n".join(parts)))
    for path in room.paths() if room.request.files else ():
        found += _of_file(path)
    return numbered(found)


def _of_file(path: Path) -> list[tuple[str, str]]:
    """The good sentences of a file of minimal pairs, as its columns say, or the texts of another."""
    from lm.evaluate.minimal_pairs import BAD, GOOD, read_minimal_pairs

    if has_columns(path):
        first = next(read_records(path, ReadConfig()), None)
        if first is not None and {GOOD, BAD} & set(first.values):
            return [(pair.id, pair.good) for pair in read_minimal_pairs(path)]
    return list(read_texts(path, whole=False))
