"""A search, a study and an instruction tuning on real servers: what Prefect and MLflow say of them afterwards."""

import json
import socket
import subprocess
import sys
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from tests.flows.learning_cases import write_learning
from tests.settled import settled

ROOT = Path(__file__).parents[2]


@dataclass
class Said:
    """What the commands printed, and the servers that heard of them."""

    printed: dict[str, dict[str, Any]]
    prefect: str
    mlflow: MlflowClient

    def ask(self, path: str, flow: str) -> list[dict[str, Any]]:
        """What Prefect has of the one flow run of a flow."""
        only = {"flows": {"name": {"any_": [flow]}}}
        request = urllib.request.Request(
            f"{self.prefect}/{path}/filter", json.dumps(only).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=240) as answer:
            return list(json.load(answer))

    def runs(self, name: str) -> tuple[Run, dict[str, Run]]:
        """The MLflow run of a flow run, and those below it by name."""
        experiment = self.mlflow.get_experiment_by_name("textmill")
        assert experiment is not None
        found = self.mlflow.search_runs([experiment.experiment_id], max_results=200)
        [parent] = [run for run in found if run.info.run_name == name and "mlflow.parentRunId" not in run.data.tags]
        below = [run for run in found if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
        assert len({run.info.run_name for run in below}) == len(below)
        return parent, {str(run.info.run_name): run for run in below}

    def last_step(self, run: Run, metric: str) -> int:
        """Of a metric of an MLflow run."""
        return max(point.step for point in self.mlflow.get_metric_history(run.info.run_id, metric))

    def files(self, run: Run, folder: str) -> set[str]:
        """The names of the files in a folder of a run's artifacts."""
        return {Path(file.path).name for file in self.mlflow.list_artifacts(run.info.run_id, folder)}


def run_all(environment: dict[str, str], root: Path) -> Said:
    """All three are run in one process; both servers end with the session."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    ports = Path(environment["TEXTMILL_HOME"]) / "services" / "ports.json"
    ports.write_text(json.dumps({"mlflow": port, **json.loads(ports.read_text())}))
    done = subprocess.run(
        [sys.executable, "-m", "tests.flows.server_driver", write_learning(root)],
        cwd=ROOT,
        env=environment | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "Traceback" not in done.stderr, done.stderr[-3000:]
    address = f"http://127.0.0.1:{json.loads(ports.read_text())['mlflow']}"
    client = MlflowClient(address, address)  # the registry, too: else it is the one that a test before this named
    return Said(json.loads(done.stdout.splitlines()[-1]), environment["PREFECT_API_URL"], client)


@pytest.mark.server
def test_what_servers_say_afterwards(prefect_environment: dict[str, str], tmp_path: Path) -> None:
    """One test, so that several workers do not run the flows several times."""
    said = run_all(prefect_environment, tmp_path)
    a_search_has_a_run_for_each_trial_and_registers_what_was_chosen(said)
    a_study_shows_its_table_and_its_picture(said)
    an_instruction_tuning_shows_its_samples_and_is_registered(said)
    for flow in ("search", "study", "instruct"):
        nothing_is_shown_that_says_nothing(said, flow)


def states(said: Said, flow: str) -> dict[str, str]:
    """Of the flow run, which was completed, and by name of its task runs, when these are over."""
    [run] = said.ask("flow_runs", flow)
    assert (run["state"]["name"], said.printed[flow]["state"]) == ("Completed", "Completed")
    assert run["id"] in said.printed[flow]["links"]["Prefect"]

    def tasks() -> dict[str, str]:
        rows = said.ask("task_runs", flow)
        found = {task["name"]: task["state"]["name"] for task in rows}
        assert len(found) == len(rows)
        return found

    return settled(tasks, least=len(said.printed[flow]["stages"]))


def tables(said: Said, flow: str) -> set[str]:
    """The names of the tables that the flow run shows."""
    return {each["key"] for each in said.ask("artifacts", flow) if each["type"] == "table"}


def a_search_has_a_run_for_each_trial_and_registers_what_was_chosen(said: Said) -> None:
    """Of two trials the second diverges: its task has failed, its MLflow run too, and the search has not."""
    found = states(said, "search")
    assert found == {
        "adopt labelled": "Completed",
        "adopt model": "Completed",
        "rates trial 1 seed 0": "Completed",
        "rates trial 1": "Completed",
        "rates trial 2 seed 0": "Failed",
        "rates trial 2 seed 0 diverged": "Completed",
        "search": "Completed",
        "finetune summary": "Completed",
    }
    assert {"search-trials", "finetune-summary-reached", "rates-trial-1-counts"} <= tables(said, "search")

    parent, below = said.runs("search rates")
    assert parent.info.status == "FINISHED"
    assert parent.data.params["search.space.learning_rate"] == "[0.001, 1e+30]"
    failed = {name for name, run in below.items() if run.info.status != "FINISHED"}
    assert failed == {"rates trial 2 seed 0"}
    trial, seed = below["rates trial 1"], below["rates trial 1 seed 0"]
    assert trial.data.params == {"values.learning_rate": "0.001"}
    assert trial.data.metrics["valid_accuracy_mean"] == seed.data.metrics["valid_accuracy"]
    assert said.last_step(seed, "train/loss") == 2
    assert {each.dataset.name for each in seed.inputs.dataset_inputs} == {"examples", "model"}

    summary = below["finetune_summary"]
    assert said.files(summary, "report") == {"report.html"}
    [version] = said.mlflow.search_model_versions("name = 'textmill-single'")
    assert version.run_id == summary.info.run_id
    assert said.mlflow.get_model_version_by_alias("textmill-single", "best").version == version.version
    assert version.description.startswith("# finetune ")  # its card, once the run had ended
    assert "adopt_model/" in version.description
    assert said.files(summary, "card") == {"README.md"}
    assert version.tags["textmill.dev.mean"] == str(trial.data.metrics["valid_accuracy_mean"])
    [model] = said.mlflow.search_logged_models([parent.info.experiment_id], f"source_run_id = '{summary.info.run_id}'")
    assert model.status == "READY"


def a_study_shows_its_table_and_its_picture(said: Said) -> None:
    found = states(said, "study")
    wanted = {f"topics {labels} gpt seed {seed}" for labels in (16, "all") for seed in (0, 1)}
    wanted |= {"topics 16 words", "topics all words", "study labels", "labelled set topics 16", "labelled set topics"}
    assert wanted <= set(found)
    assert set(found.values()) == {"Completed"}

    parent, below = said.runs("study labels")
    assert parent.info.status == "FINISHED"
    assert {run.info.status for run in below.values()} == {"FINISHED"}
    assert wanted <= set(below)
    report = below["study labels"]
    assert said.files(report, "study") >= {"study.md", "topics.svg"}
    for system, runs in (("gpt", ("gpt seed 0", "gpt seed 1")), ("words", ("words",))):
        reached = [below[f"topics 16 {run}"].data.metrics["test_accuracy"] for run in runs]
        assert report.data.metrics[f"topics/16/{system}/accuracy"] == pytest.approx(sum(reached) / len(reached))


def an_instruction_tuning_shows_its_samples_and_is_registered(said: Said) -> None:
    found = states(said, "instruct")
    assert found == dict.fromkeys(("labelled set chats 32", "adopt model", "instruct chat"), "Completed")
    _, below = said.runs("instruct chat")
    run = below["instruct chat"]
    assert run.info.status == "FINISHED"
    assert {"valid_bits_per_byte", "untrained_bits_per_byte", "valid_exact_match"} <= set(run.data.metrics)
    assert said.last_step(run, "train/loss") == 4
    assert said.files(run, "samples") == {"samples.jsonl"}
    version = said.mlflow.get_model_version_by_alias("textmill-instructed", "newest")
    assert version.description.startswith("# instruct ")
    model = said.mlflow.get_logged_model(version.source.removeprefix("models:/"))
    assert Path(model.tags["textmill.path"]).is_dir()


def nothing_is_shown_that_says_nothing(said: Said, flow: str) -> None:
    shown = said.ask("artifacts", flow)
    assert {each["type"] for each in shown} <= {"table", "markdown", "progress"}
    assert not [each["key"] for each in shown if each["data"] in ("[]", [], None)]
    assert not [each["description"] for each in shown if "0 of 0" in (each["description"] or "")]
