"""Processes that are asked: a JSON object a line in, another one out. What is slow to import is imported once."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]

Answer = dict[str, Any]
Ask = Callable[..., Answer]


@contextmanager
def asked(command: list[str], environment: Mapping[str, str], folder: Path | None = None) -> Iterator[Ask]:
    """ask(**request): the answer of a process that is started with the first request and ends with the block.

    An answer with `error`, or none, fails the test with what the process wrote.
    """
    with tempfile.TemporaryFile("w+") as errors:
        server: subprocess.Popen[str] | None = None

        def ask(**request: Any) -> Answer:
            nonlocal server
            if server is None:
                server = subprocess.Popen(
                    command, env=environment, cwd=folder, text=True, stdin=-1, stdout=-1, stderr=errors
                )
            assert server.stdin is not None
            assert server.stdout is not None
            print(json.dumps(request), file=server.stdin, flush=True)
            answer: Answer = json.loads(server.stdout.readline() or '{"error": "the process ended"}')
            if "error" in answer:
                errors.seek(0)
                pytest.fail(f"{answer['error']}\n{errors.read()}")
            return answer

        try:
            yield ask
        finally:
            if server is not None:
                assert server.stdin is not None
                server.stdin.close()
                server.wait()


def told(module: str, argument: str, environment: Mapping[str, str]) -> Answer:
    """The JSON object that a module ends with when it is run with this argument; its errors fail the test."""
    done = subprocess.run(
        [sys.executable, "-m", module, argument],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-5000:]
    answer: Answer = json.loads(done.stdout.splitlines()[-1])
    return answer
