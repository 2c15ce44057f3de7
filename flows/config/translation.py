"""The configuration of a translator: pairs of texts, tokenizers for both sides, a model and its training."""

from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from flows.config.curation import Section
from flows.config.loading import expanded, loader, shipped
from lm.config import TrainConfig
from lm.tokenizers.config import ByteBPEConfig, TokenizerConfig
from lm.translator_config import TranslatorConfig
from tasks.running.run import Resources

SMOKE_PAIRS = 500


class PairFiles(Section):
    """Where pairs are: two text files, line n of one being line n of the other, or one file of both sides."""

    source: str | None = Field(default=None, description="A text a line, UTF-8, also gzipped (`.gz`).")
    target: str | None = Field(default=None, description="The same lines in the other language.")
    file: str | None = Field(
        default=None,
        description="Instead of these, one file: `.tsv` (source and target, no header) or `.jsonl`, also `.gz`.",
    )
    fields: tuple[str, str] = Field(
        default=("source", "target"), description="`.jsonl`: the keys of the source and of the target."
    )

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        given = [name for name in ("source", "target", "file") if getattr(self, name)]
        if given not in (["source", "target"], ["file"]):
            raise ValueError(
                f"give either source and target, or file (given: {', '.join(given) or 'none'}); what a file has that is"
                " extended counts, too: set it to null"
            )
        return self

    def paths(self) -> tuple[Path, ...]:
        """One path or two. Raises ConfigError for an environment variable that is not set."""
        return tuple(Path(expanded(name)) for name in (self.source, self.target, self.file) if name)


class PairsSection(Section):
    """What is learned from, and what is held out."""

    train: PairFiles | None = Field(
        default=None, description="Pairs to train on. `${NAME}` in a path is an environment variable."
    )
    task: str | None = Field(
        default=None,
        description="Instead, a task of form `generation`, which has both: its YAML file, or the name of a shipped one"
        " (`textmill task ls`).",
    )
    valid: PairFiles | None = Field(
        default=None,
        description="Pairs to watch and score; null: a part of `train`. Training pairs that share a side with one of"
        " them are left out.",
    )
    valid_fraction: float = Field(
        default=0.05,
        gt=0,
        lt=1,
        description="Without `valid`: the part of all sources that is held out, by their hash.",
    )
    salt: str = Field(default="pairs", description="Without `valid`: another word, another part.")
    license: str | None = Field(
        default=None,
        description="Licence of the pairs, best as an SPDX identifier. It is written on the cards of models.",
    )
    max_pairs: int | None = Field(
        default=None, ge=1, description="Read only so many pairs of each file, the first; of a task's splits any."
    )

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.train is None) == (self.task is None):
            raise ValueError("give either train (files of pairs) or task")
        if self.task is not None and self.valid is not None:
            raise ValueError("a task has validation pairs of its own: take valid out")
        return self


class PairTokenizersSection(Section):
    """One tokenizer for both sides, or two."""

    shared: bool = Field(default=True, description="One, trained on both sides, so that a model can share vectors.")
    train: TokenizerConfig = Field(
        default=ByteBPEConfig(), description="Its kind, and how it is trained; of the source."
    )
    target: TokenizerConfig | None = Field(
        default=None, description="Not shared: the same for the target; null: as `train`."
    )


class TranslationConfig(Section):
    """From pairs of texts to a translator."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$", description="Name of runs: letters, digits, dashes.")
    pairs: PairsSection = Field(description="Pairs of texts.")
    tokenizers: PairTokenizersSection = Field(default=PairTokenizersSection(), description="Tokenizers.")
    translator: TranslatorConfig = Field(description="The model, what it learns from and how it answers.")
    train: TrainConfig = Field(description="Budget, batch, optimiser, evaluation, checkpoints.")
    resources: Resources = Field(default=Resources(), description="What the machine gives; changes no result.")

    @model_validator(mode="after")
    def _one_vocabulary_to_share(self) -> Self:
        if self.translator.model.shared_embedding and not self.tokenizers.shared:
            raise ValueError("translator.model.shared_embedding needs one tokenizer: set tokenizers.shared to true")
        self.resolved()
        return self

    def resolved(self) -> tuple[TranslatorConfig, TrainConfig]:
        """The translator with the vocabularies that its tokenizers may have, and its training on this machine."""
        source = self.tokenizers.train
        target = source if self.tokenizers.shared else self.tokenizers.target or source
        model = self.translator.model.with_vocab(source.vocab_size, target.vocab_size)
        translator = self.translator.model_copy(update={"model": model})
        return translator, translator.train_config(self.train)

    def smoke(self) -> "TranslationConfig":
        """The same with data and budget cut down so far that it ends in a minute; for tests."""
        raw = self.model_dump()
        raw["pairs"]["max_pairs"] = SMOKE_PAIRS
        for name in ("train", "target"):
            if raw["tokenizers"][name] is not None:
                raw["tokenizers"][name]["vocab_size"] = min(512, raw["tokenizers"][name]["vocab_size"])
        raw["translator"]["bleu_pairs"] = 8
        if self.translator.average.checkpoints > 1:
            raw["translator"]["average"] = {"checkpoints": 2, "interval": 2}
        raw["translator"]["search"] |= {"beam": 2, "extra": 5}
        raw["translator"]["model"] |= {"layers": 1, "width": 32}
        if self.translator.model.kind == "seq2seq":
            raw["translator"]["model"]["embedding"] = 32
        else:
            raw["translator"]["model"] |= {"heads": 2, "feed_forward": 64}
        raw["train"] |= {"steps": 6, "tokens": None, "epochs": None, "batch": 8, "eval_sequences": 8}
        return TranslationConfig.model_validate(raw)


load_translation = loader(TranslationConfig)


shipped_translation = shipped(load_translation, "translation/transformer.yaml")
"""What the flow trains when nothing else is said."""
