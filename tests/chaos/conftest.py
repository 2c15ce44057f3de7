"""One process that forks the attempts, and what an undisturbed run ends in."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.asked import Answer, Ask
from tests.chaos.asking import mill_in


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All tests of this folder are heavy."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker("heavy")


@pytest.fixture(scope="session")
def mill(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ask]:
    """mill(home, scope=..., ...): what `tests.chaos.mill` answers about an attempt on the same documents."""
    with mill_in(tmp_path_factory.mktemp("chaos")) as mill:
        yield mill


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
