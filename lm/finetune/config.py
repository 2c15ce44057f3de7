"""Configuration of fine-tuning and of its baseline, importable without torch and scikit-learn."""

import math
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from lm.config import OptimizerConfig, ScheduleConfig, StrictModel, TrainConfig
from lm.finetune.kinds import context_of, kind_of, width_of

HOW = ("device", "precision", "micro_batch", "metrics_interval", "checkpoint_seconds", "checkpoint_interval")
"""What changes no result, or as little as another machine does."""
Matrix = Literal["q", "k", "v", "out", "expand", "contract"]


class LoRAConfig(StrictModel):
    """Low-rank adapters (Hu et al. 2022): W + alpha / rank * B A, where W stays and A, B learn."""

    rank: int = Field(default=8, ge=1, description="Rank of the product (r).")
    alpha: float = Field(default=16.0, gt=0, description="The product is multiplied by alpha / rank.")
    matrices: tuple[Matrix, ...] = Field(
        default=("q", "v"),
        min_length=1,
        description="Which matrices of every layer: queries, keys, values and output of attention, and the two of the"
        " feed-forward. q and v as in the paper.",
    )


class FinetuneConfig(StrictModel):
    """One fine-tuning run of a pretrained model on a labelled set.

    Defaults are ours, for decoders of a few million parameters, which take and need larger steps; `lm.finetune.presets`
    has those that were published with GPT-1 and BERT, named here in brackets.
    """

    initialisation: Literal["pretrained", "random"] = Field(
        default="pretrained",
        description="`pretrained` starts from the backbone's weights; `random` from random weights of the same"
        " size, with the same tokenizer: what pretraining is compared with.",
    )
    seed: int = Field(default=0, ge=0, description="Decides new weights, order of examples and dropout.")
    epochs: float = Field(default=6.0, gt=0, description="Passes over the training examples (GPT-1: 3, BERT: 2-4).")
    batch: int = Field(default=16, ge=1, description="Examples of one optimiser step (GPT-1: 32, BERT: 16, 32).")
    micro_batch: int | Literal["auto"] = Field(
        default="auto", description="Examples that go through the model at a time; changes no gradient."
    )
    learning_rate: float = Field(
        default=1e-3, gt=0, description="Peak, reached after warm-up (GPT-1: 6.25e-5, BERT: 2e-5, 3e-5, 5e-5)."
    )
    schedule: Literal["linear", "cosine", "constant", "stlr"] = Field(
        default="linear",
        description="From the peak on: `linear` or `cosine` to zero, `constant`; `stlr`: ULMFiT's slanted triangle,"
        " which has no warm-up besides its own rise.",
    )
    warmup: float = Field(
        default=0.1, ge=0, le=1, description="Fraction of all steps with rising learning rate (GPT-1: .002, BERT: .1)."
    )
    weight_decay: float = Field(
        default=0.01, ge=0, description="Per unit of learning rate, on matrices (GPT-1, BERT: .01)."
    )
    clip: float = Field(default=1.0, ge=0, description="Largest global gradient norm; 0 clips nothing (both: 1).")
    dropout: float | None = Field(
        default=0.1,
        ge=0,
        lt=1,
        description="Inside the backbone while fine-tuning (both: .1); null: its own. Recurrent models keep theirs.",
    )
    head_dropout: float = Field(
        default=0.1, ge=0, lt=1, description="On the hidden state that the head reads (both: .1)."
    )
    pooling: Literal["auto", "extract", "mean", "concat", "pooler"] = Field(
        default="auto",
        description="What the head of a whole text reads: `extract`, the state of the extract token (GPT-1) or of"
        " [CLS]; `mean`, that of all tokens, from which a model of a few million parameters learns much faster;"
        " `concat`, last, largest and mean (ULMFiT); `pooler`, tanh(W x + b) of the extract token's or [CLS]'s state,"
        " with the weights of pretraining where there are any (BERT). `auto`: `pooler` for encoders that learn, else"
        " `mean`.",
    )
    both_orders: bool | Literal["auto"] = Field(
        default="auto",
        description="Where a task says that the order of two texts means nothing: read both orders and add their states"
        " (GPT-1). `auto`: all but encoders do.",
    )
    scored_piece: Literal["auto", "first", "last"] = Field(
        default="auto",
        description="Tagging: which piece of a word is labelled (BERT: the first). `auto`: the last in a causal model,"
        " whose state there has read the whole word, else the first.",
    )
    auxiliary_weight: float | Literal["auto"] = Field(
        default="auto",
        description="Lambda of L3 = L2 + lambda * L1, the share of language modelling (GPT-1: .5). `auto`: .5 for"
        " causal models, 0 for others, which have no such loss.",
    )
    class_weights: Literal["none", "balanced"] | tuple[float, ...] = Field(
        default="none",
        description="Classification and tagging: weight of each class in the loss, in the order of the task's classes;"
        " `balanced`: examples / (classes * examples of the class).",
    )
    max_tokens: int | None = Field(
        default=None, ge=3, description="Tokens of an input at most, special ones included; null: the context."
    )
    stride: int | None = Field(
        default=None,
        ge=1,
        description="Tagging and question answering: by how many tokens the windows of a long text move on (BERT: 128)."
        " null: half of what a window holds.",
    )
    max_question: int = Field(
        default=64, ge=1, description="Question answering: tokens of the question at most (BERT: 64)."
    )
    max_answer: int | None = Field(
        default=None,
        ge=1,
        description="Question answering: tokens of an answer at most (BERT: 30). null: as many as the longest one that"
        " is trained on; in Chinese that is often more than 30.",
    )
    freeze: int | Literal["all"] = Field(
        default=0,
        description="The embeddings and so many layers above them do not learn; `all`: only the head does (a linear"
        " probe). The rows of new tokens learn unless all is frozen.",
    )
    lora: LoRAConfig | None = Field(
        default=None, description="Learn low-rank adapters and the head instead of the backbone's own weights."
    )
    layer_factor: float | None = Field(
        default=None, ge=1, description="Each layer down learns at a rate so many times smaller (ULMFiT: 2.6)."
    )
    unfreeze_epochs: float | None = Field(
        default=None,
        gt=0,
        description="The head learns alone; after each further so many epochs one more layer from the top (ULMFiT: 1).",
    )
    features_lstm: int | None = Field(
        default=None,
        ge=1,
        exclude_if=lambda width: width is None,
        description="Models that give features (ELMo, word2vec, GloVe, CoVe): units in each direction of a BiLSTM on"
        " them, which learns; null: none, a text is the mean of its words.",
    )
    evaluations: int = Field(
        default=4, ge=1, description="How often the dev set is looked at; the best of these weights are kept."
    )
    patience: Annotated[int, Field(ge=1)] | Literal["auto"] | None = Field(
        default="auto",
        description="Early stopping: end after so many looks in a row that are no better than the best; null: never"
        " before the end. `auto`: half of them, as long as nothing is woken on the way (`unfreeze_epochs`).",
    )
    device: Literal["auto", "cpu", "cuda"] = Field(default="auto", description="`auto`: a CUDA GPU if there is one.")
    precision: Literal["auto", "fp32", "bf16"] = Field(
        default="auto",
        description="`bf16`: matrix products of training, and of its looks at dev, by autocast; weights, loss and the"
        " predictions that are reported stay fp32. `auto`: bf16 where the hardware multiplies it natively.",
    )
    metrics_interval: int = Field(default=10, ge=1, description="Steps between reports of loss and speed.")
    checkpoint_seconds: float = Field(
        default=30.0, ge=0, description="Seconds between checkpoints, besides the best ones; changes no result."
    )
    checkpoint_interval: int = Field(default=0, ge=0, description="Steps between checkpoints, 0: only by time.")

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if isinstance(self.auxiliary_weight, float) and self.auxiliary_weight < 0:
            raise ValueError(f"auxiliary_weight must not be below 0: {self.auxiliary_weight}")
        if isinstance(self.freeze, int) and self.freeze < 0:
            raise ValueError(f"freeze must be `all` or a number of layers, at least 0: {self.freeze}")
        if self.lora is not None and self.freeze != 0:
            raise ValueError("lora freezes the whole backbone: leave freeze at 0")
        if self.unfreeze_epochs is not None and (self.lora is not None or self.freeze == "all"):
            raise ValueError("unfreeze_epochs needs layers that may learn: not with lora, nor with freeze: all")
        if not isinstance(self.class_weights, str) and min(self.class_weights, default=1) < 0:
            raise ValueError(f"class_weights must not be below 0: {self.class_weights}")
        return self

    def train_config(self, model: StrictModel, steps: int) -> TrainConfig:
        """The trainer's configuration for a run of `steps` updates, resolved for this machine and model."""
        warmup = 0 if self.schedule == "stlr" else int(self.warmup * steps)
        shapes: dict[str, dict[str, Any]] = {
            # warm-up, then linear to zero, as GPT-1 and BERT
            "linear": {"shape": "wsd", "decay_part": 1 - self.warmup or 1.0},
            "cosine": {"shape": "cosine"},
            "constant": {"shape": "constant"},
            "stlr": {"shape": "stlr"},
        }
        schedule = {**shapes[self.schedule], "warmup_steps": warmup, "final_fraction": 0}
        config = TrainConfig(
            steps=steps,
            batch=self.batch,
            micro_batch=self.micro_batch,
            optimizer=OptimizerConfig(
                learning_rate=self.learning_rate, weight_decay=self.weight_decay, beta1=0.9, beta2=0.999
            ),
            schedule=ScheduleConfig.model_validate(schedule),
            clip=self.clip,
            device=self.device,
            precision=self.precision,
            seed=self.seed,
            metrics_interval=self.metrics_interval,
            eval_interval=math.ceil(steps / self.evaluations),
            sample_interval=0,
            checkpoint_interval=self.checkpoint_interval,
            checkpoint_seconds=self.checkpoint_seconds,
            keep_last=1,
            select="best",
        )
        width, tokens = width_of(model), context_of(model)
        if self._predicts_tokens(model):
            return config.resolve_for(width, model.vocab, tokens)  # type: ignore[attr-defined]
        # no logits of tokens are held: what fills memory then is about as wide as a layer's states, all together
        return config.resolve_for(width, 12 * width, min(self.max_tokens or tokens, tokens))

    def _predicts_tokens(self, model: StrictModel) -> bool:
        return self.auxiliary_weight != 0 and kind_of(model).causal

    def resolve(self, model: StrictModel) -> "FinetuneConfig":
        """Replace every `auto` by what this machine and a model with these settings make of it.

        Raises ValueError for what that kind of model cannot do.
        """
        kind = kind_of(model)
        if not kind.causal and self.auxiliary_weight not in ("auto", 0):
            raise ValueError(
                f"auxiliary_weight is {self.auxiliary_weight}, but a model of kind {model.kind!r} does not predict"  # type: ignore[attr-defined]
                " the next token: leave it out, or set it to 0"
            )
        resolved = self.train_config(model, 1)
        self._fits_features(model)
        update = {name: getattr(resolved, name) for name in ("device", "precision", "micro_batch")}
        chosen = {
            # a head on frozen states is to be linear; a pooler would learn a layer of its own
            "pooling": "pooler" if kind.encoder and self.freeze != "all" else "mean",
            "both_orders": not kind.encoder and not kind.features,
            "scored_piece": "last" if kind.causal else "first",
            "auxiliary_weight": 0.5 if kind.causal else 0.0,
            # before all layers are awake that dev stands still says nothing
            "patience": None if self.unfreeze_epochs is not None else math.ceil(self.evaluations / 2),
        }
        update |= {name: value for name, value in chosen.items() if getattr(self, name) == "auto"}
        return self.model_copy(update=update)

    def _fits_features(self, model: StrictModel) -> None:
        features = kind_of(model).features
        name = model.kind  # type: ignore[attr-defined]
        if not features and self.features_lstm is not None:
            raise ValueError(f"features_lstm is for models that stay as they are; a {name} learns: leave it out")
        if not features:
            return
        for key in ("freeze", "lora", "layer_factor", "unfreeze_epochs"):
            if getattr(self, key) not in (0, None, "all"):
                raise ValueError(f"{key}: nothing of a {name} learns; it gives features of words: leave it out")
        if self.pooling in ("extract", "pooler"):
            raise ValueError(
                f"pooling is {self.pooling}, but the texts of a {name} get no token for it: `mean` or `concat`"
            )


class BaselineConfig(StrictModel):
    """Bag-of-words baseline: logistic regression, of a text on tf-idf of its words, of a word that is tagged on its
    spelling and its neighbours; its strength is chosen on the dev set."""

    inverse_penalty: tuple[float, ...] = Field(
        default=(0.1, 1.0, 10.0, 100.0, 1000.0),
        min_length=1,
        description="Candidates for C, the inverse strength of the L2 penalty; the best on dev, the smallest of"
        " equals.",
    )
    ngrams: int = Field(default=1, ge=1, le=3, description="Of a text: word n-grams of up to this order are features.")
    max_iterations: int = Field(default=1000, ge=1, description="Iterations of the solver at most.")

    @model_validator(mode="after")
    def _positive(self) -> Self:
        if min(self.inverse_penalty) <= 0:
            raise ValueError("inverse_penalty: every candidate must be above 0")
        return self
