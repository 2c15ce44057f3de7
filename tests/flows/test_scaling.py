"""The scaling study: runs, laws, a prediction that stands before the model it is about, and what is refused."""

import json
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError
from typer.testing import CliRunner

from flows.cli.common import app
from flows.commands.artifacts import lineage
from flows.commands.start import scaling_figures
from flows.config.loading import CONFIGS, ConfigError
from flows.config.rungs import ModernRung
from flows.config.scaling import ScalingConfig, SizeConfig, load_scaling
from flows.scaling import Scaling, ScalingRuns, build_scaling
from lm.artifact import described
from lm.joint_law import fit_joint_law
from lm.scaling import fit_power_law
from lm.tokens import build_index
from tasks.losses import read_losses
from tasks.pretrain import split_index
from tasks.running import pool
from tasks.running.journal import JOURNAL, history
from tasks.running.progress import Display
from tasks.running.run import Resources, Run, use_run
from tasks.scaling import GRID, PAGE, PICTURE, PREDICTION, TABLE
from tasks.stage import sidecar
from tasks.storage.files import read_json
from tasks.store import RUN_DIRECTORY, Store
from tasks.subset import SubsetConfig, subset
from tests.tasks.tiny_corpus import configuration, write_documents

pytestmark = pytest.mark.heavy

SIZES = [{"layers": 1, "width": 8}, {"layers": 1, "width": 16}, {"layers": 2, "width": 16}]
STUDY: dict[str, Any] = {
    "model": {"kind": "gpt", "preset": "pico", "context": 32},
    "sizes": SIZES,
    "budgets": [128, 256, 512],
    "target": {"layers": 2, "width": 48},
    "rate": {"value": 0.01},
    "factors": [0.5],
    "train": {"batch": 4, "eval_interval": 0, "eval_sequences": 4, "sample_interval": 0},
    "evaluate": {"sequences": 4},
    "resamples": 20,
    "grid": {"sizes": [SIZES[0], {"layers": 2, "width": 32}], "texts": [600, 3000], "tokens": 256},
}


def study(documents: Path, **changes: Any) -> ScalingConfig:
    shared = configuration(documents).model_dump(
        exclude={"model", "pretrain", "task", "finetune", "evaluate", "refresh"}
    )
    return ScalingConfig.model_validate({**shared, **STUDY, **changes})


def in_store(root: Path) -> Run:
    return Run(Store(root / "store"), Resources(workers=1, threads=1), Display(quiet=True))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Scaling, Run, ScalingConfig]]:
    root = tmp_path_factory.mktemp("scaling")
    write_documents(root / "documents")
    config = study(root / "documents")
    with use_run(in_store(root)) as run:
        yield build_scaling(config), run, config
    pool.shut_down()


def test_the_prediction_stands_before_the_model_that_it_is_about(made: tuple[Scaling, Run, ScalingConfig]) -> None:
    scaling, run, _ = made
    assert scaling.target is not None
    inputs = scaling.target.model.manifest()["inputs"]
    assert [entry["key"] for entry in inputs["prediction"]] == [scaling.prediction.key]
    above = {entry["key"] for entry in lineage(run.store, scaling.prediction)}
    assert {r.model.key for r in scaling.runs} <= above
    assert scaling.target.model.key not in above
    assert scaling.prediction.key in {entry["key"] for entry in lineage(run.store, scaling.target.model)}
    assert sidecar(scaling.prediction)["created"] <= sidecar(scaling.target.model)["created"]
    assert all("prediction" not in r.model.manifest()["inputs"] for r in scaling.runs)


