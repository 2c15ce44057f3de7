"""Pretraining a GPT: the parts put together."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lm.artifact import load_model, save_model
from lm.config import GPTConfig, TrainConfig
from lm.evaluate.perplexity import bits_per_byte, unigram_bits_per_byte
from lm.generate import generate_text
from lm.models.gpt import GPT
from lm.objectives.causal import CausalObjective
from lm.order import draw_seed
from lm.packing import PackedSequences
from lm.stop import ShouldStop, never
from lm.tokenizer import load_tokenizer, token_byte_lengths
from lm.tokens import TokenIndex, tokenizer_sha256
from lm.train.hooks import Hooks
from lm.train.trainer import Trainer


def initial_model(config: GPTConfig, seed: int, init_from: Path | None, tokenizer_dir: Path) -> GPT:
    """New weights from `seed`, or those of `init_from` (our own or a Hugging Face folder).

    Raises ValueError if `init_from` has another size than `config` (dropout aside) or another tokenizer.
    """
    if init_from is None:
        return GPT(config, seed=draw_seed(seed, "init"))
    loaded, _ = load_model(init_from)
    theirs, ours = loaded.config.model_dump(exclude={"dropout"}), config.model_dump(exclude={"dropout"})
    if different := [f"{k} {theirs[k]} is not {ours[k]}" for k in ours if ours[k] != theirs[k]]:
        raise ValueError(f"{init_from} is another model than the configured one: {', '.join(different)}")
    if tokenizer_sha256(init_from) != tokenizer_sha256(tokenizer_dir):
        raise ValueError(f"{init_from} has another tokenizer than {tokenizer_dir}: tokenize the text with its own")
    model = GPT(config)
    model.load_state_dict(loaded.state_dict())
    return model


def pretrain(
    train: TokenIndex,
    valid: TokenIndex,
    tokenizer_dir: Path,
    model_config: GPTConfig,
    config: TrainConfig,
    checkpoints: Path,
    out_dir: Path,
    *,
    init_from: Path | None = None,
    hooks: Hooks | None = None,
    should_stop: ShouldStop = never,
) -> dict[str, Any]:
    """Train on `train`, watch bits per byte on `valid`, write a model folder to `out_dir`.

    Goes on from the newest good checkpoint in `checkpoints`. Returns counts and figures: how the run ended
    (`TrainResult`), `valid` (figures of the final weights on all evaluation sequences), `untrained` and
    `unigram` (the two baselines on the same sequences), `parameters`. Raises as `Trainer.run` does.
    """
    sha = tokenizer_sha256(tokenizer_dir)
    for name, index in (("training", train), ("validation", valid)):
        if index.tokenizer_sha256 != sha:
            raise ValueError(f"the {name} tokens were made by another tokenizer than {tokenizer_dir}")
    config = config.resolve(model_config)
    tokenizer = load_tokenizer(tokenizer_dir)
    token_bytes = token_byte_lengths(tokenizer)
    sequences = PackedSequences(train, model_config.context)
    watched = PackedSequences(valid, model_config.context)

    def evaluate(model: nn.Module) -> dict[str, float]:
        return bits_per_byte(model, watched, token_bytes, config.eval_sequences, should_stop=should_stop)

    def sample(model: nn.Module, prompt: str, seed: int) -> str:
        assert isinstance(model, GPT)
        return generate_text(model, tokenizer, prompt, config.sample_tokens, seed=seed, should_stop=should_stop)

    model = initial_model(model_config, config.seed, init_from, tokenizer_dir)
    trainer = Trainer(
        model,
        CausalObjective(token_bytes),
        sequences,
        config,
        config.total_steps(len(sequences), model_config.context),
        checkpoints,
        evaluate=evaluate,
        sample=sample,
        hooks=hooks or Hooks(),
        should_stop=should_stop,
    )
    result = trainer.run()
    with torch.autocast(model.token_embedding.weight.device.type, torch.bfloat16, config.precision == "bf16"):
        final = evaluate(model)
        untrained = evaluate(initial_model(model_config, config.seed, None, tokenizer_dir).to(trainer.device))
    unigram = unigram_bits_per_byte(train.token_counts(), watched, token_bytes, config.eval_sequences)
    save_model(model, tokenizer_dir, out_dir)
    return {
        **asdict(result),
        "checkpoint": result.checkpoint.name,
        "parameters": model_config.parameter_count(),
        "sequences": len(sequences),
        "valid": final,
        "untrained": untrained,
        "unigram": unigram,
    }
