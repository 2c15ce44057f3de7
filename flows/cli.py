"""The command line. Every command imports what it needs when it runs: `--help` and `why` stay fast."""

import atexit
import json
import os
import sys
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.markup import escape

from flows import printing
from flows.printing import out
from tasks import home

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Textmill: from raw text to a fine-tuned language model, every stage resumable.",
)
err = Console(stderr=True, highlight=False, soft_wrap=True)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]
Config = Annotated[Path, typer.Argument(help="A YAML file such as configs/quickstart.yaml.", show_default=False)]
Overrides = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Replace one value.")]


def main() -> None:
    """Entry point: expected errors become one line and exit status 1, everything else its traceback."""
    home.configure_environment()
    atexit.register(_mute_native_exit)
    try:
        app()
    except Exception as error:
        if not isinstance(error, _expected_errors()):
            raise
        _fail(str(error))


def _expected_errors() -> tuple[type[Exception], ...]:
    """Imported only when something went wrong: `why` must not wait for the whole configuration."""
    from data_quality.sources.base import BadInput, SourceChanged, SourceNotFound
    from flows.loading import ConfigError
    from flows.services import ServiceError
    from tasks.pool import WorkerDied
    from tasks.store import StoreError

    expected = (ConfigError, BadInput, SourceChanged, SourceNotFound, StoreError, ServiceError, WorkerDied)
    custom = sys.modules.get("data_quality.custom")  # loads numba; where it was not loaded, nothing raised its error
    return expected if custom is None else (*expected, custom.CustomSignalError)


@app.command()
def run(
    config: Config,
    set_: Overrides = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would run and what would be reused.")] = False,
    smoke: Annotated[bool, typer.Option("--smoke", help="Cut data and budget down to about a minute.")] = False,
    as_json: Json = False,
) -> None:
    """Run the pipeline; starts local servers when none answer, and goes on where a former run stopped."""
    from flows.config import load_config

    settings = load_config(config, _overrides(set_))
    settings = settings.smoke() if smoke else settings
    if dry_run:
        from flows.plan import plan_pipeline

        _print(plan_pipeline(settings), as_json, printing.show_plan)
        return
    _run_flow("flows.pipeline:textmill_pipeline", settings, as_json)


@app.command()
def ladder(
    config: Config,
    set_: Overrides = None,
    smoke: Annotated[bool, typer.Option("--smoke", help="Cut data and budget down to about a minute.")] = False,
    as_json: Json = False,
) -> None:
    """Train models of several generations on one corpus and set them side by side; goes on where it stopped."""
    from flows.ladder_config import load_ladder

    settings = load_ladder(config, _overrides(set_))
    _run_flow("flows.ladder:ladder_flow", settings.smoke() if smoke else settings, as_json)


@app.command()
def pretrain(
    config: Annotated[Path, typer.Argument(help="A YAML file such as configs/models/rnn.yaml.", show_default=False)],
    set_: Overrides = None,
    smoke: Annotated[bool, typer.Option("--smoke", help="Cut data and budget down to about a minute.")] = False,
    as_json: Json = False,
) -> None:
    """Train one model of any generation and score it on held-out text; goes on where it stopped."""
    from flows.ladder_config import load_model_config

    settings = load_model_config(config, _overrides(set_))
    _run_flow("flows.ladder:model_flow", settings.smoke() if smoke else settings, as_json)


@app.command("train-translator")
def train_translator(
    config: Annotated[
        Path, typer.Argument(help="A YAML file such as configs/translation/transformer.yaml.", show_default=False)
    ],
    set_: Overrides = None,
    smoke: Annotated[bool, typer.Option("--smoke", help="Cut data and budget down to about a minute.")] = False,
    as_json: Json = False,
) -> None:
    """Train a model that turns one text into another from pairs of texts; goes on where it stopped."""
    from flows.translation_config import load_translation

    settings = load_translation(config, _overrides(set_))
    _run_flow("flows.translate:translator_flow", settings.smoke() if smoke else settings, as_json)


@app.command()
def translate(
    model: Annotated[str, typer.Argument(help="A train_translator artifact, or a model folder.", show_default=False)],
    file: Annotated[Path, typer.Argument(help="A text file, UTF-8, a source a line.", show_default=False)],
    beam: Annotated[int, typer.Option(min=1, help="Hypotheses kept at each step; 1 is greedy.")] = 4,
    alpha: Annotated[float, typer.Option(min=0.0, help="Strength of the length penalty.")] = 0.6,
    as_json: Json = False,
) -> None:
    """Translate a file line by line."""
    from flows.translate import translate_file

    found = translate_file(_model_folder(model), file, beam, alpha, quiet=as_json)
    _print(found, as_json, lambda data: [print(line["translation"]) for line in data["lines"]])


