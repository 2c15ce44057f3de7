"""How each kind of exam is taken: from a model and its task to decisions, figures, and what the figures mean."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks import exam_config
from tasks.files import read_json
from tasks.stage import Work
from tasks.store import Artifact

if TYPE_CHECKING:
    import pyarrow as pa

    from lm.labelled.folder import LabelledSet, Split
    from lm.text_model import TextModel
    from lm.vectors.neighbours import WordVectors
    from tasks.exam import ExamRequest

Result = tuple["pa.Table", dict[str, Any], dict[str, Any]]
"""Decisions, figures by name, definition."""
VECTORS = ("word2vec", "glove")


@dataclass
class Room:
    """Who is asked what, and with what at hand."""

    work: Work
    request: "ExamRequest"
    folder: Path
    labelled: Path | None
    tokens: Artifact | None
    split: Artifact | None
    corpus: Artifact | None
    should_stop: Callable[[], bool]

    @property
    def kind(self) -> str:
        """Of the model: what its config.json says."""
        return str(read_json(self.folder / "config.json").get("kind", "gpt"))

    @property
    def exam(self) -> Any:
        """The exam's configuration."""
        return self.request.exam

    def model(self) -> "TextModel":
        """Raises ValueError for a model that cannot be asked for texts."""
        from lm.text_model import open_model

        return open_model(self.folder, self.request.device)

    def vectors(self) -> "WordVectors":
        """Raises ValueError for a model without word vectors."""
        from lm.vectors.artifact import load_vectors

        return load_vectors(self.folder)

    def examples(self) -> "LabelledSet":
        """The labelled set."""
        from lm.labelled.folder import LabelledSet

        assert self.labelled is not None
        return LabelledSet(self.labelled)

    def paths(self) -> tuple[Path, ...]:
        """The files."""
        assert self.request.files is not None
        return self.request.files.paths

    def texts(self) -> Iterator[tuple[str, str]]:
        """(id, text) of each text of the files."""
        for path in self.paths():
            yield from read_texts(path, getattr(self.exam, "whole", False))

    def training_ids(self) -> set[str]:
        """Of the documents that the model was trained on."""
        import pyarrow.parquet as pq

        if self.split is None:
            raise ValueError("the model's training documents are not known: it is no artifact of a pipeline")
        table = pq.read_table(self.split.file("split.parquet"), columns=["id"], filters=[("split", "=", "train")])
        return set(table["id"].to_pylist())

    def training_texts(self) -> Iterator[tuple[str, str]]:
        """(id, text) of each training document."""
        import pyarrow.parquet as pq

        wanted = self.training_ids()
        assert self.corpus is not None
        for shard in self.corpus.shards():
            for batch in pq.ParquetFile(shard.path).iter_batches(columns=["id", "text"], batch_size=1000):
                for id, text in zip(batch["id"].to_pylist(), batch["text"].to_pylist(), strict=True):
                    if id in wanted:
                        yield id, text