def test_the_laws_are_those_of_the_library_through_the_measured_losses(
    made: tuple[Scaling, Run, ScalingConfig],
) -> None:
    scaling, _, config = made
    found = json.loads(scaling.prediction.file(PREDICTION).read_text())
    runs = found["runs"]
    assert [(row["body"], row["tokens"]) for row in runs] == [
        (config.body(size), tokens) for size in config.sizes for tokens in config.budgets
    ]
    assert [row["bits_per_byte"] for row in runs] == [read_losses(each.figures)["held_out"] for each in scaling.runs]
    columns = [[row[name] for row in runs] for name in ("body", "tokens", "bits_per_byte")]
    law = fit_joint_law(*columns, resamples=20)
    assert found["laws"]["joint"]["size_exponent"] == law.size_exponent
    assert found["predicted"]["joint"] == vars(law.predict(found["target"]["body"], 512))
    longest = [row for row in runs if row["tokens"] == 512]
    power = fit_power_law([r["body"] for r in longest], [r["bits_per_byte"] for r in longest], resamples=20)
    assert found["laws"]["parameters"]["exponent"] == power.exponent
    assert found["predicted"]["parameters"]["value"] == power(found["target"]["body"])
    assert found["predicted"]["data"] is None


def test_the_table_says_predicted_and_measured_and_the_picture_shows_both(
    made: tuple[Scaling, Run, ScalingConfig],
) -> None:
    scaling, _, config = made
    assert scaling.table is not None
    assert scaling.target is not None
    whole = json.loads(scaling.table.file(TABLE).read_text())
    measured = read_losses(scaling.target.figures)["held_out"]
    assert whole["measured"]["bits_per_byte"] == measured == scaling.table.counts()["measured_bits_per_byte"]
    assert whole["target"]["body"] == config.body(config.target) == whole["measured"]["body"]
    assert whole["target"]["flops"] == whole["measured"]["flops"]
    page = (scaling.table.path / PAGE).read_text(encoding="utf-8")
    said = whole["predicted"]["joint"]
    row = f"| L(N, D) | {said['value']:.4f} | {said['low']:.4f} to {said['high']:.4f} | {measured:.4f} |"
    assert row in page
    assert f"{scaling.prediction.name} was written" in page
    picture = ElementTree.fromstring((scaling.table.path / PICTURE).read_text(encoding="utf-8"))
    circles = [shape.get("class") for shape in picture.iter("{http://www.w3.org/2000/svg}circle")]
    assert circles.count("ring") == 3
    assert len(circles) == 3 * (len(scaling.runs) + 1)
    curves = history(scaling.table.path / RUN_DIRECTORY / JOURNAL)
    bodies = [*(config.body(size) for size in config.sizes), config.body(config.target)]
    assert [step for step, _ in curves["tokens_512/bits_per_byte"]] == bodies
    figures = scaling_figures(scaling.prediction, scaling.table)
    assert figures["predicted bits per byte"].startswith(f"{said['value']:.4f} (95 % interval {said['low']:.4f} to")
    assert figures["measured bits per byte"] == f"{measured:.4f}"
    assert "measured bits per byte" not in scaling_figures(scaling.prediction, None)


def test_the_grid_has_each_size_on_each_text(made: tuple[Scaling, Run, ScalingConfig]) -> None:
    scaling, run, config = made
    grid = scaling.grid
    assert grid is not None
    assert config.grid is not None
    rows = json.loads(grid.file(GRID).read_text())
    assert len({(row["body"], row["text_tokens"]) for row in rows}) == 4
    texts = sorted({row["text_tokens"] for row in rows})
    assert 0 < texts[0] <= 600 < texts[1] <= 3000
    trained = [run.store.artifacts / "pretrain" / entry["key"] for entry in grid.manifest()["inputs"]["models"]]
    rates = [read_json(folder / "manifest.json")["config"]["train"]["optimizer"]["learning_rate"] for folder in trained]
    assert rates == pytest.approx([config.rung(size, 0.5).learning_rate for size in config.grid.sizes] * 2)
    assert {row["tokens"] for row in rows} == {256}
    assert all(row["own_bits_per_byte"] > 0 for row in rows)
    assert "| 2 x 32 |" in (grid.path / "grid.md").read_text(encoding="utf-8")
    picture = ElementTree.fromstring((grid.path / "grid.svg").read_text(encoding="utf-8"))
    lines = [shape.get("class") for shape in picture.iter("{http://www.w3.org/2000/svg}path")]
    assert sorted(lines) == ["held", "held", "own", "own"]


