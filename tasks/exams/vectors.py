"""Exams that look at vectors: of words, of texts, and of words where they stand."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tasks.exams import config as exam_config
from tasks.exams.room import Result, Room, by_hash, form_of, limited


def row_id(row: Mapping[str, Any]) -> str:
    """The id of a row of a labelled set."""
    return str(row["id"])


def word_similarity(room: Room) -> Result:
    from lm.evaluate.decisions import plain
    from lm.evaluate.similarity import read_pairs
    from lm.evaluate.word_decisions import similarity_figure, similarity_rows

    lists = [(path.stem, read_pairs(path)) for path in room.paths()]
    table, figures = similarity_rows(room.vectors(), lists), {}
    groups = table["group"].to_pylist()
    for name, pairs in lists:
        figures[f"spearman/{name}"] = similarity_figure(table, name)
        figures[f"known/{name}"] = plain(groups.count(name) / len(pairs), len(pairs))
    return table, figures, {"likeness": "cosine", "case": "ignored"}


def analogies(room: Room) -> Result:
    from lm.evaluate.decisions import figure, plain
    from lm.evaluate.metrics import wilson
    from lm.evaluate.similarity import analogy_accuracy, read_analogies
    from lm.evaluate.word_decisions import analogy_rows

    ask: exam_config.Analogies = room.exam
    vectors = room.vectors()
    sections: dict[str, Any] = {}
    for path in room.paths():
        sections |= read_analogies(path)
    found = analogy_accuracy(vectors, sections, ask.among, room.should_stop)
    asked = {name: counts for name, counts in found.items() if counts[1]}
    if not asked:
        raise ValueError("of no analogy all four words have vectors: there is nothing to ask")
    figures = {
        f"accuracy/{name}": figure(wilson(*counts), counts[1]) for name, counts in asked.items() if name != "total"
    }
    every = sum(len(questions) for questions in sections.values())
    total = {
        "accuracy": figure(wilson(*asked["total"]), asked["total"][1]),
        "known": plain(asked["total"][1] / every, every),
    }
    return analogy_rows(found), {**total, **figures}, {"sought by": "3CosAdd", "among": ask.among}


def sentence_similarity(room: Room) -> Result:
    from lm.evaluate.sentence_similarity import similarity_decisions, similarity_figures

    ask: exam_config.SentenceSimilarity = room.exam
    rows = [
        (row["id"], row["text"], row["text_b"] or "", row["label"])
        for row in limited(form_of(room, "regression", ask.split), ask.limit, row_id)
    ]
    table = similarity_decisions(embedder(room), rows)
    return table, similarity_figures(table), {"likeness": "cosine of mean vectors"}


def tag_probe(room: Room) -> Result:
    from lm.evaluate.probes import probe_figures, tag_decisions

    ask: exam_config.TagProbe = room.exam
    learned = limited(form_of(room, "tagging", "train"), ask.train, row_id)
    asked = limited(form_of(room, "tagging", ask.split), ask.limit, row_id)
    train, test = ([(row["words"], row["tags"]) for row in rows] for rows in (learned, asked))
    joined = bool(getattr(room.examples().task.ask, "joined", False))
    table = tag_decisions(room.model(), train, test, joined, room.should_stop)
    return table, probe_figures(table), {"probe": "softmax regression on frozen states", "layer_0": "embeddings"}


def sense_probe(room: Room) -> Result:
    from lm.evaluate.probes import probe_figures, sense_decisions

    ask: exam_config.SenseProbe = room.exam
    sentences = [text.split() for _, text in by_hash(room.texts(), lambda named: named[0])]
    table = sense_decisions(room.model(), sentences, ask.pairs, ask.stand_in, ask.most, room.should_stop)
    return table, probe_figures(table), {"stand-in": ask.stand_in, "chance": 0.5, "layer_0": "embeddings"}


def embedder(room: Room) -> Callable[[Sequence[str]], Any]:
    """Texts to vectors, by any model that has some. Raises ValueError for one that has none."""
    import numpy as np

    from lm.embedding import open_embedder
    from lm.texts.elmo import ELMoText

    if room.kind == "elmo":  # its last layer, and words as they stand between spaces
        elmo = room.model()
        assert isinstance(elmo, ELMoText)
        return lambda texts: np.stack([elmo.embed(text.split() or ["."])[-1].mean(axis=0) for text in texts])
    embed = open_embedder(room.folder, room.request.device, should_stop=room.should_stop)
    return lambda texts: embed(texts).vectors
