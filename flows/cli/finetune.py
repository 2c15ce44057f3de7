"""The command that uses a fine-tuned model. It imports what it needs when it runs."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from flows.cli.common import app, fail, local, model_folder, overrides


@app.command()
def predict(
    model: Annotated[
        str, typer.Argument(help="A finetune or finetune_summary artifact, or a folder.", show_default=False)
    ],
    file: Annotated[
        Path,
        typer.Argument(
            help="Records: jsonl, csv, tsv, parquet; also CoNLL columns of sentences, SQuAD's JSON of questions.",
            show_default=False,
        ),
    ],
    write: Annotated[
        Path | None, typer.Option("--out", parser=local, metavar="FILE", help="Write to this file, in lines of JSON.")
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="How the file is read, as a task's section `read` says it: delimiter=';', fields.text=review.",
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
) -> None:
    """Ask a fine-tuned model about each record of a file: a line of JSON for each, with all its columns."""
    from data_quality.shards import whole_file
    from flows.commands.predict import as_line, best_of, predict_file
    from tasks.storage.disk import room_on_disk

    if write is not None and write.exists() and file.exists() and write.samefile(file):
        fail(f"{write} is the file that is read: choose another --out")
    found = predict_file(best_of(model_folder(model)), file, device, write is None, overrides(set_))
    lines = (as_line(record) + "\n" for record in found)
    if write is None:
        for line in lines:
            sys.stdout.write(line)
        return
    with room_on_disk("predict", write.parent):
        write.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(write) as draft, draft.open("w", encoding="utf-8") as file_:
            file_.writelines(lines)
