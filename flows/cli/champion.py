"""`textmill champion`: the weekly comparison, now and from a terminal."""

from pathlib import Path
from typing import Annotated

import typer

from flows.cli.common import Json, Overrides, app, overrides, start_flow


@app.command()
def champion(
    config: Annotated[Path | None, typer.Argument(help="A YAML file such as configs/champion/weekly.yaml.")] = None,
    set_: Overrides = None,
    as_json: Json = False,
) -> None:
    """Compare the registered champion with its challenger; promote the challenger if it wins and a person agrees."""
    from flows.config.champion import ChampionConfig
    from flows.config.loading import CONFIGS, load

    settings = load(config or CONFIGS / "champion" / "weekly.yaml", overrides(set_), ChampionConfig)
    start_flow("flows.champion:champion_flow", settings, as_json)
