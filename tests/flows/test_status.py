"""What `textmill status` says without a server; with one, tests/flows/test_schedules.py asks."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from flows.cli.main import app
from flows.figures import duration, energy
from flows.servers import status_page, status_prefect
from flows.servers.status import status
from flows.servers.status_lines import lines_of_runs, lines_of_waiting
from flows.servers.status_page import markdown, publish_status
from tasks.running import pool
from tasks.running.cost import SIZES, run_cost, store_size
from tasks.running.heartbeat import read_run
from tasks.running.journal import Journal, read_notes
from tasks.running.progress import Display
from tasks.running.run import Resources, StageRecord, pipeline_run
from tasks.stage import sidecar
from tasks.storage.files import read_json, write_json
from tasks.storage.sidecar import SIDECAR
from tasks.store import Artifact, Store
from tests.tasks.stages import NumbersConfig, numbers, squares

ROOT = Path(__file__).parents[2]


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    for name in ("PREFECT_HOME", "PREFECT_API_URL", "MLFLOW_TRACKING_URI", "TEXTMILL_MANAGED"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TEXTMILL_HOME", str(tmp_path))
    yield Store(tmp_path / "store")
    pool.shut_down()


def opened(store: Store, name: str = "tiny") -> Any:
    resources = Resources(workers=1, threads=1)
    return pipeline_run("mill", {"name": name}, resources, store=store, display=Display(quiet=True), follow=False)


def made(store: Store, count: int) -> list[Artifact]:
    with opened(store):
        source = numbers(NumbersConfig(count=count))
        return [source, squares(NumbersConfig(), source=source)]


def size_of(*artifacts: Artifact) -> int:
    folders = {folder for artifact in artifacts for folder in (artifact.path, *artifact.part_directories())}
    return sum(entry["bytes"] for folder in folders for entry in read_json(folder / "manifest.json")["files"])


def test_a_schedule_of_every_minute_hides_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """It fills Prefect's first answer by itself."""
    often = [{"deployment_id": "often", "state_name": "Scheduled", "at": n} for n in range(status_prefect.PAGE + 30)]
    runs = [*often, {"deployment_id": "weekly", "state_name": "Scheduled", "at": 10_000}]

    def answer(address: str, path: str, body: dict[str, Any]) -> list[dict[str, Any]]:
        return runs[body["offset"] : body["offset"] + body["limit"]]

    monkeypatch.setattr(status_prefect, "_post", answer)
    due = status_prefect._next(status_prefect._scheduled("http://server"))
    assert [(run["deployment_id"], run["at"]) for run in due] == [("often", 0), ("weekly", 10_000)]


def test_what_was_built_and_what_was_spared(store: Store) -> None:
    artifacts = made(store, 3)
    made(store, 3)
    again, first = status()["runs"]
    spent = sum(sidecar(artifact)["seconds"] for artifact in artifacts)
    assert {name: first["cost"][name] for name in ("built", "reused", "saved_seconds")} == {
        **{"built": 2, "reused": 0},
        "saved_seconds": None,
    }
    assert first["cost"]["seconds"] == pytest.approx(spent)
    assert first["cost"]["cpu_seconds"] == sum(sidecar(artifact)["cpu_seconds"] for artifact in artifacts)
    assert first["cost"]["bytes"] == size_of(*artifacts)
    assert (again["cost"]["built"], again["cost"]["reused"], again["cost"]["bytes"]) == (0, 2, 0)
    assert again["cost"]["saved_seconds"] == pytest.approx(spent)
    assert again["cost"]["seconds"] is None
    assert [run["state"] for run in (again, first)] == ["finished", "finished"]
    for artifact in artifacts:  # what it cost is known when the artifacts are long gone
        store.move_aside(artifact.path)
    assert status()["runs"][1]["cost"] == first["cost"]


def test_a_stage_that_a_killed_attempt_built_was_built(store: Store) -> None:
    [source, _] = made(store, 2)
    events = [{"stage": source.stage, "key": source.key, "state": state} for state in ("started", "built", "cached")]
    cost = run_cost(store, events)
    assert (cost["built"], cost["reused"]) == (1, 0)


@pytest.mark.parametrize("damaged", ["[]", "7", '{"seconds": "long"', "[" * 100_000])
def test_what_a_damaged_sidecar_said_is_not_known_and_the_run_ends(store: Store, damaged: str) -> None:
    [source, _] = made(store, 2)
    (source.path / SIDECAR).write_text(damaged)
    (source.path / "manifest.json").write_text(damaged)
    with opened(store, "again") as run:
        run.note(StageRecord(source.stage, source.stage, source, "built", 0.0))
    record = read_run(store.runs / run.token)
    assert record["state"] == "finished"
    assert (record["cost"]["seconds"], record["cost"]["bytes"]) == (None, 0)


def test_a_sidecar_with_another_figure_counts_for_nothing(store: Store) -> None:
    [source, _] = made(store, 2)
    events = [{"stage": source.stage, "key": source.key, "state": "built"}]
    write_json(source.path / SIDECAR, {**read_json(source.path / SIDECAR), "seconds": 1e9})
    assert run_cost(store, events)["seconds"] is None


