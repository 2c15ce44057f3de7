"""Tokenizer, tokens and pretraining."""

from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from flows.config.loading import ConfigError
from flows.config.pipeline import PipelineConfig, TokensConfig
from flows.corpus import Corpus, is_measure, mixture_of
from lm.models.gpt_config import GPTConfig
from lm.parallel import ParallelConfig
from lm.pretraining import GPTPretraining
from lm.tokenizers.config import TokenizerConfig, parse_tokenizer_config
from tasks.adopt import AdoptConfig, adopt_model
from tasks.evaluate import ScoreConfig, evaluate
from tasks.lineage.forgotten import noted
from tasks.lineage.recipe import is_stage
from tasks.pretrain import PretrainRequest, pretrain
from tasks.running.run import current_run
from tasks.stage import NoConfig, sound_file
from tasks.storage.files import read_json
from tasks.store import Artifact
from tasks.tokenizer import tokenize, train_tokenizer


@dataclass(frozen=True)
class Tokens:
    """A tokenizer, the tokens of a corpus under it, and how often each training document is read.

    `mixture` is that of the corpus or, where it is drawn by tokens, what was drawn of the training documents.
    """

    tokenizer: Artifact
    tokens: Artifact
    init_from: Artifact | None
    mixture: list[Artifact]


@dataclass(frozen=True)
class Pretrained:
    """A model and its figures on held-out text."""

    model: Artifact
    evaluation: Artifact
    settings: GPTConfig


def build_tokens(config: PipelineConfig, corpus: Corpus) -> Tokens:
    """The tokenizer (that of the model to go on from, the pinned one, or a new one) and the tokens under it."""
    return tokens_under(initial_model(config), config, corpus)


def tokens_under(initial: Artifact | None, config: TokensConfig, corpus: Corpus) -> Tokens:
    """The same, with the model to go on from, if there is one."""
    tokenizer = initial or pinned_tokenizer(config)
    if tokenizer is None:
        tokenizer = train_tokenizer(config.tokenizer.train, corpus=corpus.kept, split=corpus.split)
        pin(config, tokenizer)
    tokens = tokenize(NoConfig(), corpus=corpus.kept, tokenizer=tokenizer)
    drawn = [mixture_of(config, corpus, tokens, corpus.split)] if config.counts_tokens else corpus.mixture
    return Tokens(tokenizer, tokens, initial, drawn)


def initial_model(config: PipelineConfig) -> Artifact | None:
    """The model that pretraining goes on from: an artifact, or a folder taken into the store."""
    name = config.pretrain.init_from
    return None if name is None else named_model(name, "pretrain.init_from")


def named_model(name: str, key: str) -> Artifact:
    """A model by the name of its artifact or its alias, or a folder, which is taken into the store.

    Raises ConfigError, naming the configuration's `key`, for the name of a stage and for a folder that holds no model.
    """
    folder = Path(name)
    if folder.is_dir():
        try:
            return adopt_model(AdoptConfig.of(folder))
        except FileNotFoundError as error:
            raise ConfigError(f"{key}: {folder} is no model's folder: {error.filename} is not there") from error
    if is_stage(name):
        raise ConfigError(
            f"{key}: {name!r} is a stage, and its newest artifact changes with every run; name one, "
            f"as `textmill ls {name}` lists them, or an alias or a folder"
        )
    store = current_run().store
    found = store.resolve(name)
    if (request := noted(store, "retired").get((found.stage, found.key))) is not None:
        raise ConfigError(
            f"{key}: {found.name} was retired: it learned from documents that are to be forgotten (request {request}, "
            "`textmill forget --list`); name a model of the corpus without them"
        )
    return found


def pinned_tokenizer(config: TokensConfig) -> Artifact | None:
    """The tokenizer with the configured alias, if there is one already and it was trained with these settings, on no
    document that is to be forgotten."""
    run = current_run()
    found = run.store.aliased(config.tokenizer.pin) if config.tokenizer.pin else None
    if found is None or not trained_with(found, config.tokenizer.train):
        return None
    if (found.stage, found.key) in noted(run.store, "derived"):
        return None
    run.reused(found, f"{train_tokenizer.name} (pinned)")
    return found


def trained_with(found: Artifact, config: TokenizerConfig) -> bool:
    """Whether an artifact is a tokenizer of these settings; keys that its manifest does not know yet are defaults."""
    try:
        return parse_tokenizer_config(found.manifest()["config"]) == config
    except ValidationError:
        return False


def pin(config: TokensConfig, tokenizer: Artifact) -> None:
    """Give a new tokenizer the configured alias, so that a refresh keeps it."""
    run = current_run()
    if config.tokenizer.pin and run.plan is None:
        run.store.set_alias(config.tokenizer.pin, tokenizer)


def model_settings(config: PipelineConfig, initial: Artifact | None) -> GPTConfig:
    """The size of the model: that of the one to go on from (once it is in the store), or the configured one."""
    if initial is not None and (initial.path / "config.json").exists():
        described = read_json(sound_file(initial, "config.json"))
        if (kind := described.get("kind")) != "gpt":
            raise ConfigError(f"pretrain.init_from: {initial.name} is of kind {kind!r}; only a GPT can be gone on from")
        return GPTConfig.model_validate(described)
    return config.model.resolved(vocab=config.tokenizer.train.vocab_size)


def pretrained_alias(name: str) -> str:
    """The alias of the model that a configuration of this name trained last."""
    return f"pretrained-{name}"


def remember_pretrained(config: PipelineConfig, trained: Artifact) -> None:
    """Give the model the alias by which the next refresh finds what the last model has read."""
    run, alias = current_run(), pretrained_alias(config.name)
    if run.plan is None and is_measure(config) and run.store.aliased(alias) != trained:
        run.store.set_alias(alias, trained)


def build_pretrained(config: PipelineConfig, corpus: Corpus, tokens: Tokens) -> Pretrained:
    """Train the language model and score it on test documents."""
    model = model_settings(config, tokens.init_from)
    train = config.pretrain.train.resolve(model)
    mask = config.pretrain.document_mask
    trained = pretrain(
        PretrainRequest(
            settings=GPTPretraining(model=model, document_mask=mask),
            train=train,
            parallel=ParallelConfig.part_of(config.pretrain),
        ),
        label="pretrain",
        tokens=tokens.tokens,
        split=corpus.split,
        tokenizer=tokens.tokenizer,
        init_from=[tokens.init_from] if tokens.init_from else [],
        **({"mixture": tokens.mixture[0]} if tokens.mixture else {}),
    )
    remember_pretrained(config, trained)
    settings = ScoreConfig(**config.evaluate.resolve(train).model_dump(), document_mask=mask)
    evaluation = evaluate(settings, model=trained, tokens=tokens.tokens, split=corpus.split, tokenizer=tokens.tokenizer)
    return Pretrained(trained, evaluation, model)
