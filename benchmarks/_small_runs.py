"""Short trainings that the claims are checked with: characters or bytes, one process, figures out."""

import math
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from lm.config import OptimizerConfig, TrainConfig
from lm.evaluate.permutation import permutation_loss
from lm.evaluate.perplexity import bits_per_byte
from lm.evaluate.recurrent import stream_bits_per_byte
from lm.models.gpt import GPT
from lm.models.gpt_config import GPTConfig
from lm.models.xlnet import XLNet
from lm.models.xlnet_config import PermutationConfig
from lm.nn.stateful import Stateful
from lm.objectives.causal import CausalObjective
from lm.objectives.permutation import PermutationObjective, Permuted
from lm.objectives.recurrent import RecurrentObjective
from lm.order import draw_seed, examples_at, in_order, numbered_by_epoch
from lm.streams import ArrayPieces, Lanes
from lm.train.hooks import Hooks
from lm.train.trainer import Trainer

LANES = 8


def data(name: str) -> Path:
    """A file or folder below TEXTMILL_DATA."""
    if "TEXTMILL_DATA" not in os.environ:
        sys.exit(f"set TEXTMILL_DATA to the folder that holds {name}")
    return Path(os.environ["TEXTMILL_DATA"]) / name


def shakespeare() -> tuple[np.ndarray, np.ndarray, int]:
    """tinyshakespeare as numbers of its 65 characters, one byte each: the first 90 % to train, the last 10 % to score,
    as nanoGPT cuts it; and how many characters there are."""
    text = data("labelled/tinyshakespeare/input.txt").read_text()
    alphabet = {character: number for number, character in enumerate(sorted(set(text)))}
    numbers = np.array([alphabet[character] for character in text])
    cut = int(0.9 * len(numbers))
    return numbers[:cut], numbers[cut:], len(alphabet)


def train(
    model: nn.Module,
    train_text: np.ndarray,
    valid_text: np.ndarray,
    *,
    context: int,
    steps: int,
    batch: int,
    rate: float,
    seed: int = 1,
    precision: str = "fp32",
    directory: Path | None = None,
    permutation: PermutationConfig | None = None,
) -> dict[str, Any]:
    """Train a GPT or an XLNet on shuffled windows, or a model with carried state on lanes; AdamW, cosine, every target
    one byte.

    The validation text is scored in windows of `context` (GPT) or in eight lanes with carried state. With `directory`,
    a run that was killed goes on from its last checkpoint; speeds are then those of what this process did.
    """
    vocab, width = model.config.vocab, model.config.width  # type: ignore[union-attr]
    one_byte, stateful = np.ones(vocab, dtype=np.int64), isinstance(model, Stateful)
    pieces, watched = ArrayPieces(train_text, context), ArrayPieces(valid_text, context)
    config = TrainConfig(
        steps=steps,
        batch=batch,
        precision=precision,  # type: ignore[arg-type]
        seed=seed,
        optimizer=OptimizerConfig(learning_rate=rate, beta2=0.99, weight_decay=0.1 if not stateful else 0.0),
        eval_interval=0,
        sample_interval=0,
        checkpoint_seconds=10 if directory else 0,
    ).resolve_for(width, vocab, context)
    config = config.model_copy(update={"micro_batch": batch})
    speeds: list[float] = []
    objective: Any = RecurrentObjective(width, one_byte) if stateful else CausalObjective(one_byte)
    examples: Any = Lanes(pieces, batch) if stateful else pieces
    order = in_order if stateful else examples_at
    if isinstance(model, XLNet):
        objective, order = PermutationObjective(), numbered_by_epoch
        examples = Permuted(pieces, context, permutation or PermutationConfig(), seed)
    with tempfile.TemporaryDirectory() as temporary:
        trainer = Trainer(
            model,
            objective,
            examples,
            config,
            steps,
            directory or Path(temporary),
            hooks=Hooks(on_metrics=lambda _step, figures: speeds.append(figures["tokens_per_second"])),
            order=order,
        )
        start, begun = time.perf_counter(), time.process_time()
        result = trainer.run()
        spent, cpu = time.perf_counter() - start, time.process_time() - begun
    if isinstance(model, Stateful):
        scored = stream_bits_per_byte(model, Lanes(watched, LANES), one_byte)
    else:
        scored = bits_per_byte(model, watched, one_byte, batch=32)
    if isinstance(model, XLNet):
        fixed = Permuted(watched, context, PermutationConfig(), seed=0)
        scored["permutation_loss"] = permutation_loss(model, fixed, batch=32)
    return {
        "bits_per_byte": round(scored["bits_per_byte"], 4),
        "nats": round(scored["bits_per_byte"] * math.log(2), 4),
        **({"permutation_loss": round(scored["permutation_loss"], 4)} if "permutation_loss" in scored else {}),
        "device": config.device,
        "tokens": steps * batch * context,
        "seconds": round(spent, 1),
        "tokens_per_second": round(float(np.median(speeds or [0.0]))),
        "tokens_per_cpu_second": round((steps - (result.resumed_from or 0)) * batch * context / cpu),
    }


def gpt(vocab: int, layers: int, width: int, context: int, seed: int = 1, heads: int | None = None) -> GPT:
    """A GPT without dropout, heads of about 32."""
    heads = heads or max(1, width // 32)
    config = GPTConfig(layers=layers, width=width, heads=heads, context=context, vocab=vocab)
    return GPT(config, seed=draw_seed(seed, "init"))
