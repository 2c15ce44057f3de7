"""Commands about where a model comes from: made again from its sources, documents to models and back, its card."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from flows.cli.common import Json, app, fail, parquet_file, show_result
from flows.cli.printing import out


@app.command()
def card(
    model: Annotated[str, typer.Argument(help="A model: an artifact or an alias.", show_default=False)],
    register: Annotated[bool, typer.Option("--register", help="Also renew it in MLflow's registry.")] = False,
    as_json: Json = False,
) -> None:
    """A model's card as it is now: data, licences, training, evaluation, limits, energy, how to rebuild it."""
    from flows.commands.card import model_card

    found = model_card(model, register)
    if register and not found["registered"]:
        fail(f"{found['artifact']} is registered under no name in MLflow; without --register its card is shown")
    show_result(found, as_json, lambda data: sys.stdout.write(data["card"]))


@app.command()
def rebuild(
    model: Annotated[str, typer.Argument(help="A model, or any artifact: stage/key or an alias.", show_default=False)],
    go_on: Annotated[bool, typer.Option("--go-on", help="Build on after a stage that came out different.")] = False,
    keep: Annotated[bool, typer.Option("--keep", help="Leave what was built; else only where it differs.")] = False,
    workers: Annotated[int, typer.Option(min=0, help="Processes for per-shard work; 0 means one per core.")] = 0,
    as_json: Json = False,
) -> None:
    """Make a model again from its sources in a fresh store, and compare the digest of every stage."""
    from flows.commands.rebuild import describe
    from flows.commands.rebuild import rebuild as make
    from tasks.running.run import Resources

    answer = make(model, Resources(workers=workers), go_on=go_on, keep=keep, quiet=as_json)
    show_result(answer, as_json, lambda data: out.print(describe(data), markup=False))
    if not answer["equal"]:
        raise typer.Exit(1)


@app.command()
def trace(
    document: Annotated[str | None, typer.Argument(help="A document's whole id.", show_default=False)] = None,
    model: Annotated[str | None, typer.Option(help="Instead, a model: which documents it has read.")] = None,
    write: Annotated[
        Path | None,
        typer.Option(
            "--out", parser=parquet_file, metavar="FILE", help="Write a model's documents to this Parquet file."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Every model, tokenizer, exam and corpus that saw a document; or, with --model, the documents that a model saw."""
    from flows.commands import trace as look

    if (document is None) == (model is None):
        fail("name either a document, or a model with --model")
    if model is not None:
        answer = look.documents_of(model, write)
        show_result(answer, as_json, lambda data: out.print(look.describe_documents(data), markup=False))
        return
    assert document is not None
    if write is not None:
        fail("--out goes with --model")
    show_result(look.trace(document), as_json, lambda data: out.print(look.describe(data), markup=False))
