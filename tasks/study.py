"""What the runs of a study show: a table, a picture for each task, and what the held-out sets can resolve."""

from collections.abc import Iterator
from itertools import groupby
from typing import Any, Literal

import pyarrow.parquet as pq
from pydantic import Field, model_validator

from lm.config import StrictModel
from tasks.pages.study_page import page
from tasks.pages.study_picture import Series, picture_of
from tasks.stage import Work, sound_file, stage
from tasks.storage.files import read_json, write_json
from tasks.store import Artifact

STUDY, PAGE = "study.json", "study.md"
Row = dict[str, Any]


class Cell(StrictModel):
    """One system at one number of labels of one task."""

    task: str = Field(description="Name of the task.")
    labels: int | Literal["all"] = Field(description="How many training examples were asked for.")
    examples: int = Field(ge=1, description="How many there were.")
    system: str = Field(description="Name of the system.")
    runs: int = Field(ge=1, description="How many of the runs are its own, one for each seed.")
    against: str = Field(description="The system that it is compared with, at the same labels; itself: none.")


class StudyRequest(StrictModel):
    """Which runs belong together, in the order of the runs."""

    name: str = Field(description="Name of the study.")
    metric: str | None = Field(description="null: each task's first.")
    cells: tuple[Cell, ...] = Field(min_length=1, description="In the order of the runs.")

    @model_validator(mode="after")
    def _each_once(self) -> "StudyRequest":
        places = [(cell.task, cell.examples, cell.system) for cell in self.cells]
        if twice := next((place for place in places if places.count(place) > 1), None):
            raise ValueError(f"{twice[2]} stands twice for {twice[1]} examples of {twice[0]}")
        return self


def example_count(examples: Artifact, split: str) -> int:
    """How many examples a split of a labelled set has."""
    return int(pq.read_metadata(sound_file(examples, f"{split}.parquet")).num_rows)


@stage(version=4)
def study(work: Work, config: StudyRequest, *, runs: list[Artifact]) -> None:
    """Write study.json (a row for each cell), study.md and a picture for each task."""
    from lm.finetune.study import resolution

    found = list(_rows(config, runs))
    tasks = {}
    for task, of in groupby(sorted(found, key=lambda row: (row["task"], row["examples"])), lambda row: row["task"]):
        rows = list(of)
        picture = f"{task}.svg"
        (work.directory / picture).write_text(picture_of(rows[0]["metric"], _series(rows, config)), encoding="utf-8")
        work.journal.write("file", path=picture, directory="study")
        items = rows[0]["items"]
        smallest = [row["against"]["resolves"] for row in rows if row["against"]]
        tasks[task] = {
            "split": rows[0]["split"],
            "items": items,
            "metric": rows[0]["metric"],
            "picture": picture,
            "resolution": {str(share): value for share, value in resolution(items).items()},
            "resolves": {"least": min(smallest), "most": max(smallest)} if smallest else None,
        }
    said = {"name": config.name, "tasks": tasks, "rows": found}
    write_json(work.directory / STUDY, said)
    (work.directory / PAGE).write_text(page(said), encoding="utf-8")
    work.journal.write("file", path=PAGE, directory="study")
    for row in found:
        work.counts[f"{row['task']}/{row['examples']}/{row['system']}/{row['metric']}"] = row["mean"]
    shown = [{name: row[name] for name in ("task", "examples", "system", "mean", "sd", "low", "high")} for row in found]
    work.table("study", shown, config.name)


def _rows(config: StudyRequest, runs: list[Artifact]) -> Iterator[Row]:
    from lm.finetune.predictions import PREDICTIONS_FILE, read_predictions
    from lm.finetune.study import against
    from lm.finetune.summary import reached

    left = iter(runs)
    own = {cell: [next(left) for _ in range(cell.runs)] for cell in config.cells}
    files = {cell: [run.file(PREDICTIONS_FILE) for run in of] for cell, of in own.items()}
    for cell, of in own.items():
        results = [read_json(run.file("metrics.json")) for run in of]
        split = "test" if "test" in results[0] else "valid"
        systems = [read_predictions(path, split) for path in files[cell]]
        metric = config.metric or systems[0].task.metrics[0]
        base = [c for c in config.cells if (c.task, c.examples, c.system) == (cell.task, cell.examples, cell.against)]
        difference = None
        if base and cell.system != cell.against:
            difference = against(files[cell], files[base[0]], split, metric)
        yield {
            **cell.model_dump(mode="json", exclude={"against"}),
            "split": split,
            "lost": results[0].get("lost", {}),
            "looks": [result["looks"] for result in results if "looks" in result],
            "parameters": results[0].get("parameters"),
            "learning": results[0].get("learning"),
            "items": len(systems[0].rows),
            "metric": metric,
            **reached(systems, metric),
            "against": difference and {"system": cell.against, **difference},
            "artifacts": [run.name for run in of],
        }


def _series(rows: list[Row], config: StudyRequest) -> list[Series]:
    systems = list(dict.fromkeys(cell.system for cell in config.cells))
    return [
        Series(name, [(r["examples"], r["mean"], r["low"], r["high"]) for r in rows if r["system"] == name])
        for name in systems
        if any(row["system"] == name for row in rows)
    ]
