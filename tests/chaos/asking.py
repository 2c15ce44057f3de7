"""Asking `tests.chaos.mill`: for the tests and for benchmarks.chaos."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.asked import Answer, Ask, asked
from tests.tasks.tiny_corpus import write_documents

ROOT = Path(__file__).parents[2]
QUIET = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}


@contextmanager
def mill_in(folder: Path) -> Iterator[Ask]:
    """mill(home, scope=..., ...): what `tests.chaos.mill` answers about an attempt on the documents of `folder`."""
    documents = folder / "documents"
    write_documents(documents)
    # not as a module of its own: a spawned worker would import it again
    command = [sys.executable, "-c", "from tests.chaos.mill import main; main()"]
    with asked(command, os.environ | QUIET, ROOT) as ask:

        def attempt(home: Path, **request: Any) -> Answer:
            home.mkdir(parents=True, exist_ok=True)
            return {"home": str(home), **ask(home=str(home), documents=str(documents), **request)}

        yield attempt
