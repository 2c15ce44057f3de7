"""The command line. Every command imports what it needs when it runs: `--help` and `why` stay fast."""

import atexit
import errno
import json
import os
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from flows.cli import (  # noqa: F401  these files register their commands
    champion,
    chat,
    exams,
    finetune,
    flows,
    forget,
    lineage,
    models,
    printing,
    refresh,
    studies,
    tasks,
    team,
)
from flows.cli.common import (
    Config,
    Json,
    Overrides,
    Smoke,
    app,
    fail,
    local,
    overrides,
    parquet_file,
    show_result,
    start_flow,
)
from flows.cli.printing import out
from flows.figures import size
from tasks.machine import home

NO_PLACE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG)
"""Where something cannot be read or written, as the system says it: the name is what the user gave."""

KEPT_RUNS, GRACE_HOURS = 5, 24.0

A_CORPUS = "A filter_corpus artifact, or a folder here that `clean` wrote of one; the newest if left out."


def main() -> None:
    """Entry point: expected errors become one line and exit status 1, everything else its traceback."""
    atexit.register(_mute_native_exit)
    try:
        home.configure_environment()
        app()
    except Exception as error:
        said = _said(error)
        if said is None:
            raise
        fail(said)


def _said(error: Exception) -> str | None:
    """The line for an error that is to be expected, a full disk among them; None for a fault of the program."""
    from tasks.storage.disk import full_disk, message, named

    if isinstance(error, _expected_errors()):
        return str(error)
    if isinstance(error, OSError) and error.errno in NO_PLACE and error.filename:
        return f"{error.filename}: {error.strerror}"
    full = full_disk(error)
    return None if full is None else message("this command", named(full))


def _expected_errors() -> tuple[type[Exception], ...]:
    """Imported only when something went wrong: `why` must not wait for the whole configuration."""
    from data_quality.errors import UsageError
    from data_quality.sources.base import BadInput, SourceChanged, SourceNotFound
    from flows.servers.services import ServiceError
    from tasks.machine.credentials import CredentialsError
    from tasks.running.memory import OutOfMemory
    from tasks.running.pool import WorkerDied
    from tasks.store import StoreError

    expected = (
        *(UsageError, BadInput, SourceChanged, SourceNotFound, StoreError),
        *(ServiceError, CredentialsError, WorkerDied, OutOfMemory),
    )
    custom = sys.modules.get("data_quality.custom")  # loads numba; where it was not loaded, nothing raised its error
    return expected if custom is None else (*expected, custom.CustomSignalError)


@app.command()
def run(
    config: Config,
    set_: Overrides = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would run and what would be reused.")] = False,
    smoke: Smoke = False,
    as_json: Json = False,
) -> None:
    """Run the pipeline; starts local servers when none answer, and goes on where a former run stopped."""
    from flows.config.pipeline import load_config

    settings = load_config(config, overrides(set_))
    settings = settings.smoke() if smoke else settings
    if dry_run:
        from flows.commands.plan import plan_pipeline

        show_result(plan_pipeline(settings), as_json, printing.show_plan)
        return
    start_flow("flows.pipeline:textmill_pipeline", settings, as_json)


@app.command()
def clean(
    out_: Annotated[
        str,
        typer.Option(
            "--out",
            metavar="DIR",
            help="The folder to write, here or at a URL (s3://bucket/clean); replaced as a whole.",
            show_default=False,
        ),
    ],
    inputs: Annotated[list[str] | None, typer.Argument(help="Files, directories, globs or URIs.")] = None,
    config: Annotated[Path | None, typer.Option(help="A YAML file such as configs/clean-en.yaml.")] = None,
    set_: Overrides = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes for per-shard work; one per core.")] = None,
    as_json: Json = False,
) -> None:
    """Clean documents and write kept/, dropped/, report.html and manifest.json; needs no server."""
    from flows.commands.clean import clean as run_clean
    from flows.commands.clean import clean_config

    settings = clean_config(inputs or [], config, overrides(set_), workers)
    manifest = run_clean(settings, out_, quiet=as_json, inputs=inputs or [])
    show_result(manifest, as_json, lambda data: printing.show_cleaned(data, out_.rstrip("/")))


@app.command()
def status(as_json: Json = False) -> None:
    """What runs, what waits, what was reused and what it cost; with and without a Prefect server."""
    from flows.cli.printing_status import show_status
    from flows.servers.status import status as look

    show_result(look(), as_json, show_status)


@app.command("ls")
def list_artifacts(
    stage: Annotated[str | None, typer.Argument(help="Only this stage.")] = None,
    parts: Annotated[bool, typer.Option("--parts", help="Also the shards' own artifacts.")] = False,
    as_json: Json = False,
) -> None:
    """List artifacts: key, kind, stage, content digest, path, bytes, created."""
    from flows.commands.artifacts import list_artifacts as look

    show_result(look(stage, parts), as_json, printing.show_artifacts)


@app.command()
def show(
    artifact: Annotated[str, typer.Argument(help="stage/key, a key, a prefix, an alias or a stage.")],
    as_json: Json = False,
) -> None:
    """An artifact's manifest and counts, and its lineage back to the sources."""
    from flows.commands.artifacts import show as look

    show_result(look(artifact), as_json, printing.show_artifact)