@app.command()
def clean(
    out_: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="The folder to write; replaced as a whole.", show_default=False)
    ],
    inputs: Annotated[list[str] | None, typer.Argument(help="Files, directories, globs or URIs.")] = None,
    config: Annotated[Path | None, typer.Option(help="A YAML file such as configs/clean-en.yaml.")] = None,
    set_: Overrides = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes for per-shard work; one per core.")] = None,
    as_json: Json = False,
) -> None:
    """Clean documents and write kept/, dropped/, report.html and manifest.json; needs no server."""
    from flows.clean import clean as run_clean
    from flows.clean import clean_config

    settings = clean_config(inputs or [], config, _overrides(set_), workers)
    manifest = run_clean(settings, out_, quiet=as_json)
    _print(manifest, as_json, lambda data: printing.show_cleaned(data, out_))


@app.command()
def up() -> None:
    """Start the Prefect server, the MLflow server and a worker, and deploy everything in prefect.yaml."""
    from flows.deploy import up as start_all

    with err.status("starting servers, worker and deployments"):
        services = start_all()
    printing.show_services(services)
    _send_journals()


@app.command()
def down() -> None:
    """Stop what `up` or `run` started, and nothing else."""
    from flows.services import down as stop_all

    stopped = stop_all()
    out.print(f"stopped: {', '.join(stopped)}" if stopped else "nothing was running")


@app.command()
def status(as_json: Json = False) -> None:
    """What runs: servers, pipeline runs, and what the store holds."""
    from flows.status import status as look

    _print(look(), as_json, printing.show_status)


@app.command("ls")
def list_artifacts(
    stage: Annotated[str | None, typer.Argument(help="Only this stage.")] = None,
    parts: Annotated[bool, typer.Option("--parts", help="Also the shards' own artifacts.")] = False,
    as_json: Json = False,
) -> None:
    """List artifacts: key, kind, stage, content digest, path, bytes, created."""
    from flows.artifacts import list_artifacts as look

    _print(look(stage, parts), as_json, printing.show_artifacts)


@app.command()
def show(
    artifact: Annotated[str, typer.Argument(help="stage/key, a key, a prefix, an alias or a stage.")],
    as_json: Json = False,
) -> None:
    """An artifact's manifest and counts, and its lineage back to the sources."""
    from flows.artifacts import show as look

    _print(look(artifact), as_json, printing.show_artifact)


@app.command()
def why(
    document: Annotated[str, typer.Argument(help="A document id, or a part of one.")],
    corpus: Annotated[str | None, typer.Option(help="A filter_corpus artifact; the newest if left out.")] = None,
    as_json: Json = False,
) -> None:
    """Why a document was dropped, by which rule at which value, in favour of which twin; or where it went."""
    from flows.why import why as look

    _print(look(document, corpus), as_json, printing.show_why)


