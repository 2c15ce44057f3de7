"""The report of a corpus that was only cleaned, every step enabled, against counts made by hand from its tables."""

import json
import operator
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from flows.commands.clean import CleanConfig
from flows.corpus import curate
from tasks.lineage.curated import Curated
from tasks.report import ReportConfig, report
from tasks.reports.data import Amount, ReportData, SourceRow
from tasks.running import pool
from tasks.running.progress import Display
from tasks.running.run import Resources, Run, use_run
from tasks.running.tables import rows
from tasks.store import Artifact, Store
from tests.tasks.tiny_corpus import ADDRESS, ATTACK, TOPICS, prose, write_documents

MENU = "Home, news, opening hours, contact, imprint and how to find us"
LITTLE = (
    "The garden is open to all of you. It has roses and many other plants. Bring seeds with bulbs inside. "
    "Water stands on our lawn. Come at noon for soup."
)
ITEM = "which of these fourteen small grey pebbles would an attentive pilot leave upon the wet quay today"
SHARED = "a long and winding piece of text about lanterns " * 3
COMPARE = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}


def write_pages(root: Path) -> None:
    """Twenty pages below one menu line, among them every fault that the later steps find."""
    draw = random.Random(2)
    texts = [f"{MENU}\n\n{prose(draw, 'gardens')}" for _ in range(20)]
    texts[1] = f"{MENU}\n\n{LITTLE}"
    texts[2] += f"\n\n{ITEM.capitalize()}. {ATTACK} {ADDRESS}"
    texts[3] += f"\n\n{(piece := prose(draw, 'harbours', 8))}"
    texts[4] += f"\n\n{piece} Ask {ADDRESS} of it."
    pages = [
        {"id": f"page{i:02d}", "text": text, "url": f"https://garden.example/{i if i != 6 else 5}?utm_source=x"}
        for i, text in enumerate(texts)
    ]
    (root / "pages.jsonl").write_text("".join(json.dumps(page) + "\n" for page in pages))
    (root / "benchmark.jsonl").write_text(json.dumps({"id": "q7", "question": ITEM}) + "\n")


def configuration(root: Path) -> CleanConfig:
    pages = {"format": "jsonl", "name": "pages", "paths": [str(root / "pages.jsonl")], "id_column": "id"}
    return CleanConfig.model_validate(
        {
            "name": "tiny",
            "ingest": {
                "sources": [
                    *({"format": "text", "name": topic, "paths": [str(root / topic)]} for topic in TOPICS),
                    {**pages, "metadata_columns": ["url"], "language": "en"},
                ]
            },
            "url": {"enabled": True},
            "lines": {"enabled": True, "min_left_characters": 200},
            "substring": {"enabled": True},
            "rules": {
                "rulesets": ["gopher_repetition", "gopher_quality", "c4"],
                "drop": {"ids": ["gardens:05.txt"]},
                "keep": {"ids": ["gardens:repeated.txt"]},
                "thresholds": {"gopher_quality.gopher_short_doc": 20, "gopher_quality.gopher_enough_stop_words": 4},
            },
            "decontaminate": {"benchmarks": [{"name": "quiz", "paths": [str(root / "benchmark.jsonl")]}]},
            "mixture": {"enabled": True, "weights": {"pages": 2}},
        }
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Curated, Artifact]:
    folder = tmp_path_factory.mktemp("corpus")
    write_documents(folder / "documents")
    write_pages(folder / "documents")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TEXTMILL_HOME", str(folder))
        with use_run(Run(Store(folder / "store"), Resources(workers=1, threads=1), Display(quiet=True))):
            corpus = curate(configuration(folder / "documents"))
            page = report(ReportConfig(name="tiny"), **vars(corpus))
    pool.shut_down()
    return corpus, page


@pytest.fixture(scope="module")
def corpus(made: tuple[Curated, Artifact]) -> Curated:
    return made[0]


@pytest.fixture(scope="module")
def data(made: tuple[Curated, Artifact]) -> ReportData:
    return ReportData.model_validate_json(made[1].file("report.json").read_text())


@pytest.fixture(scope="module")
def page(made: tuple[Curated, Artifact]) -> str:
    return made[1].file("report.html").read_text()


def table(artifact: Artifact, pattern: str = "") -> list[dict[str, Any]]:
    files = [str(artifact.path / pattern)] if pattern else [str(shard.path) for shard in artifact.shards()]
    return rows("SELECT * FROM read_parquet(?) ORDER BY id", [files])


@pytest.fixture(scope="module")
def decisions(corpus: Curated) -> list[dict[str, Any]]:
    """Every document with its decision and its signals."""
    measured = {row["id"]: row for row in table(corpus.signals)}
    return [measured[row["id"]] | row for row in table(corpus.decisions)]


