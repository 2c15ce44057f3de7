"""The ladder: models of every generation on one corpus, under one tokenizer and one budget, on one table."""

from dataclasses import dataclass

from prefect import flow

from flows.config.ladder import LadderConfig, ModelConfig, ModelsConfig, shipped_ladder, shipped_model
from flows.config.loading import ConfigError
from flows.config.named_file import FromFile
from flows.config.rungs import BertRung, NgramRung, Rung, VectorsRung, without_bits
from flows.corpus import Corpus, build_corpus
from flows.pretrain import Tokens, named_model, tokens_under
from flows.running import prefect_run
from lm.hardware import resolve_device, resolve_precision
from lm.pretraining import Pretraining
from tasks.ladder import HeldOutConfig, LeaderboardConfig, held_out, leaderboard
from tasks.ngram import ngram
from tasks.pretrain import PretrainRequest, pretrain
from tasks.similar_words import similar_words
from tasks.stage import sound_file
from tasks.storage.files import read_json
from tasks.store import Artifact
from tasks.vectors import word_vectors


@dataclass(frozen=True)
class Ladder:
    """The models in the order of the configuration, what each says of the test documents, and the table."""

    models: list[Artifact]
    figures: list[Artifact]
    leaderboard: Artifact


def build_models(config: ModelsConfig) -> tuple[list[Artifact], list[Artifact]]:
    """Every model that is configured, and what each that has bits per byte says of the test documents."""
    corpus = build_corpus(config)
    initial = None if config.initial is None else named_model(config.initial, "init_from")
    tokens = tokens_under(initial, config, corpus)
    rungs = config.rungs()
    models = [build_model(name, rung, config, corpus, tokens) for name, rung in rungs.items()]
    wanted = HeldOutConfig(
        sequences=config.evaluate.sequences, context=config.context, prompt=config.prompt, **machine(config)
    )
    figures = [
        held_out(
            wanted.model_copy(update={"document_mask": getattr(rung, "document_mask", False)}),
            label=f"held out: {name}",
            model=model,
            tokens=tokens.tokens,
            split=corpus.split,
            corpus=corpus.kept,
        )
        for (name, rung), model in zip(rungs.items(), models, strict=True)
        if without_bits(rung) is None
    ]
    return models, figures


def build_ladder(config: LadderConfig) -> Ladder:
    """Every stage in order; each is found in the store or built."""
    models, figures = build_models(config)
    wanted = LeaderboardConfig(title=config.name, names=tuple(config.models))
    board = leaderboard(wanted, models=models, figures=figures)
    return Ladder(models, figures, board)


def build_model(name: str, rung: Rung, config: ModelsConfig, corpus: Corpus, tokens: Tokens) -> Artifact:
    """One model, trained on the training documents."""
    mixture = {"mixture": tokens.mixture[0]} if tokens.mixture else {}
    given = {"tokens": tokens.tokens, "split": corpus.split, "tokenizer": tokens.tokenizer, **mixture}
    if isinstance(rung, NgramRung):
        return ngram(rung.settings(), label=name, **given)
    if isinstance(rung, VectorsRung):
        return word_vectors(rung.settings(), label=name, **given)
    settings = rung.pretraining(config.tokenizer.train.vocab_size)
    if tokens.init_from is not None:
        settings = as_initial(settings, tokens.init_from, config.context)
    train = settings.resolve(rung.trained_with(config.train))
    request = PretrainRequest(settings=settings, train=train, parallel=config.parallel)
    if isinstance(rung, BertRung) and (wanted := rung.similar_words_config()):
        given["similar"] = similar_words(wanted, label=f"similar words: {name}", **given)
    return pretrain(request, label=name, init_from=[tokens.init_from] if tokens.init_from else [], **given)


def as_initial(settings: Pretraining, initial: Artifact, context: int) -> Pretraining:
    """The settings with the sizes of the model to go on from.

    Raises:
        ConfigError: it is of another kind, lacks a head that is trained, or sees less than `context`, the test
            sequences.
    """
    described = read_json(sound_file(initial, "config.json"))
    if (kind := described.get("kind")) != settings.model.kind:
        raise ConfigError(
            f"init_from: {initial.name} is of kind {kind!r} and the model of kind {settings.model.kind!r}: name one of"
            " the same kind"
        )
    try:
        found: Pretraining = settings.with_model(described)
    except ValueError as error:
        raise ConfigError(f"init_from: {initial.name} does not fit `model`: {error}") from error
    if (own := getattr(found.model, "context", context)) < context:
        raise ConfigError(
            f"init_from: {initial.name} has a context of {own} tokens, less than the {context} of the test sequences"
            " (`context`)"
        )
    return found


def machine(config: ModelsConfig) -> dict[str, str]:
    """Where and in which precision models are scored: as they are trained, unless something else is said."""
    given = config.evaluate.resolve(config.train)
    device = resolve_device(given.device)
    return {"device": device, "precision": resolve_precision(given.precision, device)}


@flow(name="ladder", flow_run_name="ladder {config.name}", persist_result=False)
def ladder_flow(config: FromFile[LadderConfig] = shipped_ladder()) -> dict[str, str]:  # noqa: B008
    """Train every generation that the configuration names and compare them; what is up to date is reused."""
    with prefect_run("ladder", config):
        made = build_ladder(config)
    models = dict(zip(config.models, (model.name for model in made.models), strict=True))
    return {**models, "leaderboard": made.leaderboard.name}


@flow(name="model", flow_run_name="model {config.name}", persist_result=False)
def model_flow(config: FromFile[ModelConfig] = shipped_model()) -> dict[str, str]:  # noqa: B008
    """Train one model of any kind and score it on test documents; what is up to date is reused."""
    with prefect_run("model", config):
        [model], figures = build_models(config)
    return {"model": model.name} | ({"held_out": figures[0].name} if figures else {})
