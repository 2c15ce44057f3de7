"""The whole pipeline in this process, without servers, on sixty generated documents; then its report is read."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.config.pipeline import PipelineConfig
from flows.pipeline import build_all
from tasks.reports.data import ReportData
from tasks.reports.excerpts import LENGTH, LONGEST_ADDRESS, cut, without_addresses
from tasks.running import pool
from tasks.running.progress import Display
from tasks.running.run import Plan, Resources, Run, use_run
from tasks.running.tables import rows
from tasks.store import Artifact, Store
from tests.tasks.tiny_corpus import configuration, write_documents


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home with the documents and one store, which the variants share."""
    folder = tmp_path_factory.mktemp("home")
    write_documents(folder / "documents")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TEXTMILL_HOME", str(folder))
        yield folder
    pool.shut_down()


def built(home: Path, config: PipelineConfig) -> tuple[Run, dict[str, Artifact | list[Artifact]]]:
    run = Run(Store(home / "store"), Resources(workers=1, threads=1), Display(quiet=True))
    with use_run(run):
        return run, build_all(config)


@pytest.fixture(scope="module")
def made(home: Path) -> dict[str, Artifact | list[Artifact]]:
    """Every artifact of the pipeline with a task."""
    return built(home, configuration(home / "documents"))[1]


@pytest.fixture(scope="module")
def page(made: dict[str, Artifact | list[Artifact]]) -> str:
    return one(made, "report").file("report.html").read_text()


@pytest.fixture(scope="module")
def data(made: dict[str, Artifact | list[Artifact]]) -> ReportData:
    return ReportData.model_validate_json(one(made, "report").file("report.json").read_text())


def one(made: dict[str, Artifact | list[Artifact]], name: str) -> Artifact:
    artifact = made[name]
    assert isinstance(artifact, Artifact)
    return artifact


def test_the_funnel_agrees_with_the_artifacts(data: ReportData, made: dict[str, Artifact | list[Artifact]]) -> None:
    steps = {step.name: step for step in data.funnel}
    assert list(steps) == ["read", "normalise", "rules", "dedupe", "split", "tokens"]
    assert steps["read"].out.documents == 56
    assert steps["rules"].out.documents == one(made, "verdicts").counts()["passed"] == 54
    assert steps["dedupe"].out.documents == one(made, "kept").counts()["documents"] == 51
    parts = {part.name: part.amount for part in steps["split"].parts}
    assert sum(part.documents or 0 for part in parts.values()) == 51
    assert sum(part.bytes or 0 for part in parts.values()) == steps["dedupe"].out.bytes
    assert sum(part.tokens or 0 for part in parts.values()) == steps["tokens"].out.tokens
    sizes = [step.out.bytes or 0 for step in data.funnel]
    assert sizes == sorted(sizes, reverse=True)


def test_every_reason_has_its_rule_its_count_and_a_document(data: ReportData, page: str) -> None:
    reasons = {reason.name: reason for reason in data.drops}
    assert {"gopher_quality.gopher_short_doc", "duplicate.exact", "duplicate.near"} <= set(reasons)
    assert any(name.startswith("gopher_repetition.") for name in reasons)
    assert all(name in page for name in reasons)
    short = reasons["gopher_quality.gopher_short_doc"]
    assert short.rule is not None
    assert "non_symbol_words ≥ 50" in short.rule
    [example] = short.examples
    assert (example.id, example.source, example.signal) == ("gardens:short.txt", "gardens", "non_symbol_words")
    assert example.value is not None
    assert example.value < 50 == example.threshold
    assert example.keeps_if == ">="
    assert reasons["duplicate.exact"].documents == 2
    [near] = reasons["duplicate.near"].examples
    assert near.twin is not None
    assert near.twin.jaccard is not None
    assert 0.8 <= near.twin.jaccard < 1
    assert near.twin.excerpt[:100] == near.excerpt[:100]


def test_families_sources_lengths_and_skips(data: ReportData, made: dict[str, Artifact | list[Artifact]]) -> None:
    assert data.duplicates is not None
    [family] = data.duplicates.largest
    assert family.size == 4
    assert {member.kind for member in family.members} == {"exact", "near"}
    assert [(row.name, row.raw_documents) for row in data.sources] == [("gardens", 30), ("harbours", 26)]
    assert sum(row.kept_bytes for row in data.sources) == one(made, "kept").counts()["bytes"]
    for histogram in data.lengths:
        assert sum(histogram.raw) == 56
        assert sum(histogram.kept) == 51
        assert list(histogram.edges) == sorted(set(histogram.edges))
    places = {example.file for reason in data.skips for example in reason.examples}
    assert places == {"broken.txt", "empty.txt"}


