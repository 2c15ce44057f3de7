"""Any pretrained model as a task sees it: tokens in, hidden states out, and its layers from the bottom up."""

import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lm.artifact import CONFIGS, described, load_torch
from lm.config import StrictModel
from lm.finetune.kinds import KINDS, Kind, context_of, kind_of, settings_of, width_of
from lm.interop.hugging_face import IMPORT
from lm.models.bert import Bert
from lm.models.xlnet import XLNet
from lm.nn.masks import Padding

MODULES = {settings.model_fields["kind"].default: module for module, settings in CONFIGS.items()}
BY_TOKEN = ("token_embedding.weight", "head.weight", "head_bias")
"""Tensors with a row for each token of the vocabulary."""
NOT_READ = {
    Bert: ("transform.", "bias", "pair_head.", "boundary_head."),
    XLNet: ("mask_embedding", "head_bias"),
}
"""What belongs to pretraining alone: it stays as it is."""
LAYER = re.compile(r"^(?:blocks|layers)\.(\d+)\.|^recurrent\.cells\.(\d+)_")


class Backbone(nn.Module):
    """A model of one of `KINDS`. Padding is on the right."""

    settings: StrictModel
    kind: Kind

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        assert isinstance(model.config, StrictModel)
        self.model, self.settings = model, model.config
        self.kind = kind_of(self.settings)
        self.width, self.context = width_of(self.settings), context_of(self.settings)
        for name, p in model.named_parameters():
            if name.startswith(NOT_READ.get(type(model), ("no parameter",))):
                p.requires_grad_(False)

    @property
    def vocab(self) -> int:
        """Tokens that it knows, new ones included."""
        return int(self.settings.vocab)  # type: ignore[attr-defined]

    def forward(self, tokens: Tensor, segments: Tensor | None = None, real: Tensor | None = None) -> Tensor:
        """Hidden states of the last layer, [batch, time, width].

        `tokens`, `segments`: int64 [batch, time]; `real`: bool [batch, time], False for padding, which a causal model
        does not need to be told. Raises ValueError beyond the context.
        """
        if isinstance(self.model, Bert):
            if self.model.config.segments == 1:
                segments = None
            return self.model.hidden_states(tokens, segments, None if real is None else Padding(real))
        if isinstance(self.model, XLNet):
            return self.model.read(tokens, segments=segments, real=real).content
        states: Tensor = self.model.hidden_states(tokens)  # type: ignore[operator]
        return states

    def logits(self, hidden: Tensor) -> Tensor:
        """Scores of the next token, [..., width] -> [..., vocab], in a causal model."""
        scores: Tensor = self.model.logits(hidden)  # type: ignore[operator]
        return scores

    def layers(self) -> list[list[nn.Parameter]]:
        """What learns, from the bottom up: the embeddings (and all that is not in a layer), then layer by layer. The
        final norm belongs to the last."""
        by_layer: dict[int, list[nn.Parameter]] = {-1: []}
        names = NOT_READ.get(type(self.model), ("no parameter",))
        top: list[nn.Parameter] = []
        for name, p in self.model.named_parameters():
            if name.startswith(names):
                continue
            if name.startswith("ln_f."):
                top.append(p)
                continue
            found = LAYER.match(name)
            by_layer.setdefault(-1 if found is None else int(found[1] or found[2]), []).append(p)
        layers = [by_layer[number] for number in sorted(by_layer)]
        layers[-1].extend(top)
        return layers


def open_backbone(folder: Path) -> tuple[Backbone, Any]:
    """The backbone (on the CPU, in eval mode) and tokenizer of a model folder, ours or one of Hugging Face that
    `textmill import` reads; of one that gives features its `lm.finetune.features.words.Words`.

    Raises FileNotFoundError or ValueError saying what is missing or cannot be fine-tuned.
    """
    config = described(folder)
    if "kind" in config:
        try:
            kind = kind_of(settings_of(config))
        except ValueError as error:
            raise ValueError(f"{folder}: {error}") from error
        if kind.features:
            from lm.finetune.features.backbone import open_features  # which is one of these

            return open_features(folder)
        model, tokenizer = load_torch(folder, MODULES[config["kind"]])
    elif (theirs := config.get("model_type")) in IMPORT:
        model, tokenizer = IMPORT[theirs](folder)
    else:
        raise ValueError(
            f"{folder}: a Hugging Face model of type {theirs!r} is none of ours; {', '.join(IMPORT)} can be read"
        )
    return Backbone(model.eval()), tokenizer


@torch.no_grad()
def with_new_tokens(backbone: Backbone, rows: int, seed: int, dropout: float | None = None) -> Backbone:
    """A copy whose vocabulary has `rows` more tokens at its end; nothing else is new.

    The new rows are drawn from N(0, .02) (openai/finetune-transformer-lm `train.py`), their biases are 0. `dropout`
    replaces that of the backbone.
    """
    old = backbone.settings
    update: dict[str, float] = {"vocab": backbone.vocab + rows}
    if dropout is not None:
        update |= {name: dropout for name in ("dropout", "attention_dropout") if name in type(old).model_fields}
    larger = type(backbone.model)(old.model_copy(update=update))
    weights = dict(backbone.model.state_dict())
    generator = torch.Generator().manual_seed(seed)
    for name in BY_TOKEN:
        if name in weights and rows:
            new = torch.zeros(rows, *weights[name].shape[1:])
            if new.dim() > 1:
                new.normal_(0, 0.02, generator=generator)
            weights[name] = torch.cat([weights[name], new.to(weights[name])])
    larger.load_state_dict(weights)
    return Backbone(larger)


def randomised(backbone: Backbone, seed: int) -> Backbone:
    """Random weights of the same size."""
    return Backbone(type(backbone.model)(backbone.settings, seed=seed))


assert {name for name, kind in KINDS.items() if not kind.features} <= set(MODULES)
