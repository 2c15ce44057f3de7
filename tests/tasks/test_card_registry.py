"""Cards and retirement in the registry of a real MLflow store (SQLite, in this process)."""

from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from lm.ngram.config import NgramConfig
from tasks.cards.page import DESCRIPTION_LIMIT, described
from tasks.ngram import ngram
from tasks.running.journal import Journal
from tasks.running.progress import Display
from tasks.running.run import Run, use_run
from tasks.stage import NoConfig
from tasks.store import Artifact, Store
from tasks.tracking import shipper
from tasks.tracking.registry import RETIRED, describe_versions, retired_versions
from tests.flows import exam_home
from tests.tasks.journals import Pipeline


@pytest.fixture(scope="module")
def model_store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store with two n-gram models."""
    root = tmp_path_factory.mktemp("cards")
    exam_home.make_store(root)
    return Store(root / "store")


def journal_of(model: Artifact) -> Journal:
    return Journal(model.path / "_run")


def shipped(store: Store, models: list[Artifact], client: MlflowClient, token: str) -> Pipeline:
    """A run that built the models and registered them as `small`, each the newest in its turn."""
    pipeline = Pipeline(store, token)
    for model in models:
        pipeline.stage(model.stage, model.key)
        journal = journal_of(model)
        params = {"order": 2}
        journal.write("model", name="small", alias="newest", path=str(model.path), key=model.key, params=params)
        journal.close()
    shipper.ship_run(store, pipeline.directory, client)
    return pipeline


def test_cards_come_when_the_run_has_ended_and_forgotten_models_lose_their_names(
    model_store: Store, client: MlflowClient
) -> None:
    models = [model_store.resolve(name) for name in ("one", "three")]
    pipeline = shipped(model_store, models, client, "20260101-cards")
    versions = {str(v.version): v for v in client.search_model_versions("name = 'small'")}
    assert {number: version.tags["textmill.key"] for number, version in versions.items()} == {
        "1": models[0].key,
        "2": models[1].key,
    }
    assert not any(version.description for version in versions.values())  # what is asked of it comes later
    pipeline.end()
    shipper.ship_run(model_store, pipeline.directory, client)
    for number, model in (("1", models[0]), ("2", models[1])):
        version = client.get_model_version("small", number)
        assert version.description.startswith(f"# ngram {model.key[:12]}")
        assert len(version.description) <= DESCRIPTION_LIMIT
        assert version.run_id is not None
        assert [each.path for each in client.list_artifacts(version.run_id, "card")] == ["card/README.md"]
        assert (model.path / "_run/README.md").read_text().startswith("---\nlicense: unknown\n")
    client.update_model_version("small", "1", description="mine")
    shipper.ship_run(model_store, pipeline.directory, client)
    assert client.get_model_version("small", "1").description == "mine"  # once only
    assert describe_versions(client, models[0].key, "---\na: b\n---\n\n# anew") == [{"name": "small", "version": "1"}]
    assert client.get_model_version("small", "1").description == "# anew"

    forget = Pipeline(model_store, "20260102-forget")
    forget.journal.write("retire", keys=[models[1].key], names=["small"], why="ticket 7")
    for _ in range(2):  # sent twice after a kill: nothing more happens
        shipper.ship_run(model_store, forget.directory, client)
        (forget.directory / shipper.CURSOR).unlink()
    assert client.get_registered_model("small").aliases == {}
    assert client.get_model_version("small", "2").tags[RETIRED] == "ticket 7"
    assert RETIRED not in client.get_model_version("small", "1").tags
    [gone] = retired_versions(client, ["small"])
    assert gone["version"] == "2"
    assert gone["source"]
    experiment = client.get_experiment_by_name("textmill")
    tags = {run.data.tags["textmill.key"]: run.data.tags for run in client.search_runs([experiment.experiment_id])}
    assert tags[models[1].key][RETIRED] == "ticket 7"
    assert RETIRED not in tags[models[0].key]


def test_a_card_that_cannot_be_made_holds_nothing_back(
    model_store: Store, client: MlflowClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: Any) -> str:
        raise KeyError("counts")

    monkeypatch.setattr("tasks.card.write_card", broken)
    with use_run(Run(model_store, exam_home.QUIET, Display(quiet=True))):
        given = {name: getattr(exam_home, f"exam_{name}") for name in ("corpus", "tokenizer")}
        corpus, tokenizer = given["corpus"](NoConfig()), given["tokenizer"](NoConfig())
        tokens = exam_home.exam_tokens(NoConfig(), corpus=corpus, tokenizer=tokenizer)
        split = exam_home.exam_split(NoConfig(), corpus=corpus)
        model = ngram(NgramConfig(order=2), tokens=tokens, split=split, tokenizer=tokenizer)
    pipeline = shipped(model_store, [model], client, "20260103-broken")
    pipeline.end()
    shipper.ship_run(model_store, pipeline.directory, client)
    assert "has no card (KeyError: 'counts')" in caplog.text
    assert client.search_model_versions("name = 'small'")[0].description in (None, "")


def test_a_description_has_the_sections_that_fit(tmp_path: Path) -> None:
    sections = {"Data": "d" * 2_000, "Settings": "s" * 9_000, "Limits": "l" * 2_000}
    card = "---\nlicense: unknown\n---\n\n# name\n\nshort\n\n" + "\n\n".join(
        f"## {n}\n\n{t}" for n, t in sections.items()
    )
    text = described(card)
    assert len(text) <= DESCRIPTION_LIMIT
    assert text.startswith("# name\n\nshort\n\n## Data")
    assert "## Limits" in text
    assert "## Settings" not in text
    assert text.endswith("card/README.md.")
    assert described("---\na: b\n---\n\n# small\n") == "# small"
