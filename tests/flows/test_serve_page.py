"""Fine-tuned models registered in MLflow and served: docs/howto/serve.md with a real server, and every form of task."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mlflow
import pytest
from mlflow import MlflowClient
from mlflow.pyfunc import scoring_server
from typer.testing import CliRunner

from flows.cli import main as cli  # noqa: F401  the commands register themselves
from flows.cli.common import app
from flows.commands.predict import predict_file
from flows.config.finetune import TuningConfig
from flows.finetune import Tuned, build_tuned
from lm.finetune.config import FinetuneConfig
from lm.finetune.train import finetune
from tasks.finetune import registered_name
from tasks.running.progress import Display
from tasks.running.run import Resources, Run, use_run
from tasks.store import Store
from tasks.tracking import shipper
from tasks.tracking.servable import LIBRARIES, servable
from tests.lm.feature_cases import feature_folder
from tests.lm.finetune_cases import backbone_folder, examples, write_set
from tests.s3 import free_port

PAGE = Path(__file__).parents[2] / "docs/howto/serve.md"
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
COMMANDS = [
    line
    for kind, block in BLOCKS
    if not kind
    for line in block.replace("\\\n", "").splitlines()
    if line.startswith(("textmill", "mlflow", "curl"))
]
QUICK: dict[str, Any] = {"epochs": 1, "batch": 8, "learning_rate": 3e-3, "evaluations": 1, "device": "cpu"}


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MlflowClient]:
    """A database in the test's folder, which is the working directory."""
    monkeypatch.chdir(tmp_path)
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    former = mlflow.get_tracking_uri(), mlflow.get_registry_uri()
    mlflow.set_tracking_uri(uri)
    mlflow.set_registry_uri(uri)
    yield MlflowClient(uri)
    mlflow.set_tracking_uri(former[0])
    mlflow.set_registry_uri(former[1])


def post(port: int, body: str) -> Any:
    """What the server answers; a refusal as its message."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/invocations", body.encode(), {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=240) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)["message"]


def wait_for(port: int, alive: Any) -> None:
    while True:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=240).close()
            return
        except OSError:
            assert alive(), "the server ended"
            time.sleep(0.1)


@contextmanager
def served(command: list[str], folder: Path) -> Iterator[None]:
    """`mlflow models serve` in a process of its own that knows nothing of this checkout."""
    scripts = Path(sys.executable).parent
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment |= {"PATH": f"{scripts}{os.pathsep}{environment['PATH']}", "OMP_NUM_THREADS": "1"}
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(
            [scripts / command[0], *command[1:]],
            cwd=folder,
            env=environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        wait_for(int(command[-1]), lambda: process.poll() is None)
        yield
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def said_by_predict(folder: Path, records: list[dict[str, Any]], at: Path) -> list[dict[str, Any]]:
    """What `textmill predict` adds to the records."""
    at.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    found = predict_file(folder, at, "cpu", quiet=True)
    return [{k: v for k, v in said.items() if k not in records[0]} for said in found]


def tuned(root: Path) -> Tuned:
    """A fine-tuning of the page's task, through the mill."""
    data = write_set(root / "data", "single", train=16, valid=8, test=0)
    task = json.loads((data / "task.json").read_text())
    (data / "task.json").write_text(json.dumps({**task, "name": "reviews"}))
    model = backbone_folder(root / "bert", "bert")
    config = {"name": "reviews", "preset": "small-bert", "settings": QUICK, "seeds": [0, 1]}
    with use_run(Run(Store(root / "store"), Resources(workers=1, threads=1), Display(quiet=True))):
        return build_tuned(TuningConfig.model_validate({**config, "data": str(data), "model": str(model)}))


