"""Commands for exams: put a model to one, list what all models reached, compare two models on those that both sat."""

from typing import Annotated

import typer

from flows.cli.common import Json, Overrides, app, overrides, show_result


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
    from flows.cli.printing_exams import show_exams
    from flows.config.exam import load_exam
    from flows.exam import evaluate as ask
    from tasks.running.run import Resources

    asked = [load_exam(name, overrides(set_)) for name in tasks]
    show_result(ask(model, asked, Resources(), quiet=as_json), as_json, show_exams)


@app.command()
def exams(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[EXAM...]", help="Names of exams; none: all that were sat.", show_default=False),
    ] = None,
    model: Annotated[list[str] | None, typer.Option(help="Only of this model; may be given several times.")] = None,
    figure: Annotated[str | None, typer.Option(help="Another figure than the one that stands for the exam.")] = None,
    as_json: Json = False,
) -> None:
    """All models on the exams that they sat: a table for each question, the best model first, each figure with its
    interval."""
    from flows.cli.printing_exams import show_taken
    from flows.commands.list_exams import exams_taken
    from tasks.storage.shared import open_store

    show_result(exams_taken(open_store(), names or (), model or (), figure), as_json, show_taken)


@app.command()
def compare(
    first: Annotated[
        str,
        typer.Argument(help="A model, an exam, or a fine-tuning (a run or a summary).", show_default=False),
    ],
    second: Annotated[str, typer.Argument(help="Another one.", show_default=False)],
    task: Annotated[str | None, typer.Option(help="Of models only the exam of this name.")] = None,
    as_json: Json = False,
) -> None:
    """Differences of two models on the exams that both sat, or of two fine-tunings on the examples that both answered,
    with paired bootstrap intervals."""
    from flows.cli.printing_exams import show_comparison, show_finetunes
    from flows.commands.compare_exams import compare_exams
    from flows.commands.compare_finetunes import compare_finetunes, finetuning_of
    from flows.config.loading import ConfigError
    from tasks.storage.shared import open_store

    store = open_store()
    names, tuned = (first, second), [finetuning_of(store, name) for name in (first, second)]
    if tuned[0] is not None and tuned[1] is not None:
        if task is not None:
            raise ConfigError(f"--task {task}: names an exam; two fine-tunings are compared on their own task")
        show_result(compare_finetunes(tuned[0], tuned[1]), as_json, show_finetunes)
        return
    if any(tuned):
        is_one, is_none = names if tuned[0] else reversed(names)
        raise ConfigError(f"{is_one} is a fine-tuning and {is_none} is none: compare two of a kind")
    show_result(compare_exams(store, first, second, task), as_json, show_comparison)
