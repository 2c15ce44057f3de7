"""The configuration of a pipeline: one YAML file, one tree of strict models, every key documented."""

import difflib
import typing
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from data_quality.config import (
    DecontaminateConfig,
    DedupeConfig,
    GatesConfig,
    IngestConfig,
    LabelledConfig,
    NormalizeConfig,
    PiiConfig,
    QualityConfig,
    SignatureConfig,
    SplitConfig,
)
from lm.config import GPT_PRESETS, GPTConfig, TokenizerConfig, TrainConfig, gpt_preset
from lm.finetune.config import BaselineConfig, FinetuneConfig
from tasks.evaluate import EvaluateConfig
from tasks.run import Resources

_PACKAGED = Path(__file__).parent / "configs"  # in an installed wheel (pyproject.toml, sources)
CONFIGS = _PACKAGED if _PACKAGED.is_dir() else Path(__file__).parents[1] / "configs"


SMOKE_FILES = 1000


class ConfigError(ValueError):
    """A configuration that cannot be used; the message names the file, the key and the nearest valid key."""


class Section(BaseModel):
    """A frozen part of the configuration that refuses unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ModelSection(Section):
    """The language model: a preset, and what differs from it. Its vocabulary is that of the tokenizer."""

    preset: str = Field(default="nano", description=f"One of {', '.join(GPT_PRESETS)}.")
    layers: int | None = Field(default=None, ge=1, description="Transformer blocks; null: the preset's.")
    width: int | None = Field(default=None, ge=1, description="Width of the residual stream; null: the preset's.")
    heads: int | None = Field(default=None, ge=1, description="Attention heads; null: the preset's.")
    context: int | None = Field(default=None, ge=1, description="Context in tokens; null: the preset's.")
    dropout: float | None = Field(default=None, ge=0, lt=1, description="Dropout; null: the preset's.")

    @model_validator(mode="after")
    def _known(self) -> "ModelSection":
        self.resolved(vocab=257)
        return self

    def resolved(self, vocab: int) -> GPTConfig:
        """The model's full configuration with a vocabulary of `vocab` tokens."""
        given = self.model_dump(exclude={"preset"}, exclude_none=True)
        return gpt_preset(self.preset, vocab=vocab, **given)


class TokenizerSection(Section):
    """The tokenizer, and whether a refresh keeps it."""

    pin: str | None = Field(
        default=None,
        description="Name under which the tokenizer is pinned: while an artifact has this alias it is used as it "
        "is, and only `textmill unpin` or other settings under `train` give a new one. null: trained on this corpus.",
    )
    train: TokenizerConfig = Field(default=TokenizerConfig(), description="How it is trained.")


class PretrainSection(Section):
    """Pretraining."""

    train: TrainConfig = Field(description="Budget, batch, optimiser, evaluation, checkpoints.")
    init_from: str | None = Field(
        default=None,
        description="Artifact (`pretrain/<key>`, an alias) or folder of a model, ours or a Hugging Face GPT-2, to go "
        "on from, with its tokenizer. null: random weights.",
    )


class FinetuneSection(Section):
    """Fine-tuning on the labelled paragraphs: from the pretrained model and from random weights, several seeds."""

    seeds: tuple[int, ...] = Field(default=(0, 1, 2), min_length=1, description="One run of each system per seed.")
    settings: FinetuneConfig = Field(
        default=FinetuneConfig(), description="The same for both systems; `seed` and `initialisation` are set per run."
    )
    baseline: BaselineConfig = Field(default=BaselineConfig(), description="The bag of words beside them.")