def test_a_size_that_is_added_is_the_only_one_trained_before_the_new_prediction(
    made: tuple[Scaling, Run, ScalingConfig],
) -> None:
    scaling, run, config = made
    before = len(run.records)
    again = build_scaling(config)
    assert all(record.state == "cached" for record in run.records[before:])
    assert (again.prediction, again.table) == (scaling.prediction, scaling.table)
    before = len(run.records)
    sizes = [*config.model_dump()["sizes"], {"layers": 1, "width": 24}]
    more = build_scaling(ScalingConfig.model_validate({**config.model_dump(), "sizes": sizes}), predict_only=True)
    built = [record.stage for record in run.records[before:] if record.state != "cached"]
    assert built == ["pretrain", "losses"] * 3 + ["predict_loss"]
    assert (more.target, more.table, more.grid) == (None, None, None)
    assert more.prediction.key != scaling.prediction.key


def test_of_several_rates_the_best_counts_and_the_target_has_it(made: tuple[Scaling, Run, ScalingConfig]) -> None:
    _, run, config = made
    tried = config.model_copy(update={"factors": (1.0, 8.0)})
    found = ScalingRuns(tried).run(config.sizes[0], 512)
    labels = [record.label for record in run.records[-3:-1]]
    assert labels == ["1x8 on 512 at 1", "1x8 on 512 at 8"]
    losses = {r.label[-1]: r.artifact.counts()["valid_bits_per_byte"] for r in run.records[-3:-1]}
    assert found.factor == float(min(losses, key=lambda factor: losses[factor]))
    assert tried.rung(config.sizes[0], 8.0).learning_rate == pytest.approx(8 * 0.01 * 8**0.5)


def test_the_modern_decoder_can_be_studied(made: tuple[Scaling, Run, ScalingConfig]) -> None:
    config = ScalingConfig.model_validate(
        {**made[2].model_dump(), "model": {"kind": "modern", "preset": "pico", "context": 32}, "rate": None}
    )
    found = ScalingRuns(config).run(config.sizes[1], 128)
    assert described(found.model.path)["kind"] == "modern"
    rung = config.rung(config.sizes[1], 0.5)
    assert isinstance(rung, ModernRung)
    assert rung.optimizer is not None
    assert (rung.optimizer.learning_rate, rung.optimizer.muon_rate) == (0.01, 0.0125)
    assert read_losses(found.figures)["held_out"] > 0