@app.command()
def why(
    document: Annotated[str, typer.Argument(help="A document id, or a part of one.")],
    corpus: Annotated[str | None, typer.Option(help=A_CORPUS)] = None,
    as_json: Json = False,
) -> None:
    """Why a document was dropped, by which rule at which value, in favour of which twin; or where it went."""
    from flows.commands.why import why as look

    show_result(look(document, corpus), as_json, printing.show_why)


@app.command()
def tune(
    corpus: Annotated[str | None, typer.Argument(help=A_CORPUS)] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="RULE=VALUE", help="Another threshold for one rule: a number, a word, or [words]."
        ),
    ] = None,
    rulesets: Annotated[str | None, typer.Option(help="Other rulesets, with commas between them.")] = None,
    examples: Annotated[int, typer.Option(min=0, help="Documents to show on each side of a new threshold.")] = 3,
    as_json: Json = False,
) -> None:
    """How many documents and bytes each rule would drop at other thresholds; nothing is changed or computed anew."""
    from flows.commands.tune import tune as look

    thresholds = {rule: _threshold(value) for rule, value in overrides(set_).items()}
    show_result(
        look(corpus, thresholds, [name.strip() for name in rulesets.split(",")] if rulesets else None, examples),
        as_json,
        printing.show_tuning,
    )


@app.command()
def diff(
    before: Annotated[str, typer.Argument(help="A filter_corpus artifact, or a folder that `clean` wrote.")],
    after: Annotated[str, typer.Argument(help="Another one.")],
    write: Annotated[
        Path | None,
        typer.Option("--out", parser=parquet_file, metavar="FILE", help="Write all changes to this Parquet file."),
    ] = None,
    examples: Annotated[int, typer.Option(min=0, help="Ids to show of each kind of change.")] = 3,
    as_json: Json = False,
) -> None:
    """What changed between two corpora: documents new, gone, dropped now or kept now, with the reasons."""
    from flows.commands.diff import diff as look

    show_result(look(before, after, write, examples), as_json, printing.show_diff)


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(help="A folder of documents.")],
    write: Annotated[
        Path | None,
        typer.Option("--out", parser=local, metavar="FILE", help="Write the config here instead of printing it."),
    ] = None,
) -> None:
    """Look at a folder of documents and write a config for it."""
    from data_quality.shards import whole_file
    from flows.commands.init import init_config
    from tasks.storage.disk import room_on_disk

    text = init_config(folder)
    if write is None:
        sys.stdout.write(text)
        return
    if write.exists():
        fail(f"{write} exists; remove it or choose another name")
    with room_on_disk("init", write.parent):
        write.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(write) as draft:
            draft.write_text(text, encoding="utf-8")
    out.print(f"wrote {write}; next: textmill run {write} --dry-run")


@app.command()
def gc(
    delete: Annotated[bool, typer.Option("--delete", help="Delete; without it, only show.")] = False,
    keep_runs: Annotated[int, typer.Option(min=0, help="Newest runs whose artifacts stay.")] = KEPT_RUNS,
    grace_hours: Annotated[float, typer.Option(min=0, help="What was touched since stays.")] = GRACE_HOURS,
) -> None:
    """Show, and with --delete remove, what no alias, recent run or live lock can reach."""
    from flows.commands.gc import sweep
    from tasks.storage.shared import open_store

    swept = sweep(open_store(), keep_runs, grace_hours, delete)
    for item in swept.found:
        printing.show_garbage(*item)
    if not swept.found:
        out.print("nothing to remove")
    elif delete:
        out.print(f"removed {len(swept.found)} of these, {size(swept.bytes)}")
    else:
        same = "textmill gc --delete"
        same += "" if keep_runs == KEPT_RUNS else f" --keep-runs {keep_runs}"
        same += "" if grace_hours == GRACE_HOURS else f" --grace-hours {grace_hours:g}"
        out.print(f"{len(swept.found)} in all, {size(swept.bytes)}; `{same}` removes them")


@app.command()
def unpin(name: Annotated[str, typer.Argument(help="The alias, as in `tokenizer.pin`.")]) -> None:
    """Take an alias away from its artifact: the next run makes a new one."""
    from tasks.storage.shared import open_store

    open_store().remove_alias(name)
    out.print(f"{name} is no alias any more")


@app.command()
def doctor(as_json: Json = False) -> None:
    """Check versions, server imports, disk, ports and locks, and say what to do."""
    from flows.servers.doctor import doctor as examine

    checks = examine()
    marks = {"ok": "[green]ok  [/]", "warn": "[yellow]warn[/]", "fail": "[red]FAIL[/]"}
    if as_json:
        print(json.dumps([vars(check) for check in checks], indent=1, default=str))
    else:
        for check in checks:
            out.print(f"{marks[check.state]}  {check.name:<18} {escape(check.found)}")
            if check.advice:
                out.print(f"      {escape(check.advice)}")
    if any(check.state == "fail" for check in checks):
        raise typer.Exit(1)


def _mute_native_exit() -> None:
    """Registered first, so that it runs last: all of our own output is out.

    Prefect's threads keep DuckDB's types alive when the interpreter ends, and its binding library then prints a page
    of "leaks" on every run.
    """
    sys.stderr.flush()
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


def _threshold(value: str) -> float | str | tuple[str, ...]:
    try:
        return float(value)
    except ValueError:
        listed = value.startswith("[") and value.endswith("]")
        return tuple(word.strip() for word in value[1:-1].split(",")) if listed else value


if __name__ == "__main__":
    main()