class PipelineConfig(Section):
    """From raw text to a fine-tuned model."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$", description="Name of runs and reports: letters, digits, dashes.")
    ingest: IngestConfig = Field(description="What is read.")
    max_files: int | None = Field(
        default=None, ge=1, description="Read only so many files, a sample of all sources: what `--smoke` sets."
    )
    normalize: NormalizeConfig = Field(default=NormalizeConfig(), description="Unicode and white space.")
    quality: QualityConfig = Field(default=QualityConfig(), description="Rules that drop documents.")
    signatures: SignatureConfig = Field(default=SignatureConfig(), description="MinHash signatures.")
    dedupe: DedupeConfig = Field(default=DedupeConfig(), description="Exact and near-duplicates.")
    gates: GatesConfig = Field(default=GatesConfig(), description="How far a refreshed corpus may move unattended.")
    pii: PiiConfig = Field(
        default=PiiConfig(), description="Personal data, replaced in every text that leaves the mill."
    )
    decontaminate: DecontaminateConfig = Field(
        default=DecontaminateConfig(), description="Documents that hold text of a benchmark."
    )
    split: SplitConfig = Field(default=SplitConfig(), description="Train, valid, test.")
    tokenizer: TokenizerSection = Field(default=TokenizerSection(), description="Byte-level BPE.")
    model: ModelSection = Field(default=ModelSection(), description="The language model.")
    pretrain: PretrainSection = Field(description="Pretraining.")
    evaluate: EvaluateConfig = Field(default=EvaluateConfig(), description="Held-out bits per byte.")
    task: LabelledConfig | None = Field(
        default=None, description="Labelled paragraphs made from the corpus; null: no fine-tuning."
    )
    finetune: FinetuneSection = Field(default=FinetuneSection(), description="Fine-tuning on `task`.")
    resources: Resources = Field(default=Resources(), description="What the machine gives; changes no result.")

    def smoke(self) -> "PipelineConfig":
        """The same pipeline with data and budget cut down so far that it ends in a minute; for tests."""
        raw = self.model_dump()
        raw["max_files"] = SMOKE_FILES
        raw["tokenizer"]["pin"] = None  # a name that means the tokenizer of the whole pipeline
        raw["tokenizer"]["train"]["vocab_size"] = min(512, self.tokenizer.train.vocab_size)
        raw["model"] |= {"preset": "pico", "layers": None, "width": None, "heads": None, "context": None}
        raw["pretrain"]["train"] |= {"steps": 6, "tokens": None, "epochs": None, "batch": 4, "eval_sequences": 4}
        raw["evaluate"]["sequences"] = 4
        raw["finetune"]["seeds"] = self.finetune.seeds[:1]
        raw["finetune"]["settings"]["epochs"] = 1.0
        if raw["task"] is not None:
            raw["task"] |= {"per_class": 8, "per_class_eval": 8}
        return PipelineConfig.model_validate(raw)


def load_config(path: Path, overrides: Mapping[str, str] | None = None) -> PipelineConfig:
    """Read a YAML file and apply `--set` overrides (dotted key to YAML value).

    Raises:
        ConfigError: no such file, no YAML, an unknown key (with the nearest valid one) or an invalid value.
    """
    if not path.is_file():
        near = [str(p) for p in sorted(CONFIGS.glob("*.yaml"))]
        raise ConfigError(f"{path}: no such file; shipped configurations: {', '.join(near)}")
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not readable YAML: {error}") from error
    if not isinstance(raw, dict):
        raise ConfigError(f"{path} holds no mapping of keys to values")
    for key, value in (overrides or {}).items():
        _override(raw, key, value)
    return parse_config(raw, str(path))


def parse_config(raw: Mapping[str, Any], where: str) -> PipelineConfig:
    """Validate a configuration that came from `where`. Raises ConfigError as `load_config` does."""
    try:
        return PipelineConfig.model_validate(raw)
    except ValidationError as error:
        errors = error.errors(include_url=False)
        # a list whose only item is wrong is also called too short: that follows, and says nothing
        wrong = [item for item in errors if item["type"] != "too_short" or not item["input"]]
        lines = [_explain(item) for item in wrong]
        raise ConfigError(f"{where}:\n  " + "\n  ".join(lines)) from error


def _override(raw: dict[str, Any], key: str, value: str) -> None:
    *parents, last = key.split(".")
    node: Any = raw
    for name in parents:
        if isinstance(node, list):
            node = node[_index(key, name, node)]
            continue
        if node.get(name) is None:
            node[name] = {}
        node = node[name]
        if not isinstance(node, dict | list):
            raise ConfigError(f"--set {key}: {name!r} is a value, it has no keys")
    try:
        parsed = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise ConfigError(f"--set {key}={value}: not a YAML value ({error})") from error
    if isinstance(node, list):
        node[_index(key, last, node)] = parsed
    else:
        node[last] = parsed


def _index(key: str, name: str, items: list[Any]) -> int:
    if not name.isdigit() or int(name) >= len(items):
        raise ConfigError(f"--set {key}: {name!r} is no index of a list of {len(items)}")
    return int(name)


def _explain(item: Any) -> str:
    location, models = _located([str(part) for part in item["loc"]])
    dotted = ".".join(location)
    if item["type"] == "extra_forbidden":
        valid = sorted({key for model in models for key in model.model_fields})
        near = difflib.get_close_matches(location[-1], valid, n=1, cutoff=0.5)
        hint = f"did you mean {'.'.join([*location[:-1], near[0]])!r}?" if near else f"valid: {', '.join(valid)}"
        return f"{dotted}: unknown key; {hint}"
    message = item["msg"].removeprefix("Value error, ")
    given = "" if item["type"] == "missing" else f" (given: {str(item['input'])[:80]})"
    return f"{dotted or 'the whole'}: {message}{given}"


def _located(location: list[str]) -> tuple[list[str], list[type[BaseModel]]]:
    """A location as the file has it, and the models that its last key may belong to.

    In a list of sources pydantic puts the format of an item behind its number: it chooses the model and goes.
    """
    written: list[str] = []
    models: list[type[BaseModel]] = [PipelineConfig]
    for at, part in enumerate(location):
        of_format = [model for model in models if part in _formats(model)]
        if of_format and location[at - 1].isdigit():
            models = of_format
            continue
        written.append(part)
        if at < len(location) - 1:
            fields = [model.model_fields[part].annotation for model in models if part in model.model_fields]
            models = [nested for annotation in fields for nested in nested_models(annotation)] or models
    return written, models


def _formats(model: type[BaseModel]) -> tuple[Any, ...]:
    return typing.get_args(model.model_fields["format"].annotation) if "format" in model.model_fields else ()


def nested_models(annotation: Any) -> list[type[BaseModel]]:
    """The models that a field's annotation mentions, those inside unions and lists included."""
    if isinstance(annotation, type):
        return [annotation] if issubclass(annotation, BaseModel) else []
    return [model for argument in typing.get_args(annotation) for model in nested_models(argument)]


@cache  # every flow has it as its default
def quickstart() -> PipelineConfig:
    """The shipped quickstart: what the deployments run when nothing else is said."""
    return load_config(CONFIGS / "quickstart.yaml")