def test_what_documents_say_stays_text_and_addresses_are_masked(page: str) -> None:
    assert "<script" not in page
    assert "&lt;script&gt;alert(" in page
    assert "example.org" not in page
    assert "&lt;email&gt;" in page


def test_the_models_figures_are_those_of_their_artifacts(
    data: ReportData, made: dict[str, Artifact | list[Artifact]], page: str
) -> None:
    trained, tuned = data.pretraining, data.finetuning
    assert trained is not None
    assert tuned is not None
    figures = json.loads(one(made, "evaluation").file("evaluation.json").read_text())
    assert trained.pretrained == figures["pretrained"]["bits_per_byte"]
    assert f"{trained.pretrained:.3f}" in page
    assert [point.step for point in trained.train] == [1, 2, 3, 4, 5, 6]
    assert trained.valid
    assert {sample.step for sample in trained.samples} >= {3, 6}
    runs = made["pretrained"]
    assert isinstance(runs, list)
    accuracies = [json.loads(run.file("metrics.json").read_text())["test"]["accuracy"] for run in runs]
    system = tuned.systems[0]
    assert [seed.accuracy for seed in system.seeds] == accuracies
    assert system.accuracy is not None
    assert system.accuracy.value == pytest.approx(sum(accuracies) / len(accuracies))
    assert system.accuracy.low <= system.accuracy.value <= system.accuracy.high
    assert sum(map(sum, tuned.confusion)) == (tuned.test_items or 0) * len(runs)
    assert {item.role for item in tuned.systems} == {"pretrained", "scratch", "baseline"}
    assert all(error.label != error.predicted for error in tuned.errors)


def test_stages_have_their_cost_and_the_lineage_is_closed(data: ReportData) -> None:
    assert all(row.state == "built" and row.seconds is not None and row.disk_bytes for row in data.stages)
    seen: set[str] = set()
    for node in data.lineage:
        assert set(node.inputs) <= seen, f"{node.stage} stands before what it was made from"
        seen.add(node.key)


def test_mlflow_is_told_of_the_page(made: dict[str, Artifact | list[Artifact]]) -> None:
    journal = (one(made, "report").path / "_run" / "journal.jsonl").read_text().splitlines()
    files = [event for line in journal if (event := json.loads(line))["event"] == "file"]
    assert [(event["path"], event["directory"]) for event in files] == [("report.html", "report")]


def test_a_second_run_reuses_everything(home: Path, made: dict[str, Artifact | list[Artifact]]) -> None:
    run, again = built(home, configuration(home / "documents"))
    assert {record.state for record in run.records} == {"cached"}
    assert again == made


def test_a_dry_run_says_so_and_builds_nothing(home: Path, made: dict[str, Artifact | list[Artifact]]) -> None:
    plan = Plan()
    run = Run(Store(home / "store"), Resources(workers=1, threads=1), Display(quiet=True), plan=plan)
    with use_run(run):
        build_all(configuration(home / "documents"))
    assert {step["state"] for step in plan.steps} == {"reuse"}
    assert plan.steps[-1]["stage"] == "report"


def test_without_a_task_the_report_ends_with_the_language_model(
    home: Path, made: dict[str, Artifact | list[Artifact]]
) -> None:
    run, without = built(home, configuration(home / "documents", task=None))
    assert [record.stage for record in run.records if record.state == "built"] == ["report"]
    data = ReportData.model_validate_json(one(without, "report").file("report.json").read_text())
    assert data.finetuning is None
    assert data.pretraining is not None
    assert "Fine-tuning" not in one(without, "report").file("report.html").read_text()


def test_addresses() -> None:
    assert without_addresses("ask a.b+c@mail.example.com, or <x@y.io>!") == "ask [e-mail], or <[e-mail]>!"
    assert without_addresses("邮箱：user@例子.公司，谢谢") == "邮箱：[e-mail]，谢谢"
    code = "@property\nx = a @ b; y = a@b.T"
    assert without_addresses(code) == code


def test_an_address_across_the_cut_is_masked_as_a_whole() -> None:
    text = " " * (LENGTH - 4) + "somebody@example.com " + "z" * 2000
    assert "somebody"[:4] not in cut(text[: LENGTH + LONGEST_ADDRESS])
    assert len(cut(text)) == LENGTH


def test_the_examples_do_not_depend_on_the_order_of_rows(made: dict[str, Artifact | list[Artifact]]) -> None:
    tables = [str(shard.path) for shard in one(made, "decisions").shards()]
    query = "SELECT arg_min(id, md5(id), 3) AS chosen FROM (SELECT id FROM read_parquet(?) ORDER BY id {})"
    assert rows(query.format("ASC"), [tables]) == rows(query.format("DESC"), [tables])
