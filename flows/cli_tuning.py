"""Commands that fine-tune a model and use it. Each imports what it needs when it runs."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from flows.cli_common import Json, Overrides, app, model_folder, overrides, start_flow


@app.command()
def finetune(
    config: Annotated[
        Path, typer.Argument(help="A YAML file such as configs/finetune/small-bert.yaml.", show_default=False)
    ],
    task: Annotated[str | None, typer.Option(help="A task's YAML file, or a shipped one's name.")] = None,
    data: Annotated[str | None, typer.Option(help="Instead, a labelled set: an artifact or a folder.")] = None,
    model: Annotated[str | None, typer.Option(help="The pretrained model: an artifact, an alias or a folder.")] = None,
    set_: Overrides = None,
    smoke: Annotated[bool, typer.Option("--smoke", help="Cut data and budget down to about a minute.")] = False,
    as_json: Json = False,
) -> None:
    """Teach a pretrained model a task, over several seeds; goes on where it stopped."""
    from flows.tuning_config import load_tuning

    named = {name: value for name, value in (("task", task), ("data", data), ("model", model)) if value is not None}
    settings = load_tuning(config, overrides(set_) | {name: f'"{value}"' for name, value in named.items()})
    settings.needed()
    start_flow("flows.tuning:tuning_flow", settings.smoke() if smoke else settings, as_json)


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
