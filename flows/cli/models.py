"""Commands for models: train one, ask it, take it elsewhere. Each imports what it needs when it runs."""

from pathlib import Path
from typing import Annotated

import typer

from flows.cli import printing
from flows.cli.common import (
    Json,
    Overrides,
    Smoke,
    app,
    err,
    fail,
    local,
    model_folder,
    overrides,
    show_result,
    start_flow,
)
from flows.cli.printing import out


@app.command()
def scaling(
    config: Annotated[Path, typer.Argument(help="A YAML file such as configs/scaling.yaml.", show_default=False)],
    set_: Overrides = None,
    predict_only: Annotated[
        bool, typer.Option("--predict-only", help="Stop when the larger model is predicted, before it is trained.")
    ] = False,
    smoke: Smoke = False,
    as_json: Json = False,
) -> None:
    """Fit laws of loss against size, data and compute, predict a larger model, train it; goes on where it stopped."""
    from flows.config.scaling import load_scaling

    settings = load_scaling(config, overrides(set_))
    settings = settings.smoke() if smoke else settings
    start_flow("flows.scaling:scaling_flow", settings, as_json, predict_only=predict_only)


@app.command()
def translate(
    model: Annotated[str, typer.Argument(help="A train_translator artifact, or a model folder.", show_default=False)],
    file: Annotated[Path, typer.Argument(help="A text file, UTF-8, a source a line.", show_default=False)],
    beam: Annotated[int, typer.Option(min=1, max=512, help="Hypotheses kept at each step; 1 is greedy.")] = 4,
    alpha: Annotated[float, typer.Option(min=0.0, max=10.0, help="Strength of the length penalty.")] = 0.6,
    as_json: Json = False,
) -> None:
    """Translate a file line by line."""
    from flows.translate import translate_file

    found = translate_file(model_folder(model), file, beam, alpha, quiet=as_json)
    show_result(found, as_json, lambda data: [print(line["translation"]) for line in data["lines"]])


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
    from lm.tokenizer import joined

    drawn: Sampling = {
        "temperature": temperature,
        "top_k": top_k,
        "top_p": top_p,
        "repetition_penalty": penalty,
        "stop": stop or (),
        "seed": seed,
    }
    try:
        opened = open_model(model_folder(model))
        text = opened.generate(prompt, tokens, **drawn)
    except (FileNotFoundError, ValueError) as error:
        fail(str(error))
    out.print(joined(getattr(opened, "tokenizer", None), prompt, text), markup=False)


@app.command()
def fill(
    model: Annotated[str, typer.Argument(help="A BERT or an n-gram model: artifact or folder.", show_default=False)],
    text: Annotated[str, typer.Argument(help="A text with [MASK] where something is missing.", show_default=False)],
    count: Annotated[int, typer.Option(min=1, help="How many for each gap.")] = 5,
    as_json: Json = False,
) -> None:
    """What a model puts into the gaps of a text, with its probability."""
    from flows.commands.fill import fill_text

    show_result(fill_text(model_folder(model), text, count), as_json, printing.show_filled)


@app.command("import")
def import_(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="DIR", help="A Hugging Face folder, an ARPA file, or vectors of word2vec.", show_default=False
        ),
    ],
    folder: Annotated[Path, typer.Argument(parser=local, help="A new folder.", show_default=False)],
) -> None:
    """Take a model of another program over as one of ours; one of Hugging Face can be gone on from (`init_from`)."""
    from flows.commands.export import import_model

    out.print(f"wrote {import_model(source, folder)}", markup=False)


@app.command()
def score(
    model: Annotated[str, typer.Argument(help="A pretrain artifact, or a model folder.", show_default=False)],
    file: Annotated[Path, typer.Argument(help="A text file, UTF-8.", show_default=False)],
    whole: Annotated[bool, typer.Option("--whole", help="The file is one text; else each line is one.")] = False,
    as_json: Json = False,
) -> None:
    """Bits per byte and perplexity of a file under a model; with --json the log-probability of every line. A BERT gives
    a pseudo-log-likelihood, by which its own scores of texts compare, and no others."""
    from flows.commands.score import score_file

    show_result(score_file(model_folder(model), file, whole, quiet=as_json), as_json, printing.show_score)


@app.command()
def neighbours(
    model: Annotated[str, typer.Argument(help="A word_vectors artifact, or a model folder.", show_default=False)],
    word: Annotated[str, typer.Argument(help="A word of its vocabulary.", show_default=False)],
    count: Annotated[int, typer.Option(min=1, help="How many.")] = 10,
    as_json: Json = False,
) -> None:
    """The words whose vectors are nearest to that of a word, with the cosine of the angle between them."""
    from flows.commands.vectors import neighbours as look

    show_result(look(model_folder(model), word, count), as_json, printing.show_neighbours)


@app.command()
def embed(
    model: Annotated[str, typer.Argument(help="A model artifact, or a model folder.", show_default=False)],
    file: Annotated[Path, typer.Argument(help="A text file, UTF-8.", show_default=False)],
    whole: Annotated[bool, typer.Option("--whole", help="The file is one text; else each line is one.")] = False,
    write: Annotated[
        Path | None, typer.Option("--out", parser=local, metavar="FILE", help="Write the vectors to this .npy file.")
    ] = None,
    layer: Annotated[
        int | None, typer.Option(min=0, help="Of ELMo: 0 is the word alone; without it the mean of all layers.")
    ] = None,
    as_json: Json = False,
) -> None:
    """A vector for each line of a file, its numbers with tabs between; with --out a NumPy array."""
    from flows.commands.vectors import embed_file

    found = embed_file(model_folder(model), file, whole, write, layer)
    if not as_json:
        printing.show_embedded(found, write)
        if found["unknown"]:
            err.print(f"{found['unknown']:,} of {found['texts']:,} texts have no known word: their vectors are zeros")
        return
    show_result(found, as_json, None)


@app.command()
def export(
    model: Annotated[str, typer.Argument(help="A model artifact, or a model folder.", show_default=False)],
    folder: Annotated[Path, typer.Argument(parser=local, metavar="DIR", help="A new folder.", show_default=False)],
    to: Annotated[
        str,
        typer.Option(
            "--to", help="hf, onnx, arpa (n-grams), word2vec (vectors) or mlflow (fine-tuned).", show_default=False
        ),
    ],
    as_json: Json = False,
) -> None:
    """Write a model in the files of other programs."""
    from flows.commands.export import export_model
    from flows.commands.predict import best_of

    show_result(export_model(best_of(model_folder(model)), to, folder), as_json, printing.show_exported)