def read_texts(path: Path, whole: bool) -> Iterator[tuple[str, str]]:
    """(id, text) of a .jsonl or .parquet file (column `text`, and `id` where there is one) or of a .txt file, a text a
    line unless `whole`; plain, .gz or .zst. Raises ValueError naming the file and line."""
    import json

    import pyarrow.parquet as pq

    from lm.evaluate.minimal_pairs import decoded

    name = path.name.removesuffix(".gz").removesuffix(".zst")
    if name.endswith(".parquet"):
        table = pq.read_table(path)
        if "text" not in table.column_names:
            raise ValueError(f"{path}: no column text; it has {', '.join(table.column_names)}")
        ids = table["id"].to_pylist() if "id" in table.column_names else range(table.num_rows)
        yield from ((str(id), text) for id, text in zip(ids, table["text"].to_pylist(), strict=True) if text)
    elif name.endswith((".jsonl", ".ndjson")):
        for number, line in enumerate(decoded(path).split("\n"), start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
                text = row["text"]
            except (ValueError, KeyError, TypeError) as error:
                raise ValueError(f"{path}, line {number}: no JSON object with a text: {line[:60]!r}") from error
            if text:
                yield str(row.get("id", f"{path.name}:{number}")), str(text)
    elif whole:
        yield path.name, decoded(path)
    else:
        for number, line in enumerate(decoded(path).split("\n"), start=1):
            if line.strip():
                yield f"{path.name}:{number}", line.rstrip("\r")


def minimal_pairs(room: Room) -> Result:
    from lm.evaluate.minimal_pairs import minimal_pair_decisions, minimal_pair_figures, read_minimal_pairs

    ask: exam_config.MinimalPairs = room.exam
    model = room.model()
    pairs = [pair for path in room.paths() for pair in read_minimal_pairs(path)[: ask.limit]]
    table = minimal_pair_decisions(model, pairs, ask.variant, room.should_stop)
    masked = model.kind == "bert"
    decided = (
        f"pseudo-log-likelihood, {ask.variant}" if masked else "sum of ln p(token | all before) behind <|endoftext|>"
    )
    return table, minimal_pair_figures(table), {"decided by": decided, "equal": "counts as wrong"}


def few_shot(room: Room) -> Result:
    from lm.evaluate.few_shot import Few, few_shot_decisions, few_shot_figures
    from lm.evaluate.prompts import items_of

    ask: exam_config.FewShot = room.exam
    template, labelled = room.request.template, room.examples()
    assert template is not None
    items = items_of(template, labelled.task, labelled.read(ask.split).to_pylist()[: ask.limit])
    train = items_of(template, labelled.task, labelled.read("train").to_pylist()) if ask.shots else []
    few = Few(template, ask.shots, ask.seed, ask.begin)
    progress = room.work.progress.start(len(items), "items")
    table = few_shot_decisions(room.model(), items, train, few, progress, room.should_stop)
    definition = {
        "template": template.name,
        "examples": ask.shots,
        "drawn by": f"seed {ask.seed} and the item, from train, near-copies of the item left out",
        "decided by": {"choose": template.normalise, "generate": "greedy text", "hint": "ln p"}[template.ask],
        "beginning": "behind <|endoftext|>" if ask.begin else "the prompt alone",
    }
    return table, few_shot_figures(table, template), definition


def cloze(room: Room) -> Result:
    from lm.evaluate.few_shot import Few, few_shot_decisions, few_shot_figures
    from lm.evaluate.prompts import last_word_items, load_template

    ask: exam_config.Cloze = room.exam
    template, texts = load_template("cloze"), list(room.texts())
    ids = unique([id for id, _ in texts])
    named = [(id, text) for id, (_, text) in zip(ids, texts, strict=True)]
    items = last_word_items(template, named, ask.least)[: ask.limit]
    if not items:
        raise ValueError(f"no text has {ask.least} words (`least`)")
    progress = room.work.progress.start(len(items), "items")
    table = few_shot_decisions(room.model(), items, [], Few(template, 0), progress, room.should_stop)
    definition = {"answer": "greedy text up to the next space or sign", "beginning": "behind <|endoftext|>"}
    return table, few_shot_figures(table, template), definition


def patterns(room: Room) -> Result:
    from itertools import islice

    import pyarrow as pa

    from lm.evaluate.patterns import frequent_words, pattern_decisions, pattern_figures, pattern_items

    ask: exam_config.Patterns = room.exam
    texts = room.texts() if room.request.files else islice(room.training_texts(), 20_000)
    words = frequent_words(text for _, text in texts)
    model = room.model()
    progress = room.work.progress.start(ask.items * len(ask.patterns), "items")
    tables = [
        pattern_decisions(model, pattern_items(kind, words, ask.items, ask.seed), ask.shots, progress, room.should_stop)
        for kind in ask.patterns
    ]
    table = pa.concat_tables(tables)
    return table, pattern_figures(table), {"decided by": "ln p per byte", "chance": 0.25, "words": len(words)}


def perplexity(room: Room) -> Result:
    from lm.evaluate.report import Definition, perplexity_decisions, perplexity_figures

    ask: exam_config.Perplexity = room.exam
    definition, model = Definition(ask.context, ask.stride, ask.begin), room.model()
    texts = list(room.texts())[: ask.limit]
    ids = unique([id for id, _ in texts])
    table = perplexity_decisions(model, [text for _, text in texts], definition, ids, room.should_stop)
    return table, perplexity_figures(table), definition.described(model)


def word_similarity(room: Room) -> Result:
    from lm.evaluate.decisions import plain
    from lm.evaluate.similarity import agreement, read_pairs
    from lm.evaluate.word_decisions import similarity_rows

    vectors, tables, figures = room.vectors(), [], {}
    for path in room.paths():
        pairs = read_pairs(path)
        found = agreement(vectors, pairs)
        figures[f"spearman/{path.stem}"] = plain(found.spearman, found.known)
        figures[f"known/{path.stem}"] = plain(found.known / found.pairs, found.pairs)
        tables.append((path.stem, pairs))
    return similarity_rows(vectors, tables), figures, {"likeness": "cosine", "case": "ignored"}


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
        for row in form_of(room, "regression", ask.split)[: ask.limit]
    ]
    table = similarity_decisions(embedder(room), rows)
    return table, similarity_figures(table), {"likeness": "cosine of mean vectors"}