@app.command()
def tune(
    corpus: Annotated[str | None, typer.Argument(help="A filter_corpus artifact; the newest if left out.")] = None,
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
    from flows.tune import tune as look

    thresholds = {rule: _threshold(value) for rule, value in _overrides(set_).items()}
    _print(look(corpus, thresholds, rulesets.split(",") if rulesets else None, examples), as_json, printing.show_tuning)


@app.command()
def diff(
    before: Annotated[str, typer.Argument(help="A filter_corpus artifact.")],
    after: Annotated[str, typer.Argument(help="Another one.")],
    write: Annotated[Path | None, typer.Option("--out", help="Write all changes to this Parquet file.")] = None,
    examples: Annotated[int, typer.Option(min=0, help="Ids to show of each kind of change.")] = 3,
    as_json: Json = False,
) -> None:
    """What changed between two corpora: documents new, gone, dropped now or kept now, with the reasons."""
    from flows.diff import diff as look

    _print(look(before, after, write, examples), as_json, printing.show_diff)


@app.command()
def generate(
    model: Annotated[str, typer.Argument(help="A pretrain artifact, or a model folder.")] = "pretrain",
    prompt: Annotated[str, typer.Option(help="The beginning of the text.")] = "",
    tokens: Annotated[int, typer.Option(min=1, help="New tokens at most.")] = 100,
    temperature: Annotated[float, typer.Option(min=0.0, help="0 always takes the likeliest token.")] = 0.8,
    top_k: Annotated[int, typer.Option(min=1, help="Draw from so many of the likeliest tokens.")] = 50,
    top_p: Annotated[float | None, typer.Option(help="Of these, from the likeliest whose mass reaches this.")] = None,
    penalty: Annotated[float, typer.Option(help="Above 1: tokens that were there are less likely.")] = 1.0,
    stop: Annotated[list[str] | None, typer.Option(help="End before this string; may be given often.")] = None,
    seed: Annotated[int, typer.Option(help="Another seed, another text.")] = 0,
) -> None:
    """Let a model continue a prompt."""
    from lm.text_model import Sampling, open_model

    drawn: Sampling = {
        "temperature": temperature,
        "top_k": top_k,
        "top_p": top_p,
        "repetition_penalty": penalty,
        "stop": stop or (),
        "seed": seed,
    }
    try:
        text = open_model(_model_folder(model)).generate(prompt, tokens, **drawn)
    except (FileNotFoundError, ValueError) as error:
        _fail(str(error))
    out.print(prompt + text, markup=False)


@app.command("import")
def import_(
    source: Annotated[Path, typer.Argument(help="A Hugging Face folder.", show_default=False)],
    folder: Annotated[Path, typer.Argument(help="A new folder.", show_default=False)],
) -> None:
    """Take a Hugging Face model over as one of ours; a GPT can be gone on from (`pretrain.init_from`)."""
    from flows.export import import_model

    out.print(f"wrote {import_model(source, folder)}", markup=False)


@app.command()
def score(
    model: Annotated[str, typer.Argument(help="A pretrain artifact, or a model folder.", show_default=False)],
    file: Annotated[Path, typer.Argument(help="A text file, UTF-8.", show_default=False)],
    whole: Annotated[bool, typer.Option("--whole", help="The file is one text; else each line is one.")] = False,
    as_json: Json = False,
) -> None:
    """Bits per byte and perplexity of a file under a model; with --json the log-probability of every line."""
    from flows.score import score_file

    _print(score_file(_model_folder(model), file, whole, quiet=as_json), as_json, printing.show_score)


@app.command()
def neighbours(
    model: Annotated[str, typer.Argument(help="A word_vectors artifact, or a model folder.", show_default=False)],
    word: Annotated[str, typer.Argument(help="A word of its vocabulary.", show_default=False)],
    count: Annotated[int, typer.Option(min=1, help="How many.")] = 10,
    as_json: Json = False,
) -> None:
    """The words whose vectors are nearest to that of a word, with the cosine of the angle between them."""
    from flows.vectors import neighbours as look

    _print(look(_model_folder(model), word, count), as_json, printing.show_neighbours)


@app.command()
def embed(
    model: Annotated[str, typer.Argument(help="A model artifact, or a model folder.", show_default=False)],
    file: Annotated[Path, typer.Argument(help="A text file, UTF-8.", show_default=False)],
    whole: Annotated[bool, typer.Option("--whole", help="The file is one text; else each line is one.")] = False,
    write: Annotated[Path | None, typer.Option("--out", help="Write the vectors to this .npy file.")] = None,
    as_json: Json = False,
) -> None:
    """A vector for each line of a file, its numbers with tabs between; with --out a NumPy array."""
    from flows.vectors import embed_file

    found = embed_file(_model_folder(model), file, whole, write)
    if not as_json:
        printing.show_embedded(found, write)
        if found["unknown"]:
            err.print(f"{found['unknown']:,} of {found['texts']:,} texts have no known word: their vectors are zeros")
        return
    _print(found, as_json, None)


@app.command()
def export(
    model: Annotated[str, typer.Argument(help="A model artifact, or a model folder.", show_default=False)],
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A new folder.", show_default=False)],
    to: Annotated[
        str,
        typer.Option("--to", help="hf, onnx, arpa (n-grams) or word2vec (vectors).", show_default=False),
    ],
    as_json: Json = False,
) -> None:
    """Write a model in the files of other programs."""
    from flows.export import export_model

    _print(export_model(_model_folder(model), to, folder), as_json, printing.show_exported)


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(help="A folder of documents.")],
    write: Annotated[Path | None, typer.Option("--out", help="Write the config here instead of printing it.")] = None,
) -> None:
    """Look at a folder of documents and write a config for it."""
    from flows.init import init_config

    text = init_config(folder)
    if write is None:
        sys.stdout.write(text)
        return
    if write.exists():
        _fail(f"{write} exists; remove it or choose another name")
    write.parent.mkdir(parents=True, exist_ok=True)
    write.write_text(text, encoding="utf-8")
    out.print(f"wrote {write}; next: textmill run {write} --dry-run")


