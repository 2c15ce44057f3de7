"""Commands for exams: put a model to one, compare two models on those that both sat."""

from typing import Annotated

import typer

from flows.cli_common import Json, Overrides, app, overrides, show_result


@app.command()
def evaluate(
    model: Annotated[str, typer.Argument(help="A model artifact, an alias, or a model folder.", show_default=False)],
    tasks: Annotated[
        list[str],
        typer.Argument(metavar="TASK...", help="Shipped exams (configs/exams) or YAML files.", show_default=False),
    ],
    set_: Overrides = None,
    as_json: Json = False,
) -> None:
    """Put a model to exams: minimal pairs, prompts, perplexity, probes, ...; what was asked before is free."""
    from flows.exam import evaluate as ask
    from flows.exam_config import load_exam
    from flows.printing_exams import show_exams
    from tasks.run import Resources

    exams = [load_exam(name, overrides(set_)) for name in tasks]
    show_result(ask(model, exams, Resources(), quiet=as_json), as_json, show_exams)


@app.command()
def compare(
    first: Annotated[str, typer.Argument(help="A model, or an exam artifact.", show_default=False)],
    second: Annotated[str, typer.Argument(help="Another one.", show_default=False)],
    task: Annotated[str | None, typer.Option(help="Only the exam of this name.")] = None,
    as_json: Json = False,
) -> None:
    """Differences of two models on the exams that both sat, with paired bootstrap intervals, and the items that
    changed."""
    from flows.compare_exams import compare_exams
    from flows.printing_exams import show_comparison
    from tasks.shared import open_store

    show_result(compare_exams(open_store(), first, second, task), as_json, show_comparison)
