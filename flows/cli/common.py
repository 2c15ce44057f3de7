"""What the commands share: how they take settings, start a flow, print and fail."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.markup import escape

from flows.cli import printing

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Textmill: from raw text to a fine-tuned language model, every stage resumable.",
)
err = Console(stderr=True, highlight=False, soft_wrap=True, emoji=False)


def local(text: str) -> Path:
    """A path that a command writes to; ends the process for a URL, which would become a folder called `s3:`."""
    from tasks.storage.objects import is_url

    if is_url(text):
        fail(
            f"{text} is a URL, and this command writes to this machine: name a path, and copy from there (of the "
            "commands only `clean --out` writes to a URL)"
        )
    return Path(text)


def parquet_file(text: str) -> Path:
    """A path for a Parquet file; ends the process for a name that promises another format."""
    if not text.endswith(".parquet"):
        fail(f"{text}: what is written is a Parquet file: give it a name that ends in .parquet")
    return local(text)


Json = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]
Config = Annotated[Path, typer.Argument(help="A YAML file such as configs/quickstart.yaml.", show_default=False)]
Overrides = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Replace one value.")]
TaskName = Annotated[str | None, typer.Option(help="A task's YAML file, or a shipped one's name.")]
Data = Annotated[str | None, typer.Option(help="Instead, a labelled set: an artifact or a folder.")]
Model = Annotated[str | None, typer.Option(help="The pretrained model: an artifact, an alias or a folder.")]
Smoke = Annotated[bool, typer.Option("--smoke", help="Cut data and budget down to about a minute.")]


def start_flow(entrypoint: str, settings: Any, as_json: bool, **parameters: bool) -> None:
    """Run a flow in this process and show its summary; exit status 1 if it did not complete."""
    from flows.commands.start import run_flow

    summary = run_flow(entrypoint, settings, quiet=as_json, **parameters)
    show_result(summary, as_json, printing.show_summary)
    if summary["state"] != "Completed":
        raise typer.Exit(1)


def overrides(given: list[str] | None) -> dict[str, str]:
    """Values by dotted key, from `--set KEY=VALUE`; ends the process for one without a sign."""
    pairs = {}
    for item in given or []:
        key, sign, value = item.partition("=")
        if not sign:
            fail(f"--set {item}: write KEY=VALUE, for example --set pretrain.train.steps=200")
        pairs[key] = value
    return pairs


def named(**given: str | None) -> dict[str, str]:
    """Options that were given as overrides of the keys of their names."""
    # as JSON, which is YAML: in quotes of YAML's own a backslash would begin an escape
    return {name: json.dumps(value, ensure_ascii=False) for name, value in given.items() if value is not None}


def model_folder(name: str) -> Path:
    """The folder of a model: a path, or an artifact that is checked first. Raises StoreError if there is none."""
    from tasks.storage.shared import open_store

    folder = Path(name)
    return folder if folder.is_dir() else open_store().checked(name).path


def show_result(data: Any, as_json: bool, human: Any) -> None:
    """Print one JSON document, or what `human` makes of the data."""
    if as_json:
        print(json.dumps(data, indent=1, ensure_ascii=False, default=str))
    else:
        human(data)


def fail(message: str) -> NoReturn:
    """One line, and exit status 1."""
    err.print(f"[red]error:[/] {escape(message)}")
    sys.exit(1)
