"""The store that exams are put to models of."""

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
