"""Ids, senders, fields and file names that hold personal data: none of them leaves, through no exit."""

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from flows.commands.clean import clean, clean_config
from flows.commands.diff import diff
from flows.commands.tune import tune
from flows.commands.why import describe, why
from tasks.running import pool
from tests.tasks.tiny_corpus import prose

JANE = "jane.doe@example.org"
SOURCE = {
    "format": "jsonl",
    "name": "mails",
    "id_column": "id",
    "source_column": "from",
    "metadata_columns": ["to", "read_by"],
}
QUICK = {"resources.workers": "1", "resources.threads": "1", "rules.rulesets": "[gopher_quality]"}


def mails() -> list[dict[str, Any]]:
    """Ten of a sender, of which two are equal, two nearly, and one too short."""
    draw = random.Random(1)
    texts = [prose(draw, "gardens") for _ in range(6)]
    texts += [texts[0], texts[1] + " More.", "Short.", prose(draw, "harbours")]
    return [
        {"id": f"{n}.{JANE}", "text": text, "from": f"Jane <{JANE}>", "to": JANE, "read_by": {JANE: "yes"}}
        for n, text in enumerate(texts)
    ]


@pytest.fixture
def cleaned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("TEXTMILL_HOME", str(tmp_path / "home"))
    file = tmp_path / f"{JANE}.jsonl"
    file.write_text("\n".join(map(json.dumps, mails())) + "\nno JSON\n")

    def cleaned(**changes: str) -> Path:
        given = {name.replace("__", "."): value for name, value in changes.items()}
        sources = {"ingest.sources": json.dumps([SOURCE | {"paths": [str(file)]}])}
        clean(clean_config([], None, QUICK | sources | given, None), str(tmp_path / "out"), quiet=True)
        return tmp_path / "out"

    yield cleaned
    pool.shut_down()


def rows(out: Path, view: str) -> list[dict[str, Any]]:
    return [row for path in sorted((out / view).glob("*.parquet")) for row in pq.read_table(path).to_pylist()]


def test_no_exit_shows_an_address(cleaned: Any, tmp_path: Path) -> None:
    out = cleaned()
    kept, dropped = rows(out, "kept"), rows(out, "dropped")
    assert len({row["id"] for row in kept + dropped}) == 10
    assert {row["reason"].partition(".")[2] for row in dropped} == {"exact", "near", "gopher_short_doc"}
    manifest = json.loads((out / "manifest.json").read_text())
    del manifest["config"]  # as its author wrote it
    shown = [str(kept + dropped), (out / "report.html").read_text(), json.dumps(manifest)]
    for drop in dropped:
        answer = why(drop["id"], None)
        shown += [json.dumps(answer), describe(answer)]
    shown.append(json.dumps(tune(None, {"gopher_quality.gopher_short_doc": 3.0}, None, 3)))
    [corpus] = {a["key"] for a in manifest["artifacts"] if a["stage"] == "filter_corpus"}
    shown.append(json.dumps(diff(corpus, corpus, tmp_path / "changes.parquet", 3)))
    shown.append(str(pq.read_table(tmp_path / "changes.parquet").to_pylist()))
    artifacts = tmp_path / "home" / "store" / "artifacts"
    told = list(artifacts.rglob("_run/*.jsonl"))  # what MLflow is sent
    assert len(told) > 8
    shown += [path.read_text() for path in [*told, *artifacts.glob("*/*/manifest.json")]]
    for text in shown:
        before, found, _ = text.partition(JANE)
        assert not found, before[-300:]


def test_a_document_is_found_and_listed_by_the_id_that_its_source_gives_it(cleaned: Any) -> None:
    out = cleaned(rules__keep__ids=json.dumps([f"8.{JANE}"]), rules__drop__sources=json.dumps([f"Jane <{JANE}>"]))
    [short] = rows(out, "kept")
    assert short["text"] == "Short."
    assert why(f"8.{JANE}", None)["document"] == short["id"]


def test_ids_stay_as_they_are_where_that_is_asked_for(cleaned: Any) -> None:
    out = cleaned(pii__ids="false")
    found = rows(out, "kept") + rows(out, "dropped")
    assert {row["id"] for row in found} == {mail["id"] for mail in mails()}
    assert not any(JANE in row["metadata"] for row in found)


def test_other_categories_change_no_document_whose_names_they_do_not_touch(cleaned: Any) -> None:
    digests = []
    for phone in ("true", "false"):
        manifest = json.loads((cleaned(pii__phone=phone) / "manifest.json").read_text())
        digests.append({a["stage"]: a["key"] for a in manifest["artifacts"]})
    assert digests[0]["ingest"] != digests[1]["ingest"]
    assert {stage for stage in digests[0] if digests[0][stage] != digests[1][stage]} == {"ingest", "pii"}