@pytest.mark.server
def test_the_page_runs(
    registry: MlflowClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The best run is registered once; a real server answers what is asked on the page as `textmill predict` does."""
    monkeypatch.setenv("TEXTMILL_HOME", str(tmp_path))
    made = tuned(tmp_path)
    journal = made.summary.path / "_run"
    run, _ = shipper._ship(journal, made.summary.key, None, registry)
    (journal / shipper.CURSOR).unlink()  # as if killed before the cursor moved
    assert shipper._ship(journal, made.summary.key, None, registry)[0] == run
    [version] = registry.search_model_versions("name = 'textmill-reviews'")
    assert version.tags["textmill.key"] == made.best.key
    assert registry.get_model_version_by_alias("textmill-reviews", "best").version == version.version

    from_registry, ask, export, from_folder = COMMANDS
    assert from_registry.split()[2:4] == ["serve", "-m"]
    assert "served" in from_folder
    port = str(free_port())
    with served(shlex.split(from_registry.replace("5001", port)), tmp_path):
        body = shlex.split(ask)[-1]
        records = json.loads(body)["dataframe_records"]
        expected = said_by_predict(made.best.path, records, tmp_path / "in.jsonl")
        assert post(int(port), body) == {"predictions": expected}
        assert set(expected[0]) == {"label", "probabilities"}
        code, message = post(int(port), '{"dataframe_records": [{"txt": "a"}]}')
        assert code == 400
        assert "Model is missing inputs ['text']" in message

    done = CliRunner().invoke(app, shlex.split(export)[1:])
    assert done.exit_code == 0, done.output
    with kept_path():
        exec(next(block for kind, block in BLOCKS if kind == "python"), {})
    assert str(expected[0]["probabilities"]) in capsys.readouterr().out
    assert not list((tmp_path / "served").rglob("*.pkl"))
    held = {path.name for path in (tmp_path / "served/artifacts").iterdir()}
    assert held == {"config.json", "model.safetensors", "tokenizer.json", "spelling.json", "tokenizer_config.json"}


@contextmanager
def kept_path() -> Iterator[None]:
    """MLflow puts the code of a model that it loads in front of the import path."""
    former = list(sys.path)
    yield
    sys.path[:] = former


STRANGER = """
import importlib.abc, importlib.metadata, json, re, sys
from packaging.requirements import Requirement

def plain(name):
    return re.sub(r"[-_.]+", "-", name).lower()

needed, left = set(), [(line.strip(), ()) for line in open(f"{sys.argv[1]}/requirements.txt")]
while left:
    line, extras = left.pop()
    wanted = Requirement(line)
    if wanted.marker and not any(wanted.marker.evaluate({"extra": extra}) for extra in extras or ("",)):
        continue
    if (name := (plain(wanted.name), *sorted(wanted.extras))) not in needed:
        needed.add(name)
        left += [(more, wanted.extras) for more in importlib.metadata.requires(wanted.name) or ()]
there = {name for name, *_ in needed}
foreign = {
    top for top, of in importlib.metadata.packages_distributions().items() if not there & set(map(plain, of))
}

class Missing(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in foreign:
            raise ModuleNotFoundError(f"{name} is not among the requirements of the model", name=name)

sys.meta_path.insert(0, Missing())
import mlflow, pandas
model = mlflow.pyfunc.load_model(sys.argv[1])
import lm
assert lm.__file__.startswith(sys.argv[1]), lm.__file__
print(json.dumps([sorted(foreign), model.predict(pandas.DataFrame(json.loads(sys.argv[2])))]))
"""
"""Opens a model and asks it, in a process where its requirements, and theirs, are all that is installed."""


@pytest.mark.heavy
def test_the_requirements_are_all_that_a_model_needs(tmp_path: Path) -> None:
    """A model on word vectors, which also has a file that no other kind has: the list of its words."""
    data = write_set(tmp_path / "data", "single", train=16, valid=8, test=0)
    finetune(data, feature_folder(tmp_path / "vectors", "glove"), FinetuneConfig(**QUICK), tmp_path / "tuned")
    mlflow.pyfunc.save_model(tmp_path / "model", **servable(tmp_path / "tuned"))
    required = (tmp_path / "model/requirements.txt").read_text().splitlines()
    # a local part, such as `+cpu`, is on no registry
    assert [re.fullmatch(r"([a-z]+)==[0-9.]+", line).group(1) for line in required] == list(LIBRARIES)  # type: ignore[union-attr]
    records = [{"text": "the keel of a mast"}, {"text": "sweet"}]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", STRANGER, str(tmp_path / "model"), json.dumps(records)],
        cwd=tmp_path,
        env=environment | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    foreign, said = json.loads(done.stdout.splitlines()[-1])
    assert {"prefect", "tokenizers"} & set(foreign) == {"prefect"}
    assert said == said_by_predict(tmp_path / "tuned", records, tmp_path / "in.jsonl")


@pytest.mark.parametrize("name", ["single", "pairs", "similarity", "choice", "tagging", "questions"])
def test_every_form_is_served(name: str, tmp_path: Path) -> None:
    """Over HTTP, by the application that `mlflow models serve` starts."""
    import uvicorn

    data = write_set(tmp_path / "data", name, train=16, valid=8, test=0)
    finetune(data, backbone_folder(tmp_path / "bert", "bert"), FinetuneConfig(**QUICK), tmp_path / "tuned")
    mlflow.pyfunc.save_model(tmp_path / "model", **servable(tmp_path / "tuned"))
    shutil.rmtree(tmp_path / "bert")
    with kept_path():
        model = mlflow.pyfunc.load_model(str(tmp_path / "model"))
    wanted = {spec.name for spec in model.metadata.signature.inputs}
    records = [{k: v for k, v in row.items() if k in wanted} for row in examples(name, 5, seed=3)]
    expected = said_by_predict(tmp_path / "tuned", records, tmp_path / "in.jsonl")
    assert {spec.name for spec in model.metadata.signature.outputs} == set(expected[0])
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(scoring_server.init(model), "127.0.0.1", port, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        wait_for(port, thread.is_alive)
        assert post(port, json.dumps({"dataframe_records": records})) == {"predictions": expected}
        example = (tmp_path / "model/serving_input_example.json").read_text()
        assert len(post(port, example)["predictions"]) == 1
        if name == "tagging":
            code, message = post(port, '{"dataframe_records": [{"words": ["a"]}, {"words": []}]}')
            assert code == 400
            assert "record 1: 'words' is empty: there is nothing to tag" in message
    finally:
        server.should_exit = True
        thread.join()


def test_names_that_mlflow_does_not_allow() -> None:
    assert registered_name("local/sst-2:en") == "textmill-local-sst-2-en"


def test_only_fine_tuned_models_are_served(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not a 'finetuned' model: 'bert'; fine-tune it first"):
        servable(backbone_folder(tmp_path, "bert"))