def test_a_subset_has_what_fits_and_nothing_else(made: tuple[Scaling, Run, ScalingConfig]) -> None:
    _, _, config = made
    shared = ScalingRuns(config)
    given = {"tokens": shared.tokens.tokens, "split": shared.corpus.split}
    parts = [subset(SubsetConfig(tokens=size), **given) for size in (600, 3000)]
    indexes = [split_index(given["tokens"], given["split"], "train", part) for part in parts]
    assert [index.tokens for index in indexes] == [part.counts()["tokens"] for part in parts]
    everything = split_index(given["tokens"], given["split"], "train")
    shortest = int(everything.length.min())
    assert [3000 - index.tokens < shortest or len(index) == len(everything) for index in indexes[1:]] == [True]
    rows = pq.read_table(parts[0].file("copies.parquet")).to_pylist()
    assert {row["copies"] for row in rows} == {1}
    chosen = {row["id"] for row in rows}
    held_out = pq.read_table(given["split"].file("split.parquet"), filters=[("split", "!=", "train")])["id"].to_pylist()
    assert not chosen & set(held_out)
    stems = [shard.path.with_suffix("") for shard in given["tokens"].shards()]
    whole = build_index(stems, lambda ids: np.array([int(id in chosen) for id in ids.to_pylist()]))
    assert whole.tokens == parts[0].counts()["tokens"]
    with pytest.raises(ValueError, match=r"no training document has 3 tokens or fewer: the shortest has \d+"):
        subset(SubsetConfig(tokens=3), **given)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"target": {"layers": 2, "width": 24}},
            r"target: 14,496 parameters .* are 2\.\d\d times the largest of `sizes`",
        ),
        ({"sizes": [*SIZES, {"layers": 1, "width": 20, "heads": 3}]}, "sizes.3: width 20 is not a multiple of heads 3"),
        ({"sizes": [SIZES[0]] * 3}, "sizes, budgets: a law needs at least three that differ"),
        ({"budgets": [1, 1, 2]}, "sizes, budgets: a law needs at least three that differ"),
        ({"train": {"epochs": 1}}, "train.epochs: `budgets` say how long a scaling study trains"),
        ({"train": {"tokens": 500}}, "train.tokens: `budgets` say how long a scaling study trains"),
        ({"model": {"kind": "modern"}}, "rate: the modern decoder has its own optimiser"),
        ({"rate": None, "factors": [1, 2]}, "factors: times what"),
    ],
)
def test_what_would_be_no_study_is_refused(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    write_documents(tmp_path)
    with pytest.raises(ValidationError, match=message):
        study(tmp_path, **changes)


def test_faults_of_a_file_are_named() -> None:
    with pytest.raises(ConfigError, match=r"target\.witdh: unknown key; did you mean 'target\.width'"):
        load_scaling(CONFIGS / "scaling.yaml", {"target.witdh": "9"})
    with pytest.raises(ConfigError, match="kind"):
        load_scaling(CONFIGS / "scaling.yaml", {"model.kind": "rnn"})


def test_the_rate_falls_with_the_width_from_its_most() -> None:
    rate = {"value": 0.004, "at_width": 64, "power": 0.5, "most": 0.01}
    config = load_scaling(CONFIGS / "scaling.yaml", {"rate": json.dumps(rate)})
    wanted = {4: 0.01, 16: 0.008, 64: 0.004, 256: 0.002}
    for width, value in wanted.items():
        assert config.rung(SizeConfig(layers=1, width=width)).learning_rate == pytest.approx(value)
        assert config.rung(SizeConfig(layers=1, width=width), 2.0).learning_rate == pytest.approx(2 * value)


def test_the_short_one_is_a_part_of_the_whole_and_its_target_is_as_much_larger() -> None:
    short, whole = (load_scaling(CONFIGS / f"{name}.yaml") for name in ("scaling-short", "scaling"))
    assert set(short.sizes) < set(whole.sizes)
    for config in (short, whole):
        assert 4.3 < config.body(config.target) / max(config.body(size) for size in config.sizes) < 4.7
    different = {"name", "sizes", "target"}
    assert short.model_dump(exclude=different) == whole.model_dump(exclude=different)
    budget = short.budgets[-1]
    assert short.rung(short.sizes[0]) == whole.rung(whole.sizes[0])
    assert short.trained_for(budget) == whole.trained_for(budget)


def test_the_command_hands_on_what_it_was_told(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[Any] = []
    monkeypatch.setattr("flows.cli.models.start_flow", lambda *given, **more: started.append((given, more)))
    path = str(CONFIGS / "scaling.yaml")
    result = CliRunner().invoke(app, ["scaling", path, "--predict-only", "--set", "resamples=50", "--smoke"])
    assert result.exit_code == 0, result.output
    [((entrypoint, settings, as_json), more)] = started
    assert (entrypoint, as_json, more) == ("flows.scaling:scaling_flow", False, {"predict_only": True})
    assert settings == load_scaling(Path(path), {"resamples": "50"}).smoke()


def test_the_shipped_one_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEXTMILL_HOME", str(tmp_path))
    with use_run(in_store(tmp_path)):
        made = build_scaling(load_scaling(CONFIGS / "scaling.yaml").smoke())
    pool.shut_down()
    assert made.table is not None
    assert made.table.counts()["measured_bits_per_byte"] > 0
