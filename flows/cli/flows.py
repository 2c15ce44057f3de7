"""Commands that read a YAML file and run a flow with it: all have the same options. Each imports what it needs when it
runs."""

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from flows.cli.common import Data, Json, Model, Overrides, Smoke, TaskName, app, named, overrides, start_flow


def flow_command(name: str, example: str, load: str, flow: str, says: str) -> None:
    """Register a command. `load` is the function that reads its file, `flow` what is run, both as `module:name`."""

    def command(
        config: Annotated[Path, typer.Argument(help=f"A YAML file such as {example}.", show_default=False)],
        set_: Overrides = None,
        smoke: Smoke = False,
        as_json: Json = False,
    ) -> None:
        settings = _found(load)(config, overrides(set_))
        start_flow(flow, settings.smoke() if smoke else settings, as_json)

    app.command(name, help=says)(command)


def learning_command(name: str, example: str, load: str, flow: str, says: str) -> None:
    """The same for what teaches a pretrained model something: with the model, and a task or data."""

    def command(
        config: Annotated[Path, typer.Argument(help=f"A YAML file such as {example}.", show_default=False)],
        task: TaskName = None,
        data: Data = None,
        model: Model = None,
        set_: Overrides = None,
        smoke: Smoke = False,
        as_json: Json = False,
    ) -> None:
        from flows.config.task import load_shipped_task

        settings = _found(load)(config, overrides(set_) | named(task=task, data=data, model=model))
        settings.needed()
        if settings.task is not None:  # what is wrong with it is said before a run begins
            load_shipped_task(settings.task, settings.limits)
        start_flow(flow, settings.smoke() if smoke else settings, as_json)

    app.command(name, help=says)(command)


def _found(place: str) -> Callable[..., Any]:
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(module), name)


flow_command(
    "ladder",
    "configs/ladder.yaml",
    "flows.config.ladder:load_ladder",
    "flows.ladder:ladder_flow",
    "Train models of several generations on one corpus and set them side by side; goes on where it stopped.",
)
flow_command(
    "pretrain",
    "configs/models/rnn.yaml",
    "flows.config.ladder:load_model_config",
    "flows.ladder:model_flow",
    "Train one model of any generation and score it on held-out text; goes on where it stopped.",
)
flow_command(
    "train-translator",
    "configs/translation/transformer.yaml",
    "flows.config.translation:load_translation",
    "flows.translate:translator_flow",
    "Train a model that turns one text into another from pairs of texts; goes on where it stopped.",
)
learning_command(
    "finetune",
    "configs/finetune/small-bert.yaml",
    "flows.config.finetune:load_tuning",
    "flows.finetune:tuning_flow",
    "Teach a pretrained model a task, over several seeds; goes on where it stopped.",
)
learning_command(
    "search",
    "configs/search/small-bert.yaml",
    "flows.config.search:load_search",
    "flows.search:search_flow",
    "Look for the settings of a fine-tuning that are best on dev; goes on where it stopped.",
)
learning_command(
    "instruct",
    "configs/instruct/chat.yaml",
    "flows.config.instruct:load_instruct",
    "flows.instruct:instruct_flow",
    "Teach a pretrained model to answer, from conversations or pairs; goes on where it stopped.",
)