def test_a_run_shows_where_it_is_and_a_dead_one_that_it_is(store: Store) -> None:
    with opened(store) as run:
        numbers(NumbersConfig(count=2))
        assert status()["runs"][0]["now"] is None
        journal = Journal(store.partial_directory("pretrain", "a" * 32) / "_run")
        for step in range(400):  # more than is looked at
            journal.metrics({"train/loss": 3.0 - step / 400, "system/cpu_utilization_percentage": 90.0}, step)
        journal.close()
        run.announce("pretrain", "a" * 32)
        found = status()
        [now] = found["runs"]
        assert (now["state"], now["now"]["stage"], now["now"]["step"]) == ("running", "pretrain", 399)
        assert now["now"]["figures"] == {"train/loss": 3.0 - 399 / 400}
        [line] = lines_of_runs(found, running=True)
        assert line[0] == "mill"
        assert line[3] == "pretrain · step 399 · train/loss 2.002"
        path = store.runs / now["token"] / "run.json"
        write_json(path, {**read_json(path), "process_created": 1.0})  # as of a process that has ended
        [dead] = status()["runs"]
        assert (dead["state"], dead["now"], dead["cost"]["built"]) == ("dead", None, 1)
        assert [line[1] for line in lines_of_runs(status(), running=False)] == ["dead"]


def test_the_store_is_summed_by_what_is_new(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    first = made(store, 3)
    parts = sum(1 for artifact in first for _ in artifact.part_directories())
    assert store_size(store) == {"artifacts": 2 + parts, "bytes": size_of(*first)}
    second = made(store, 4)
    assert store_size(store)["bytes"] == size_of(*first, *second)
    with monkeypatch.context() as patch:
        patch.setattr("tasks.running.cost._size_and_parts", lambda folder: pytest.fail(f"{folder} was read again"))
        assert store_size(store)["bytes"] == size_of(*first, *second)
    store.move_aside(second[0].path)
    assert store_size(store)["bytes"] == size_of(*first, second[1])
    for damaged in ("{", "[1]", '{"numbers": 5}'):
        (store.root / SIZES).write_text(damaged)
        assert store_size(store)["bytes"] == size_of(*first, second[1])
    (first[0].path / "manifest.json").write_text("{}")
    (store.root / SIZES).unlink()
    assert store_size(store)["bytes"] == size_of(first[1], second[1])


def test_the_command_without_a_server(store: Store) -> None:
    made(store, 3)
    shown = CliRunner().invoke(app, ["status"])
    assert shown.exit_code == 0, shown.output
    assert "waits: no Prefect server answers" in shown.output
    assert "runs now: nothing" in shown.output
    assert "mill tiny  finished" in shown.output
    printed = json.loads(CliRunner().invoke(app, ["status", "--json"]).output)
    assert printed["prefect"] is None
    assert printed["runs"][0]["cost"]["built"] == 2


def test_it_imports_neither_server(store: Store, tmp_path: Path) -> None:
    code = "import sys; from flows.servers.status import status; status(); "
    code += "print({'prefect', 'mlflow', 'torch'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_what_a_page_shows_is_text(store: Store) -> None:
    with opened(store, "<script>alert(1)</script>|**x**"):
        pass
    page = markdown(status())
    assert "mill \\<script>alert(1)\\</script>&#124;**x**" in page
    assert page.count("<script>") == page.count("\\<script>") == 1
    assert "Nothing runs." in page


def test_a_page_loads_no_picture_and_no_backslash_undoes_that(store: Store) -> None:
    with opened(store, "![x](http://127.0.0.1/pixel.png) \\<b> \\`a`"):
        pass
    page = markdown(status())
    assert "!\\[x\\](http://127.0.0.1/pixel.png) &#92;\\<b> &#92;\\`a\\`" in page


def test_a_server_that_is_away_is_not_waited_for_at_the_end_of_a_run(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")  # nobody answers
    monkeypatch.setattr(status_page, "_publish", lambda text: pytest.fail("Prefect's client was asked"))
    publish_status()
    assert "no Prefect server answers" in caplog.text


def test_a_damaged_record_is_passed_over(store: Store) -> None:
    made(store, 2)
    for token, text in (("90-damaged", "{"), ("91-damaged", "[]")):
        (store.runs / token).mkdir()
        (store.runs / token / "run.json").write_text(text)
    (store.runs / "92-not-yet").mkdir()
    (store.runs / ".DS_Store").write_bytes(b"")
    assert [run["state"] for run in status()["runs"]] == ["finished"]


def test_a_run_on_another_machine_is_known_from_prefect(store: Store) -> None:
    row = {"id": "1", "name": "corpus mine", "flow": "corpus-refresh", "deployment": "", "state": "Running"}
    prefect = {"running": [row | {"since": None, "progress": "signals: 3 of 9 shards"}], "waiting": [], "limits": []}
    found = status() | {"prefect": prefect}
    assert lines_of_runs(found, running=True) == [("corpus-refresh", "corpus mine", "-", "signals: 3 of 9 shards")]
    with opened(store) as run:
        pass
    path = store.runs / str(run.token) / "run.json"
    write_json(path, {**read_json(path), "flow_runs": ["1"]})  # ours, and it has just ended
    assert lines_of_runs(status() | {"prefect": prefect}, running=True) == []


def test_units() -> None:
    assert [duration(seconds) for seconds in (None, 4.25, 600, 9000)] == ["-", "4.2 s", "10 min", "2.5 h"]
    assert [energy(joules) for joules in (None, 7200)] == ["-", "2.0 Wh"]
    row = {"flow": "champion", "deployment": "weekly", "state": "Suspended", "why": "for a person: look", "at": 0.0}
    assert lines_of_waiting([row])[0][3].startswith("until 1970-01-01")


def test_a_run_records_its_cost_even_if_it_fails(store: Store) -> None:
    def broken() -> None:
        with opened(store):
            numbers(NumbersConfig(count=2))
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        broken()
    [directory] = store.runs.iterdir()
    record = read_json(directory / "run.json")
    assert (record["state"], record["cost"]["built"]) == ("failed", 1)
    events = list(read_notes(directory))
    assert record["started"] <= events[0]["time"] <= record["ended"]
