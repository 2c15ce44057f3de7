"""Commands that fine-tune a model and use it. Each imports what it needs when it runs."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from flows.cli_common import (
    Data,
    Json,
    Model,
    Overrides,
    Smoke,
    TaskName,
    app,
    model_folder,
    named,
    overrides,
    start_flow,
)


@app.command()
def finetune(
    config: Annotated[
        Path, typer.Argument(help="A YAML file such as configs/finetune/small-bert.yaml.", show_default=False)
    ],
    task: TaskName = None,
    data: Data = None,
    model: Model = None,
    set_: Overrides = None,
    smoke: Smoke = False,
    as_json: Json = False,
) -> None:
    """Teach a pretrained model a task, over several seeds; goes on where it stopped."""
    from flows.finetune_config import load_tuning

    settings = load_tuning(config, overrides(set_) | named(task=task, data=data, model=model))
    settings.needed()
    start_flow("flows.finetune:tuning_flow", settings.smoke() if smoke else settings, as_json)


@app.command()
def search(
    config: Annotated[
        Path, typer.Argument(help="A YAML file such as configs/search/small-bert.yaml.", show_default=False)
    ],
    task: TaskName = None,
    data: Data = None,
    model: Model = None,
    set_: Overrides = None,
    smoke: Smoke = False,
    as_json: Json = False,
) -> None:
    """Look for the settings of a fine-tuning that are best on dev; goes on where it stopped."""
    from flows.search_config import load_search

    settings = load_search(config, overrides(set_) | named(task=task, data=data, model=model))
    settings.needed()
    start_flow("flows.search:search_flow", settings.smoke() if smoke else settings, as_json)


@app.command()
def predict(
    model: Annotated[
        str, typer.Argument(help="A finetune or finetune_summary artifact, or a folder.", show_default=False)
    ],
    file: Annotated[Path, typer.Argument(help="Records: jsonl, csv, tsv or parquet.", show_default=False)],
    write: Annotated[Path | None, typer.Option("--out", help="Write to this file.")] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
) -> None:
    """Ask a fine-tuned model about each record of a file: a line of JSON for each, with all its columns."""
    from flows.predict import as_line, best_of, predict_file

    folder = best_of(model_folder(model))
    lines = (as_line(record) + "\n" for record in predict_file(folder, file, device, quiet=write is None))
    if write is None:
        for line in lines:
            sys.stdout.write(line)
        return
    write.parent.mkdir(parents=True, exist_ok=True)
    partial = write.with_name(write.name + ".tmp")
    with partial.open("w", encoding="utf-8") as file_:
        file_.writelines(lines)
    os.replace(partial, write)
