"""One process that forks the attempts, and what an undisturbed run ends in."""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.asked import Answer, Ask, asked
from tests.tasks.tiny_corpus import write_documents

ROOT = Path(__file__).parents[2]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All tests of this folder are heavy."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker("heavy")


QUIET = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}


@pytest.fixture(scope="session")
def mill(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Answer]]:
    """mill(home, scope=..., ...): what `tests.chaos.mill` answers about an attempt on the same documents."""
    documents = tmp_path_factory.mktemp("chaos") / "documents"
    write_documents(documents)
    # not as a module of its own: a spawned worker would import it again
    command = [sys.executable, "-c", "from tests.chaos.mill import main; main()"]
    with asked(command, os.environ | QUIET, ROOT) as ask:

        def attempt(home: Path, **request: object) -> Answer:
            home.mkdir(exist_ok=True)
            return {"home": str(home), **ask(home=str(home), documents=str(documents), **request)}

        yield attempt


@pytest.fixture(scope="session")
def undisturbed(mill: Ask, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Answer]:
    """undisturbed(scope): how a run ends that nothing happens to; asked once."""
    known: dict[str, Answer] = {}

    def ask(scope: str) -> Answer:
        if scope not in known:
            known[scope] = mill(tmp_path_factory.mktemp(f"undisturbed-{scope}"), scope=scope)
            assert known[scope].get("exit") == 0, known[scope]
        return known[scope]

    return ask
