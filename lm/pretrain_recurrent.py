"""Pretraining a recurrent language model: the parts put together. `lm.pretrain` does the same for a GPT."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lm.artifact import save_model
from lm.config import TrainConfig
from lm.evaluate.perplexity import unigram_bits_per_byte
from lm.evaluate.recurrent import stream_bits_per_byte
from lm.generate_recurrent import generate_texts
from lm.models.rnn import RNNLM
from lm.models.rnn_config import RNNConfig, StreamConfig
from lm.objectives.recurrent import RecurrentObjective
from lm.order import draw_seed, in_order
from lm.packing import PackedSequences
from lm.stop import ShouldStop, never
from lm.streams import Lanes, RandomLanes
from lm.tokenizer import load_tokenizer, token_byte_lengths
from lm.tokens import TokenIndex, tokenizer_sha256
from lm.train.hooks import Hooks
from lm.train.trainer import Trainer

EVALUATION_LANES = 8


def training_lanes(train: TokenIndex, stream: StreamConfig, config: TrainConfig) -> Lanes:
    """The training text in as many lanes as a batch has examples."""
    if stream.random:
        return RandomLanes(PackedSequences(train, 1), config.batch, stream.bptt, config.seed)
    return Lanes(PackedSequences(train, stream.bptt), config.batch)


def pretrain_recurrent(
    train: TokenIndex,
    valid: TokenIndex,
    tokenizer_dir: Path,
    model_config: RNNConfig,
    stream: StreamConfig,
    config: TrainConfig,
    checkpoints: Path,
    out_dir: Path,
    *,
    hooks: Hooks | None = None,
    should_stop: ShouldStop = never,
) -> dict[str, Any]:
    """Train on `train` with carried state, watch bits per byte on `valid`, write a model folder to `out_dir`.

    Validation text, the first `config.eval_sequences` segments of `stream.bptt` tokens, is read in eight lanes with
    carried state. Goes on from the newest good checkpoint in `checkpoints`. Returns what
    `lm.pretrain.pretrain` returns; raises as `Trainer.run` does, and ValueError if the tokens were made by another
    tokenizer.
    """
    sha = tokenizer_sha256(tokenizer_dir)
    for name, index in (("training", train), ("validation", valid)):
        if index.tokenizer_sha256 != sha:
            raise ValueError(f"the {name} tokens were made by another tokenizer than {tokenizer_dir}")
    config = config.resolve_for(model_config.width, model_config.vocab, stream.bptt)
    tokenizer = load_tokenizer(tokenizer_dir)
    token_bytes = token_byte_lengths(tokenizer)
    lanes = training_lanes(train, stream, config)
    segments = PackedSequences(valid, stream.bptt)
    lanes_watched = max(1, min(EVALUATION_LANES, config.eval_sequences, len(segments)))
    watched = Lanes(segments, lanes_watched, config.eval_sequences)

    def evaluate(model: nn.Module) -> dict[str, float]:
        assert isinstance(model, RNNLM)
        return stream_bits_per_byte(model, watched, token_bytes, should_stop)

    def sample(model: nn.Module, prompt: str, seed: int) -> str:
        assert isinstance(model, RNNLM)
        texts = generate_texts(model, tokenizer, [prompt], config.sample_tokens, seed=seed, should_stop=should_stop)
        return texts[0]

    model = RNNLM(model_config, seed=draw_seed(config.seed, "init"))
    trainer = Trainer(
        model,
        RecurrentObjective(model_config.widths[-1], token_bytes, alpha=stream.alpha, beta=stream.beta),
        lanes,
        config,
        config.total_steps(len(lanes), stream.bptt),
        checkpoints,
        evaluate=evaluate,
        sample=sample,
        hooks=hooks or Hooks(),
        should_stop=should_stop,
        order=in_order,
        rate_scale=lanes.rate_scale,
    )
    result = trainer.run()
    with torch.autocast(model.token_embedding.weight.device.type, torch.bfloat16, config.precision == "bf16"):
        final = evaluate(model)
        untrained = evaluate(RNNLM(model_config, seed=draw_seed(config.seed, "init")).to(trainer.device))
    unigram = unigram_bits_per_byte(train.token_counts(), segments, token_bytes, len(watched))
    save_model(model, tokenizer_dir, out_dir)
    return {
        **asdict(result),
        "checkpoint": result.checkpoint.name,
        "parameters": model_config.parameter_count(),
        "sequences": len(lanes),
        "valid": final,
        "untrained": untrained,
        "unigram": unigram,
    }
