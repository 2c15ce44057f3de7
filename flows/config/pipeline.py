"""The configuration of a pipeline: one YAML file, one tree of strict models, every key documented."""

from typing import Literal

from pydantic import Field, model_validator

from data_quality.config import GatesConfig, LabelledConfig, SplitConfig
from flows.config.curation import Curation, Section
from flows.config.loading import loader, shipped
from flows.config.seeds import Seeds
from lm.config import TrainConfig
from lm.finetune.config import BaselineConfig, FinetuneConfig
from lm.models.gpt_config import GPT_PRESETS, GPTConfig, gpt_preset
from lm.parallel import ParallelConfig
from lm.pretraining import GPTPretraining
from lm.tokenizers.config import ByteBPEConfig, TokenizerConfig
from tasks.evaluate import EvaluateConfig

SMOKE_FILES = 1000


class ModelSection(Section):
    """The language model: a preset, and what differs from it. Its vocabulary is that of the tokenizer."""

    preset: str = Field(default="nano", description=f"One of {', '.join(GPT_PRESETS)}.")
    layers: int | None = Field(default=None, ge=1, description="Transformer blocks; null: the preset's.")
    width: int | None = Field(default=None, ge=1, description="Width of the residual stream; null: the preset's.")
    heads: int | None = Field(default=None, ge=1, description="Attention heads; null: the preset's.")
    context: int | None = Field(default=None, ge=1, description="Context in tokens; null: the preset's.")
    dropout: float | None = Field(default=None, ge=0, lt=1, description="Dropout; null: the preset's.")
    norm: Literal["pre", "post"] | None = Field(
        default=None, description="`post`: GPT-1, `pre`: GPT-2 and GPT-3; null: the preset's."
    )
    band: int | None = Field(
        default=None, ge=1, description="GPT-3: positions that every second layer sees; null: the preset's."
    )

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
    train: TokenizerConfig = Field(
        default=ByteBPEConfig(), description="Its kind, and how it is trained; without `kind`: byte_bpe."
    )


class PretrainSection(Section, ParallelConfig):
    """Pretraining."""

    train: TrainConfig = Field(description="Budget, batch, optimiser, evaluation, checkpoints.")
    init_from: str | None = Field(
        default=None,
        description="Artifact (`pretrain/<key>`, an alias) or folder of a model, ours or a Hugging Face GPT-2, to go "
        "on from, with its tokenizer. null: random weights.",
    )
    document_mask: bool = Field(
        default=False,
        description="Documents packed into one sequence do not see one another, and each begins at position 0; false: "
        "as GPT-3 was trained.",
    )

    @model_validator(mode="after")
    def _can_be_shared(self) -> "PretrainSection":
        self.require_shareable(GPTPretraining(model=GPTConfig()), self.train)
        return self


class FinetuneSection(Section):
    """Fine-tuning on the labelled paragraphs: from the pretrained model and from random weights, several seeds."""

    seeds: Seeds = Field(default=(0, 1, 2), description="One run of each system per seed.")
    settings: FinetuneConfig = Field(
        default=FinetuneConfig(), description="The same for both systems; `seed` and `initialisation` are set per run."
    )
    baseline: BaselineConfig = Field(default=BaselineConfig(), description="The bag of words beside them.")


class TokensConfig(Curation):
    """From raw text to tokens."""

    gates: GatesConfig = Field(default=GatesConfig(), description="How far a refreshed corpus may move unattended.")
    split: SplitConfig = Field(default=SplitConfig(), description="Train, valid, test.")
    tokenizer: TokenizerSection = Field(default=TokenizerSection(), description="The tokenizer.")


class RefreshSection(Section):
    """What follows when the nightly refresh has brought the corpus up to date."""

    pretrain_above: float | None = Field(
        default=0.05,
        ge=0,
        description="Pretraining is started when more than this share of the bytes that the last model was trained on "
        "has changed: new and changed documents as they are, and those that are gone. null: the refresh never starts "
        "it; 0: at any change.",
    )


class PipelineConfig(TokensConfig):
    """From raw text to a fine-tuned model."""

    model: ModelSection = Field(default=ModelSection(), description="The language model.")
    pretrain: PretrainSection = Field(description="Pretraining.")
    evaluate: EvaluateConfig = Field(default=EvaluateConfig(), description="Held-out bits per byte.")
    task: LabelledConfig | None = Field(
        default=None, description="Labelled paragraphs made from the corpus; null: no fine-tuning."
    )
    finetune: FinetuneSection = Field(default=FinetuneSection(), description="Fine-tuning on `task`.")
    refresh: RefreshSection = Field(
        default=RefreshSection(), description="The nightly refresh (`textmill refresh`, deployment nightly-corpus)."
    )

    def smoke(self) -> "PipelineConfig":
        """The same pipeline with data and budget cut down so far that it ends in a minute; for tests."""
        raw = self.model_dump()
        raw["max_files"] = SMOKE_FILES
        raw["tokenizer"]["pin"] = None  # a name that means the tokenizer of the whole pipeline
        raw["tokenizer"]["train"]["vocab_size"] = min(512, self.tokenizer.train.vocab_size)
        raw["model"] |= {"preset": "pico", "layers": None, "width": None, "heads": None, "context": None}
        raw["pretrain"]["train"] |= {"steps": 6, "tokens": None, "epochs": None, "eval_sequences": 4}
        raw["pretrain"]["train"]["batch"] = self.pretrain.least_batch(4)
        raw["evaluate"]["sequences"] = 4
        raw["finetune"]["seeds"] = self.finetune.seeds[:1]
        raw["finetune"]["settings"]["epochs"] = 1.0
        if raw["task"] is not None:
            raw["task"] |= {"per_class": 8, "per_class_eval": 8}
        return PipelineConfig.model_validate(raw)


load_config = loader(PipelineConfig)


quickstart = shipped(load_config, "quickstart.yaml")
"""The shipped quickstart: what the deployments run when nothing else is said."""
