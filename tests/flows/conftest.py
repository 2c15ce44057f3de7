"""The store that exams are put to models of, a home whose models are followed back to their documents, and
an empty one."""

from pathlib import Path

import pytest

from tests.flows.exam_home import make_store


@pytest.fixture(scope="module")
def exam_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose store has a small corpus and models of it (`tests.flows.exam_home.make_store`)."""
    root = tmp_path_factory.mktemp("exam")
    make_store(root)
    return root


@pytest.fixture
def here(exam_home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same, as the home in which commands run."""
    monkeypatch.setenv("TEXTMILL_HOME", str(exam_home))
    return exam_home


@pytest.fixture(scope="module")
def model_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a home of the quickstart's shape, and its documents (`tests.flows.lineage_home.built_home`)."""
    from tests.flows.lineage_home import built_home  # loads what most files here do without

    return built_home(tmp_path_factory, "models")


@pytest.fixture
def in_model_home(model_home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same, as the home in which commands run."""
    monkeypatch.setenv("TEXTMILL_HOME", str(model_home / "home"))
    return model_home


@pytest.fixture
def empty_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home that nothing was begun in; the environment names no server, no stack, no password and no GPU."""
    from flows.config import stack as stack_config
    from tasks.machine import credentials

    own = ("PREFECT_HOME", "PREFECT_API_URL", "MLFLOW_TRACKING_URI", "TEXTMILL_MANAGED", "TEXTMILL_STACK")
    passwords = ("TEXTMILL_SECRETS", "PREFECT_API_KEY", "MLFLOW_TRACKING_TOKEN", credentials.PREFECT_SERVER)
    for name in (*own, *passwords, *stack_config.VARIABLES, *credentials._NEEDED):
        monkeypatch.delenv(name, raising=False)  # what is set later the fixture of all tests puts back
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # no GPU, and torch is not asked
    monkeypatch.setenv("TEXTMILL_HOME", str(tmp_path))
    return tmp_path
