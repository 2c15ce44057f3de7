"""Pretraining a model of any kind on tokens: its recipe, the one trainer, and what is written at the end."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lm.artifact import save_model
from lm.memory import keep_freed_memory
from lm.recipes import bert, elmo, gpt, nnlm, rnn, transformer_xl, xlnet
from lm.recipes.recipe import Given, Recipe
from lm.train.hooks import Hooks
from lm.train.ranks import Alone
from lm.train.trainer import Trainer

RECIPES: dict[str, Callable[[Given], Recipe]] = {
    "gpt": gpt.recipe,
    "rnn": rnn.recipe,
    "nnlm": nnlm.recipe,
    "elmo": elmo.recipe,
    "transformer_xl": transformer_xl.recipe,
    "xlnet": xlnet.recipe,
    "bert": bert.recipe,
    "modern": gpt.modern_recipe,
}


def pretrain(
    given: Given,
    checkpoints: Path,
    out_dir: Path,
    hooks: Hooks | None = None,
    ranks: Alone | None = None,
) -> dict[str, Any]:
    """Train, watch, write a model folder to `out_dir`. `given.config` must be resolved (`Pretrainable.resolve`).
    `ranks`: the processes that share the training; each calls this, the main one alone watches and writes, and what it
    found is returned by all.

    Goes on from the newest good checkpoint in `checkpoints`. Returns counts and figures: how the run ended
    (`TrainResult`), `parameters`, `sequences`, `valid` (figures of the final weights), `untrained` (of new ones) and
    the recipe's baselines. Raises as `Trainer.run` does, and ValueError for what does not fit together.
    """
    keep_freed_memory()
    config = given.config
    recipe = RECIPES[given.settings.model.kind](given)
    trainer = Trainer(
        recipe.model,
        recipe.objective,
        recipe.examples,
        config,
        config.total_steps(len(recipe.examples), given.settings.tokens_per_example),
        checkpoints,
        evaluate=recipe.evaluate,
        sample=recipe.sample,
        hooks=hooks or Hooks(),
        should_stop=given.should_stop,
        best_metric=recipe.best_metric,
        order=recipe.order,
        rate_scale=recipe.rate_scale,
        settings=given.deciding,
        ranks=ranks or Alone(),
    )
    result = trainer.run()

    def finished(model: nn.Module) -> dict[str, Any]:
        with torch.autocast(trainer.device.type, torch.bfloat16, config.precision == "bf16"):
            final = recipe.evaluate(model)
            untrained = recipe.evaluate(recipe.untrained().to(trainer.device))
        save_model(model, given.tokenizer_dir, out_dir)
        return {
            **result.figures(),
            "checkpoint": result.checkpoint.name,
            "parameters": given.settings.model.parameter_count(),
            "sequences": len(recipe.examples),
            "valid": final,
            "untrained": untrained,
            **recipe.baselines(),
        }

    with trainer.ranks.whole(recipe.model) as model:
        return trainer.ranks.told(partial(finished, model))
