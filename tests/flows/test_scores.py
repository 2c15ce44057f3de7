"""Classifier and perplexity in the flow: scores that rules name, `why` shows, and the keep policy goes by."""

from pathlib import Path
from typing import Any

import pytest

from flows.commands.clean import clean, clean_config
from flows.commands.why import why
from tasks.running import pool
from tasks.running.tables import rows
from tests.tasks.tiny_corpus import write_documents

pytestmark = pytest.mark.heavy

OWN = """
name: own
description: Scores of models.
citation: none
text: raw
rules:
  - {name: unlike, signal: classifier_score, operator: "<", threshold: 0.5, reason: unlike the reference, source: none}
  - {name: tail, signal: perplexity_bucket, operator: "==", threshold: tail, reason: surprising, source: none}
"""


@pytest.fixture(params=["false", "true"], ids=["stated languages", "identified languages"])
def out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Any:
    monkeypatch.setenv("TEXTMILL_HOME", str(tmp_path / "home"))
    write_documents(tmp_path / "documents")
    (tmp_path / "own.yaml").write_text(OWN)
    settings = {
        "resources.workers": "1",
        "near_dedupe.enabled": "false",
        "exact.enabled": "false",
        "language.enabled": request.param,
        "rules.rulesets": f"[{tmp_path / 'own.yaml'}]",
        "classifier": "{enabled: true, bits: 12, held_out: 0.4}",
        "classifier.reference.ids": "['*gardens*']",
        "classifier.raw.ids": "['*harbours*']",
        "perplexity.enabled": "true",
    }
    clean(clean_config([str(tmp_path / "documents")], None, settings, None), str(tmp_path / "out"), quiet=True)
    yield tmp_path / "out"
    pool.shut_down()


def test_scores_judge_and_are_shown(out: Path) -> None:
    dropped = rows("SELECT * FROM read_parquet(?)", [str(out / "dropped" / "*.parquet")])
    kept = {row["id"] for row in rows("SELECT id FROM read_parquet(?)", [str(out / "kept" / "*.parquet")])}
    unlike = [row for row in dropped if row["reason"] == "own.unlike"]
    assert len(unlike) >= 20
    assert all("harbours" in row["id"] and row["classifier_score"] < 0.5 for row in unlike)
    tail = [row for row in dropped if "own.tail" in row["reasons"]]
    assert tail
    assert all(row["perplexity_bucket"] == "tail" and row["perplexity_percentile"] > 60 for row in tail)
    assert sum("gardens" in id for id in kept) > 10
    answer = why(unlike[0]["id"], None)
    shown = {rule["rule"]: rule["value"] for rule in answer["rules"]}
    assert shown["own.unlike"] == unlike[0]["classifier_score"]
    assert shown["own.tail"] == unlike[0]["perplexity_bucket"]
