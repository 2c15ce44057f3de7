"""How each kind of exam is taken: from a model and its task to decisions, figures, and what the figures mean."""

from collections.abc import Callable, Iterator

from tasks.exams import config as exam_config
from tasks.exams.room import Result, Room, limited
from tasks.exams.training import first_by_hash, text_documents, token_documents
from tasks.exams.vectors import analogies, sense_probe, sentence_similarity, tag_probe, word_similarity

DOCUMENTS = 20_000


def minimal_pairs(room: Room) -> Result:
    from lm.evaluate.minimal_pairs import minimal_pair_decisions, minimal_pair_figures, read_minimal_pairs

    ask: exam_config.MinimalPairs = room.exam
    model = room.model()
    pairs = [pair for path in room.paths() for pair in read_minimal_pairs(path)]
    pairs = limited(pairs, ask.limit, lambda pair: pair.id)
    table = minimal_pair_decisions(model, pairs, ask.variant, ask.before, room.should_stop)
    masked = model.kind == "bert"
    decided = (
        f"pseudo-log-likelihood, {ask.variant}" if masked else "sum of ln p(token | all before) behind <|endoftext|>"
    )
    return (
        table,
        minimal_pair_figures(table),
        {"decided by": decided, "before each sentence": repr(ask.before), "equal": "counts as wrong"},
    )


def few_shot(room: Room) -> Result:
    from lm.evaluate.few_shot import Few, few_shot_decisions, few_shot_figures
    from lm.evaluate.prompts import items_of

    ask: exam_config.FewShot = room.exam
    template, labelled = room.request.template, room.examples()
    assert template is not None
    rows = limited(labelled.read(ask.split).to_pylist(), ask.limit, lambda row: str(row["id"]))
    items = items_of(template, labelled.task, rows)
    train = items_of(template, labelled.task, labelled.read("train").to_pylist()) if ask.shots else []
    language = labelled.task.language
    few = Few(template, ask.shots, ask.seed, ask.begin, language=language)
    progress = room.work.progress.start(len(items), "items")
    table = few_shot_decisions(room.model(), items, train, few, progress, room.should_stop)
    definition = {
        "template": template.name,
        "examples": ask.shots,
        "drawn by": f"seed {ask.seed} and the item, from train, near-copies of the item left out",
        "decided by": {"choose": template.normalise, "generate": "greedy text", "hint": "ln p"}[template.ask],
        "beginning": "behind <|endoftext|>" if ask.begin else "the prompt alone",
    }
    return table, few_shot_figures(table, template, language), definition


def cloze(room: Room) -> Result:
    from lm.evaluate.few_shot import Few, few_shot_decisions, few_shot_figures
    from lm.evaluate.prompts import last_word_items, load_template

    ask: exam_config.Cloze = room.exam
    template = load_template("cloze")
    items = limited(last_word_items(template, room.texts(), ask.least), ask.limit, lambda item: item.id)
    if not items:
        raise ValueError(f"no text has {ask.least} words (`least`)")
    progress = room.work.progress.start(len(items), "items")
    few = Few(template, 0, language=ask.language)
    table = few_shot_decisions(room.model(), items, [], few, progress, room.should_stop)
    definition = {"answer": "greedy text up to the next space or sign", "beginning": "behind <|endoftext|>"}
    return table, few_shot_figures(table, template), definition


def patterns(room: Room) -> Result:
    import pyarrow as pa

    from lm.evaluate.patterns import frequent_words, pattern_decisions, pattern_figures, pattern_items

    ask: exam_config.Patterns = room.exam
    texts = room.texts() if room.request.files else _some_documents(room)
    words = frequent_words(text for _, text in texts)
    model = room.model()
    progress = room.work.progress.start(ask.items * len(ask.patterns), "items")
    tables = [
        pattern_decisions(model, pattern_items(kind, words, ask.items, ask.seed), ask.shots, progress, room.should_stop)
        for kind in ask.patterns
    ]
    table = pa.concat_tables(tables)
    return table, pattern_figures(table), {"decided by": "ln p per byte", "chance": 0.25, "words": len(words)}


def _some_documents(room: Room) -> Iterator[tuple[str, str]]:
    """Enough of what the model has read for its frequent words."""
    return text_documents(room.trainings, first_by_hash(room.training_ids(), DOCUMENTS))


def perplexity(room: Room) -> Result:
    from lm.evaluate.report import Definition, perplexity_decisions, perplexity_figures

    ask: exam_config.Perplexity = room.exam
    definition, model = Definition(ask.context, ask.stride, ask.begin), room.model()
    texts = limited(room.texts(), ask.limit, lambda named: named[0])
    ids, written = [id for id, _ in texts], [text for _, text in texts]
    table = perplexity_decisions(model, written, definition, ids, room.should_stop)
    return table, perplexity_figures(table), definition.described(model)


def memorised(room: Room) -> Result:
    import numpy as np

    from lm.evaluate.memorised import memorised_decisions, memorised_figures, write_texts
    from lm.order import Permutation, draw_seed

    ask: exam_config.Memorised = room.exam
    model, least = room.model(), ask.prompt_tokens + ask.span
    long = sorted({id for id, ids in token_documents(room.trainings) if len(ids) >= least})
    if len(long) < ask.prompted:
        raise ValueError(f"{len(long)} training documents have {least} tokens: {ask.prompted} prompts are asked for")
    order = Permutation(max(len(long), 1), draw_seed(ask.seed, "prompts"))
    chosen = {long[at] for at in order[np.arange(ask.prompted)].tolist()} if ask.prompted else set()
    decode = getattr(model, "tokenizer", None)
    if chosen and decode is None:
        raise ValueError(f"a model of kind {model.kind!r} has no tokenizer to cut prompts with: set prompted to 0")
    begun = {id: ids for id, ids in token_documents(room.trainings, chosen) if len(ids) >= least}
    prompts = []
    for id, ids in sorted(begun.items()):
        assert decode is not None
        parts = ids[: ask.prompt_tokens], ids[ask.prompt_tokens :][: ask.tokens]
        before, after = (str(decode.decode(part.tolist(), skip_special_tokens=False)) for part in parts)
        prompts.append((f"prompted/{id}", before, after))
    empty = [(f"unprompted/{number}", "", "") for number in range(ask.unprompted)]
    written = write_texts(model, empty, ask.tokens, ask.seed, 1.0, room.should_stop)
    written += write_texts(model, prompts, ask.tokens, ask.seed, 0.0, room.should_stop)
    table = memorised_decisions(
        model,
        written,
        token_documents(room.trainings),
        text_documents(room.trainings) if ask.words else (),
        ask.span,
        room.should_stop,
    )
    definition = {
        "run": f"{ask.span} tokens (words) in a row, verbatim, in a training document",
        "unprompted": "temperature 1, whole vocabulary",
        "prompted": f"greedy, behind the first {ask.prompt_tokens} tokens of training documents",
        **room.what_was_read(),
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
    from tasks.exams.leaks import leaks

    return leaks(room)


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