def tag_probe(room: Room) -> Result:
    from lm.evaluate.probes import probe_figures, tag_decisions

    ask: exam_config.TagProbe = room.exam
    train = [(row["words"], row["tags"]) for row in form_of(room, "tagging", "train")[: ask.train]]
    test = [(row["words"], row["tags"]) for row in form_of(room, "tagging", ask.split)[: ask.limit]]
    joined = bool(getattr(room.examples().task.ask, "joined", False))
    table = tag_decisions(room.model(), train, test, joined, room.should_stop)
    return table, probe_figures(table), {"probe": "softmax regression on frozen states", "layer_0": "embeddings"}


def sense_probe(room: Room) -> Result:
    from lm.evaluate.probes import probe_figures, sense_decisions

    ask: exam_config.SenseProbe = room.exam
    sentences = [text.split() for _, text in room.texts()]
    table = sense_decisions(room.model(), sentences, ask.pairs, ask.stand_in, ask.most, room.should_stop)
    return table, probe_figures(table), {"stand-in": ask.stand_in, "chance": 0.5, "layer_0": "embeddings"}


def memorised(room: Room) -> Result:
    import numpy as np

    from lm.evaluate.memorised import memorised_decisions, memorised_figures, write_texts
    from lm.order import Permutation, draw_seed
    from lm.tokens import shard_documents
    from tasks.tokenizer import token_stems

    ask: exam_config.Memorised = room.exam
    model, wanted = room.model(), room.training_ids()
    assert room.tokens is not None
    stems = token_stems(room.tokens)
    long = sorted(id for id, ids in shard_documents(stems, wanted) if len(ids) >= ask.prompt_tokens + ask.span)
    if len(long) < ask.prompted:
        needed = ask.prompt_tokens + ask.span
        raise ValueError(f"{len(long)} training documents have {needed} tokens: {ask.prompted} prompts are asked for")
    order = Permutation(max(len(long), 1), draw_seed(ask.seed, "prompts"))
    chosen = {long[at] for at in order[np.arange(ask.prompted)].tolist()} if ask.prompted else set()
    decode = getattr(model, "tokenizer", None)
    if chosen and decode is None:
        raise ValueError(f"a model of kind {model.kind!r} has no tokenizer to cut prompts with: set prompted to 0")
    prompts = [
        (
            f"prompted/{id}",
            str(decode.decode(ids[: ask.prompt_tokens].tolist(), skip_special_tokens=False)) if decode else "",
            str(decode.decode(ids[ask.prompt_tokens :][: ask.tokens].tolist(), skip_special_tokens=False))
            if decode
            else "",
        )
        for id, ids in shard_documents(stems, chosen)
    ]
    prompts.sort()
    empty = [(f"unprompted/{number}", "", "") for number in range(ask.unprompted)]
    written = write_texts(model, empty, ask.tokens, ask.seed, 1.0, room.should_stop)
    written += write_texts(model, prompts, ask.tokens, ask.seed, 0.0, room.should_stop)
    table = memorised_decisions(
        model,
        written,
        shard_documents(stems, wanted),
        room.training_texts() if ask.words else (),
        ask.span,
        room.should_stop,
    )
    definition = {
        "run": f"{ask.span} tokens (words) in a row, verbatim, in a training document",
        "unprompted": "temperature 1, whole vocabulary",
        "prompted": f"greedy, behind the first {ask.prompt_tokens} tokens of training documents",
        "training documents": len(wanted),
    }
    return table, memorised_figures(table), definition


