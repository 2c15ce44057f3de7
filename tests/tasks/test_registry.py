"""Models in the registry of a real MLflow store (SQLite, in this process): once each, and the best under its alias."""

from pathlib import Path
from typing import Any

import mlflow
import pytest
from mlflow import MlflowClient

from tasks.store import Store
from tasks.tracking import shipper
from tasks.tracking.registry import DEV
from tests.tasks.journals import Pipeline, points, runs


def test_a_model_is_registered_once_under_its_alias(store: Store, client: MlflowClient) -> None:
    pipeline = Pipeline(store)
    for key, alias in (("a" * 32, "small"), ("b" * 32, "small")):
        journal = pipeline.stage("pretrain", key)
        journal.write("model", name="quickstart", alias=alias, path=f"/store/{key}", key=key, params={"layers": 2})
        journal.write("end", status="FINISHED")
        shipper.ship_run(store, pipeline.directory, client)
        (store.partial / f"pretrain-{key}" / "_run" / shipper.CURSOR).unlink()  # killed before the cursor moved
        shipper.ship_run(store, pipeline.directory, client)
    assert sorted(version.version for version in client.search_model_versions("name = 'quickstart'")) == [1, 2]
    version = client.get_model_version_by_alias("quickstart", "small")
    assert str(version.version) == "2"
    experiment = client.get_experiment_by_name("textmill")
    assert len(client.search_logged_models([experiment.experiment_id])) == 2


def broken_after(call: Any) -> Any:
    """The same, but the server's answer is lost."""

    def broken(*given: Any, **further: Any) -> None:
        call(*given, **further)
        raise OSError("the server went away")

    return broken


def test_best_means_best_of_those_asked_the_same(
    store: Store, client: MlflowClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worse model is registered and does not get the alias; other dev examples, or another metric, are another
    question. What was cut off, or sent twice, changes nothing."""
    (tmp_path / "code.py").write_text(
        "from mlflow.models import set_model\nfrom mlflow.pyfunc import PythonModel\n"
        "class Silent(PythonModel):\n    def predict(self, context, model_input: list[str]) -> list[str]:\n"
        "        return model_input\nset_model(Silent())\n"
    )
    served = {"python_model": str(tmp_path / "code.py"), "pip_requirements": ["mlflow"]}
    monkeypatch.setattr("tasks.tracking.servable.servable", lambda folder: served)
    breaks = [(MlflowClient, "log_model_artifacts"), (MlflowClient, "log_outputs"), (mlflow, "register_model")]
    pipeline = Pipeline(store)
    asked = [
        ("d1", "f1", 0.7, "1"),
        ("d1", "f1", 0.6, "1"),
        ("d1", "f1", 0.7, "3"),
        ("d2", "f1", 0.2, "4"),
        ("d2", "accuracy", 0.1, "5"),
    ]
    for number, (examples, metric, mean, best) in enumerate(asked):
        key = f"{number}" * 32
        journal = pipeline.stage("finetune_summary", key)
        dev = {"examples": examples, "metric": metric, "mean": mean}
        journal.write("serve", name="textmill-x", alias="best", path=str(tmp_path), key=key, dev=dev)
        for place, name in breaks if number == 0 else ():
            with monkeypatch.context() as patch:
                patch.setattr(place, name, broken_after(getattr(place, name)))
                with pytest.raises(OSError, match="the server went away"):
                    shipper.ship_run(store, pipeline.directory, client)
        shipper.ship_run(store, pipeline.directory, client)
        (store.partial / f"finetune_summary-{key}" / "_run" / shipper.CURSOR).unlink()  # killed before it moved
        shipper.ship_run(store, pipeline.directory, client)
        assert str(client.get_model_version_by_alias("textmill-x", "best").version) == best
    assert len(client.search_model_versions("name = 'textmill-x'")) == len(asked)
    experiment = client.get_experiment_by_name("textmill")
    models = client.search_logged_models([experiment.experiment_id])
    assert [model.status for model in models] == ["READY"] * len(asked)
    assert mlflow.pyfunc.load_model("models:/textmill-x@best").predict(["a"]) == ["a"]
    tags = client.get_model_version("textmill-x", "3").tags
    assert {name: tags[name] for name in tags if name.startswith(DEV)} == {
        DEV + "examples": "d1",
        DEV + "metric": "f1",
        DEV + "mean": "0.7",
    }


def test_a_model_that_was_collected_is_not_registered_and_keeps_nothing_back(
    store: Store, client: MlflowClient, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pipeline = Pipeline(store)
    journal = pipeline.stage("finetune_summary", "k" * 32)
    journal.write("serve", name="textmill-x", alias="best", path=str(tmp_path / "gone"), key="g" * 32)
    journal.metrics({"valid_accuracy_mean": 0.5}, 0)
    shipper.ship_run(store, pipeline.directory, client)
    assert "cannot be registered to be served:" in caplog.text
    assert "gone" in caplog.text
    assert not client.search_model_versions("name = 'textmill-x'")
    assert points(client, runs(client)["finetune_summary"], "valid_accuracy_mean") == [(0, 0.5)]
