"""`textmill refresh`: what the deployment nightly-corpus does every night, now and from a terminal."""

from typing import Annotated

import typer

from flows.cli.common import Config, Json, Overrides, Smoke, app, overrides, start_flow


@app.command()
def refresh(
    config: Config,
    set_: Overrides = None,
    until: Annotated[
        str | None,
        typer.Option(metavar="DATE", help="The corpus of that day: without files whose path names a later date."),
    ] = None,
    smoke: Smoke = False,
    as_json: Json = False,
) -> None:
    """Bring a corpus up to date, and pretrain if enough of it has changed since the last model read it."""
    from flows.config.pipeline import load_config

    dated = {"ingest.until": until} if until is not None else {}
    settings = load_config(config, overrides(set_) | dated)
    start_flow("flows.deployments:corpus_refresh", settings.smoke() if smoke else settings, as_json)