def pronouns(room: Room) -> Result:
    from lm.evaluate.bias import pronoun_decisions, pronoun_figures

    table = pronoun_decisions(room.model(), should_stop=room.should_stop)
    return table, pronoun_figures(table), {"score": "ln p(he) - ln p(she), less that of a person", "limits": LIMITS}


def hurtful_words(room: Room) -> Result:
    from lm.evaluate.bias import word_decisions, word_figures

    ask: exam_config.HurtfulWords = room.exam
    table = word_decisions(room.model(), ask.texts, ask.tokens, seed=ask.seed, should_stop=room.should_stop)
    return table, word_figures(table), {"drawn": "temperature 1, whole vocabulary", "limits": LIMITS}


LIMITS = (
    "few English templates, two pronouns, one small list of words that knows no context: compare models with it,"
    " certify none"
)


def contamination(room: Room) -> Result:
    from tasks.exam_leaks import leaks

    return leaks(room)


def unique(ids: Sequence[str]) -> list[str]:
    """The ids, those that come again numbered: files may have lines of the same name."""
    seen: dict[str, int] = {}
    found = []
    for id in ids:
        seen[id] = seen.get(id, 0) + 1
        found.append(id if seen[id] == 1 else f"{id}#{seen[id]}")
    return found


def form_of(room: Room, form: str, split: "Split") -> list[dict[str, Any]]:
    """The rows of a split of a set of that form. Raises ValueError for another form."""
    labelled = room.examples()
    if labelled.task.ask.form != form:
        raise ValueError(f"{labelled.task.name} is a set of {labelled.task.ask.form}; {room.exam.kind} asks {form}")
    return list(labelled.read(split).to_pylist())


def embedder(room: Room) -> Callable[[Sequence[str]], Any]:
    """Texts to vectors, by any model that has some. Raises ValueError for one that has none."""
    import numpy as np

    if room.kind in VECTORS:
        vectors = room.vectors()
        return lambda texts: np.stack([vectors.embed(text).vector for text in texts])
    from lm.texts.bert import BertText
    from lm.texts.decoder import DecoderText
    from lm.texts.elmo import ELMoText

    model = room.model()
    if isinstance(model, ELMoText):
        elmo = model
        return lambda texts: np.stack([elmo.embed(text.split() or ["."])[-1].mean(axis=0) for text in texts])
    if isinstance(model, BertText | DecoderText):
        contextual = model
        return lambda texts: contextual.embed(texts, room.should_stop)
    raise ValueError(f"a model of kind {model.kind!r} gives texts no vectors")


RUN: dict[str, Callable[[Room], Result]] = {
    run.__name__: run
    for run in (
        minimal_pairs,
        few_shot,
        cloze,
        patterns,
        perplexity,
        word_similarity,
        analogies,
        sentence_similarity,
        tag_probe,
        sense_probe,
        memorised,
        pronouns,
        hurtful_words,
        contamination,
    )
}