def test_the_funnel_has_the_steps_in_their_order(
    data: ReportData, corpus: Curated, decisions: list[dict[str, Any]]
) -> None:
    assert [step.name for step in data.funnel] == [
        "read", "normalise", "rules", "url", "dedupe", "lines", "substring", "decontaminate", "edit", "mixture",
    ]  # fmt: skip
    left = {step.name: (step.out.documents, step.out.bytes) for step in data.funnel}
    starts = {
        "url": ("duplicate.url",),
        "dedupe": ("duplicate.exact", "duplicate.near"),
        "lines": ("lines.",),
        "substring": ("substring.",),
        "decontaminate": ("contaminated.",),
    }
    later = tuple(start for names in starts.values() for start in names)
    still = [row for row in decisions if row["kept"] or row["reason"].startswith(later)]
    assert left["rules"] == (len(still), sum(row["bytes"] for row in still))
    for name, reasons in starts.items():
        still = [row for row in still if row["kept"] or not row["reason"].startswith(reasons)]
        assert left[name] == (len(still), sum(row["bytes"] for row in still)), name
    counts = corpus.kept.counts()
    assert left["edit"] == (counts["documents"], counts["bytes"])
    assert all(row["kept"] for row in still)


def test_where_each_source_went(data: ReportData, corpus: Curated, decisions: list[dict[str, Any]]) -> None:
    read, kept = table(corpus.raw), table(corpus.kept)

    def way(row: dict[str, Any]) -> str:
        first = row["reason"].partition(".")[0]
        return {"duplicate": "duplicates", "lines": "other", "contaminated": "other"}.get(first, "rules")

    expected = []
    for name in {row["source"] for row in read}:
        gone = [row for row in decisions if row["source"] == name and not row["kept"]]
        amounts = {
            each: Amount(documents=len(found), bytes=sum(row["bytes"] for row in found))
            for each in ("rules", "duplicates", "other")
            for found in [[row for row in gone if way(row) == each]]
        }
        sizes = {
            f"{when}_{what}": value
            for when, texts in (("raw", read), ("kept", kept))
            for mine in [[row["text"].encode() for row in texts if row["source"] == name]]
            for what, value in (("documents", len(mine)), ("bytes", sum(map(len, mine))))
        }
        expected.append(SourceRow(name=name, **amounts, **sizes))
    assert list(data.sources) == sorted(expected, key=lambda row: (-row.raw_bytes, row.name))
    for row in data.sources:
        assert row.rules
        assert row.duplicates
        assert row.other
        went = [row.rules.documents, row.duplicates.documents, row.other.documents, row.kept_documents]
        assert sum(n or 0 for n in went) == row.raw_documents


def test_overlap_counts_every_pair(data: ReportData, decisions: list[dict[str, Any]]) -> None:
    assert data.overlap is not None
    held = [set(row["reasons"]) - {"list.keep"} for row in decisions]
    met = Counter(reason for reasons in held for reason in reasons)
    assert data.overlap.left == len(met) - len(data.overlap.reasons) >= 0
    assert [met[reason] for reason in data.overlap.reasons] == sorted(met.values(), reverse=True)[
        : len(data.overlap.reasons)
    ]
    for i, first in enumerate(data.overlap.reasons):
        for j, second in enumerate(data.overlap.reasons):
            assert data.overlap.documents[i][j] == sum({first, second} <= reasons for reasons in held)


def test_curves_are_what_the_rules_would_drop(data: ReportData, decisions: list[dict[str, Any]]) -> None:
    shapes = {(curve.operator, curve.logarithmic) for curve in data.curves}
    assert {("<", True), ("<", False), (">", False)} <= shapes
    met = Counter(reason for row in decisions for reason in row["reasons"])
    for curve in data.curves:
        assert list(curve.thresholds) == sorted(set(curve.thresholds))
        assert curve.documents[curve.thresholds.index(curve.threshold)] == met[curve.reason] > 0
        assert (curve.all_documents, curve.all_bytes) == (len(decisions), sum(row["bytes"] for row in decisions))
        for at, threshold in enumerate(curve.thresholds):
            gone = [row for row in decisions if COMPARE[curve.operator](row[curve.signal], threshold)]
            assert curve.documents[at] == len(gone), (curve.reason, threshold)
            assert curve.bytes[at] == sum(row["bytes"] for row in gone)


def test_languages_are_those_of_the_profile(data: ReportData, corpus: Curated) -> None:
    profile = json.loads(corpus.profile.file("profile.json").read_text())["languages"]
    assert {row.name: row.model_dump(exclude={"name"}) for row in data.languages} == profile
    assert {"en", "unknown"} == set(profile)


