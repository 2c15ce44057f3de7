"""The command that compares systems. It imports what it needs when it runs."""

from pathlib import Path
from typing import Annotated

import typer

from flows.cli.common import Json, Overrides, Smoke, app, fail, named, overrides, start_flow


@app.command()
def study(
    config: Annotated[
        Path, typer.Argument(help="A YAML file such as configs/studies/labels.yaml.", show_default=False)
    ],
    model: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=MODEL", help="A pretrained model: an artifact, an alias or a folder."),
    ] = None,
    set_: Overrides = None,
    smoke: Smoke = False,
    as_json: Json = False,
) -> None:
    """Compare systems over numbers of labels and seeds; goes on where it stopped."""
    from flows.config.study import load_study

    models: dict[str, str | None] = {}
    for item in model or []:
        name, sign, place = item.partition("=")
        if not sign:
            fail(f"--model {item}: write NAME=MODEL, for example --model gpt=pretrain/0123abcd")
        models[f"models.{name}"] = place
    settings = load_study(config, overrides(set_) | named(**models))
    used = {system.model for system in settings.systems.values() if system.model is not None}
    for given in models:
        if (name := given.removeprefix("models.")) not in used:
            fail(
                f"--model {name}=...: no system of {config} names a model {name!r}; they name {', '.join(sorted(used))}"
            )
    for system in settings.systems.values():
        if system.model is not None:
            settings.model_of(system)
    start_flow("flows.study:study_flow", settings.smoke() if smoke else settings, as_json)
