"""The command that keeps documents out from now on, and takes what was made of them out of use."""

from pathlib import Path
from typing import Annotated

import typer

from flows.cli.common import Json, app, fail, show_result
from flows.cli.printing import out


@app.command()
def forget(
    documents: Annotated[
        list[str] | None,
        typer.Argument(metavar="ID...", help="Whole ids; source:path means all of a file.", show_default=False),
    ] = None,
    file: Annotated[Path | None, typer.Option(help="A text file with an id on each line.")] = None,
    source: Annotated[list[str] | None, typer.Option(help="All documents of a source; may be given often.")] = None,
    why: Annotated[str, typer.Option(help="The reason, for the record.")] = "",
    with_twins: Annotated[bool, typer.Option("--with-twins", help="Near-twins, too.")] = False,
    unseen: Annotated[bool, typer.Option("--unseen", help="Also what was never read here.")] = False,
    retire: Annotated[bool, typer.Option("--retire", help="Take names from what was made of them.")] = False,
    withdraw: Annotated[str | None, typer.Option(metavar="REQUEST", help="Let a request no longer stand.")] = None,
    list_: Annotated[bool, typer.Option("--list", help="Every request and what became of it.")] = False,
    as_json: Json = False,
) -> None:
    """Mark documents that the next refresh leaves out; say what was made of them, and with --retire take it out of use.

    Marking changes nothing that is there. The list is in the store (forgotten/) and only ever grows.
    """
    from flows.commands import forget as work

    ids = [*(documents or []), *(_lines(file) if file else [])]
    marks = bool(ids or source)
    if sum((marks, retire, withdraw is not None, list_)) != 1:
        fail("name documents (ID..., --file, --source), or one of --retire, --withdraw REQUEST and --list")
    if list_:
        show_result(work.history(), as_json, lambda data: out.print(work.describe_history(data), markup=False))
    elif withdraw is not None:
        answer = work.withdrawn(withdraw, why)
        show_result(answer, as_json, lambda data: out.print(f"{data['withdraws']} no longer stands", markup=False))
    elif retire:
        show_result(work.retire(why), as_json, lambda data: out.print(work.describe_retired(data), markup=False))
    else:
        answer = work.forget(ids, source or [], why, with_twins=with_twins, unseen=unseen)
        show_result(answer, as_json, lambda data: out.print(work.describe(data), markup=False))


def _lines(file: Path) -> list[str]:
    try:
        text = file.read_text(encoding="utf-8-sig")
    except OSError as error:
        fail(f"{file}: {error.strerror}")
    except UnicodeDecodeError:
        fail(f"{file} is not UTF-8")
    return [line.strip() for line in text.splitlines() if line.strip()]