@app.command()
def gc(
    delete: Annotated[bool, typer.Option("--delete", help="Delete; without it, only show.")] = False,
    keep_runs: Annotated[int, typer.Option(min=0, help="Newest runs whose artifacts stay.")] = 5,
    grace_hours: Annotated[float, typer.Option(min=0, help="What was touched since stays.")] = 24.0,
) -> None:
    """Show, and with --delete remove, what no alias, recent run or live lock can reach."""
    from tasks.gc import collect, find_garbage
    from tasks.shared import SharedStore, open_store

    store = open_store()
    garbage = find_garbage(store, keep_runs=keep_runs, grace_seconds=3600 * grace_hours)
    for item in garbage:
        printing.show_garbage(item.kind, item.bytes, item.age_seconds, item.path)
    total = sum(item.bytes for item in garbage)
    if delete:
        total = collect(store, garbage, keep_runs=keep_runs, grace_seconds=3600 * grace_hours)
    count = len(garbage)
    if isinstance(store, SharedStore):
        from tasks.gc_remote import collect_remote, find_remote_garbage

        remote = find_remote_garbage(store.remote, keep_runs=keep_runs, grace_seconds=3600 * grace_hours)
        for object_ in remote:
            printing.show_garbage(object_.kind, object_.bytes, object_.age_seconds, f"{store.url}/{object_.name}")
        count += len(remote)
        if delete:
            total += collect_remote(store.remote, remote, keep_runs=keep_runs, grace_seconds=3600 * grace_hours)
        else:
            total += sum(object_.bytes for object_ in remote)
    if not count:
        out.print("nothing to remove")
    elif delete:
        out.print(f"removed {count} of these, {printing.size(total)}")
    else:
        out.print(f"{count} in all, {printing.size(total)}; `textmill gc --delete` removes them")


@app.command()
def unpin(name: Annotated[str, typer.Argument(help="The alias, as in `tokenizer.pin`.")]) -> None:
    """Take an alias away from its artifact: the next run makes a new one."""
    from tasks.shared import open_store

    open_store().remove_alias(name)
    out.print(f"{name} is no alias any more")


@app.command()
def doctor(as_json: Json = False) -> None:
    """Check versions, server imports, disk, ports and locks, and say what to do."""
    from flows.doctor import doctor as examine

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


def _run_flow(entrypoint: str, settings: Any, as_json: bool) -> None:
    from flows.start import run_flow

    summary = run_flow(entrypoint, settings, quiet=as_json)
    _print(summary, as_json, printing.show_summary)
    if summary["state"] != "Completed":
        raise typer.Exit(1)


def _overrides(given: list[str] | None) -> dict[str, str]:
    pairs = {}
    for item in given or []:
        key, sign, value = item.partition("=")
        if not sign:
            _fail(f"--set {item}: write KEY=VALUE, for example --set pretrain.train.steps=200")
        pairs[key] = value
    return pairs


def _threshold(value: str) -> float | str | tuple[str, ...]:
    try:
        return float(value)
    except ValueError:
        listed = value.startswith("[") and value.endswith("]")
        return tuple(word.strip() for word in value[1:-1].split(",")) if listed else value


def _model_folder(name: str) -> Path:
    from tasks.shared import open_store

    folder = Path(name)
    return folder if folder.is_dir() else open_store().checked(name).path


def _send_journals() -> None:
    """What MLflow could not be sent while it was away."""
    from mlflow import MlflowClient

    from tasks.shipper import ship_all
    from tasks.store import Store

    ship_all(Store(home.store_path()), MlflowClient())


def _print(data: Any, as_json: bool, human: Any) -> None:
    if as_json:
        print(json.dumps(data, indent=1, ensure_ascii=False, default=str))
    else:
        human(data)


def _fail(message: str) -> NoReturn:
    err.print(f"[red]error:[/] {escape(message)}")
    sys.exit(1)


if __name__ == "__main__":
    main()