def test_spans_that_left_the_texts(data: ReportData, decisions: list[dict[str, Any]]) -> None:
    left = [
        (row["id"], span)
        for row in decisions
        for span in row["spans"]
        if row["kept"] or span["kind"].startswith("pii.")
    ]
    shown = {span.kind: span for span in data.spans}
    edits = shown.pop("line edits of c4")
    edited = [row["edits"] for row in decisions if row["kept"] and row["edits"]]
    assert (edits.documents, edits.spans) == (len(edited), sum(map(len, edited)))
    assert edits.characters == sum(edit["end"] - edit["start"] for each in edited for edit in each)
    assert set(shown) == {span["kind"] for _, span in left} == {"line", "substring", "pii.email"}
    for kind, span in shown.items():
        mine = [(id, each) for id, each in left if each["kind"] == kind]
        assert span.spans == len(mine)
        assert span.characters == sum(each["end"] - each["start"] for _, each in mine)
        assert span.documents == len({id for id, _ in mine})
    assert shown["pii.email"].replacements == ["<email>"]
    assert shown["line"].replacements == []


def test_the_mixture_is_what_was_drawn(data: ReportData, corpus: Curated) -> None:
    assert data.mixture is not None
    assert (data.mixture.by, data.mixture.unit) == ("source", "bytes")
    copies = {row["id"]: row["copies"] for row in table(corpus.mixture[0], "copies.parquet")}
    kept = table(corpus.kept)
    for group in data.mixture.groups:
        mine = [row for row in kept if row["source"] == group.name]
        assert group.documents == len(mine)
        assert group.drawn_documents == sum(copies[row["id"]] for row in mine)
        assert group.drawn == sum(copies[row["id"]] * len(row["text"].encode()) for row in mine)
    assert {group.name: group.epochs for group in data.mixture.groups}["pages"] == pytest.approx(2)
    drawn = [row for row in kept if copies[row["id"]]]
    assert data.funnel[-1].name == "mixture"
    assert data.funnel[-1].out == data.headline.drawn
    assert data.headline.drawn == Amount(documents=len(drawn), bytes=sum(len(row["text"].encode()) for row in drawn))
    assert data.funnel[-1].note == (
        f"documents that are drawn, each counted once; {sum(copies.values()):,} copies in all"
    )


def test_families_of_one_address(data: ReportData) -> None:
    assert data.addresses is not None
    assert data.addresses.url == data.addresses.families == 1
    [family] = data.addresses.largest
    assert {family.kept, *(member.id for member in family.members)} == {"page05", "page06"}
    assert [member.kind for member in family.members] == ["url"]


def test_each_reason_has_its_evidence(data: ReportData, decisions: list[dict[str, Any]]) -> None:
    reasons = {reason.name: reason for reason in data.drops}
    first = Counter(row["reason"] for row in decisions if not row["kept"])
    assert {name: reason.documents for name, reason in reasons.items()} == first
    assert set(first) >= {
        "list.drop", "duplicate.url", "duplicate.exact", "lines.too_little_left", "contaminated.quiz",
    }  # fmt: skip
    assert (reasons["list.drop"].stage, reasons["list.drop"].rule) == ("rules", "named by the drop-list")
    [example] = reasons["list.drop"].examples
    assert example.id == "gardens:05.txt"
    [example] = reasons["duplicate.url"].examples
    assert example.twin is not None
    assert {example.id, example.twin.id} == {"page05", "page06"}
    assert (example.twin.kind, example.twin.jaccard) == ("url", None)
    [example] = reasons["lines.too_little_left"].examples
    assert example.id == "page01"
    assert example.note is not None
    assert example.note.endswith("characters would be left")
    [example] = reasons["contaminated.quiz"].examples
    assert example.id == "page02"
    assert example.note is not None
    assert "17 of" in example.note
    assert example.note.endswith("here with quiz#benchmark.jsonl:1/question")


def test_foreign_text_is_escaped_and_redacted(page: str, data: ReportData) -> None:
    assert "<script" not in page
    assert "&lt;script&gt;alert(" in page
    assert ADDRESS not in page
    assert ADDRESS not in data.model_dump_json()


def test_nothing_is_said_of_models(page: str, data: ReportData) -> None:
    assert data.pretraining is None
    assert data.finetuning is None
    assert data.headline.kept is not None
    assert data.headline.kept.tokens is None
    for section in ("pretraining", "finetuning"):
        assert f'id="{section}"' not in page
    for section in ("overlap", "curves", "languages", "addresses", "spans", "mixture"):
        assert f'id="{section}"' in page
    assert "textmill generate" not in page


def test_lineage_holds_what_was_made_on_the_way(data: ReportData, corpus: Curated) -> None:
    stages = [node.stage for node in data.lineage]
    assert {"urls", "url dedupe", "line tables", "boilerplate", "windows", "substring", "pii", "mixture"} <= set(stages)
    assert {"benchmark index", "contamination", "profile"} <= set(stages)
    assert len(data.stages) == len(data.lineage) == len({node.key for node in data.lineage})
    seen: set[str] = set()
    for node in data.lineage:
        assert set(node.inputs) <= seen
        seen.add(node.key)
