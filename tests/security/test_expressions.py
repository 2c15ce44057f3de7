"""No regular expression of ours takes for ever, whatever the text; and no pattern of a user's configuration does.

Every expression that a module compiles is run over texts made of what it looks for, repeated, and broken off: what
makes a backtracking matcher try all ways. A process whose time on the processor is bounded does it, so that a fault is
a failed test and no hang.
"""

import resource
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from data_quality.document_lists import glob
from data_quality.sources.resolve import is_selected

ROOT = Path(__file__).parents[2]
SECONDS = 120  # of the processor, for all of some two hundred expressions; they take about five

PROBE = r"""
import importlib, inspect, pkgutil, re
import data_quality, flows, lm, tasks

ALPHABET = ["a", "A", "0", " ", "\n", "\t", ".", "-", "_", "/", "@", ":", "<", "[", "{", "'", '"', "(", "=", "中", "é",
            "a ", "a.", "1,", " .", "\n ", "ab:", "a@", "--", "==", "[[", "{{", "<a ", "1 2", "&a;"]
ANYWHERE = {"search", "finditer", "findall", "sub", "subn", "split"}

def expressions():
    seen = {}
    for package in (data_quality, lm, tasks, flows):
        for found in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
            if found.name == "tasks.tracking.served_model":
                continue  # MLflow runs it as a script
            module = importlib.import_module(found.name)
            named = {name: value for name, value in vars(module).items() if isinstance(value, re.Pattern)}
            source = inspect.getsource(module) if named else ""
            for name, pattern in named.items():
                used = set(re.findall(rf"\b{name}\.(\w+)\(", source)) or {"match"}
                seen.setdefault(pattern, [f"{found.name}.{name}", set()])[1].update(used)
    return [(name, pattern, used) for pattern, (name, used) in seen.items()]

def literals(pattern):
    text = pattern.pattern if isinstance(pattern.pattern, str) else pattern.pattern.decode("latin-1")
    return list(dict.fromkeys(re.findall(r"[A-Za-z]{2,12}|[^\w\s\\]", text)))[:20]

for name, pattern, used in expressions():
    for unit in [*ALPHABET, *literals(pattern)]:
        many = unit * (SIZE // len(unit))
        for text in (many * 2, many + "\0!", "x" + many + "~"):
            text = text.encode() if isinstance(pattern.pattern, bytes) else text
            for tried in (pattern.match, *(getattr(pattern, u) for u in used & {"fullmatch"})):
                tried(text)
            if used & ANYWHERE:
                pattern.search(text)
    print(name, flush=True)
print("done")
"""
SIZE = 1_000


@pytest.mark.heavy
def test_every_expression_of_ours_comes_to_an_end() -> None:
    def bounded() -> None:
        resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))

    command = [sys.executable, "-c", f"SIZE = {SIZE}\n{PROBE}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, preexec_fn=bounded)
    names = done.stdout.splitlines()
    assert done.returncode == 0, f"the expression after {names[-1:]}: {done.stderr[-500:]}"
    assert names[-1].startswith("done")
    assert len(names) > 100


PATTERN = "*a" * 25 + "*b"


def test_patterns_of_sources_take_no_exponential_time() -> None:
    assert not is_selected("a" * 200, (PATTERN,), ())
    assert is_selected("a" * 200 + "b", (PATTERN,), ())


def test_patterns_of_document_lists_take_no_exponential_time() -> None:
    query = "SELECT ? GLOB ?"
    for text, fits in (("a" * 200, False), ("a" * 200 + "b", True)):
        assert duckdb.execute(query, [text, glob(PATTERN)]).fetchone() == (fits,)


def test_the_probe_finds_what_it_looks_for() -> None:
    """An expression of the kind that must not be here does not end within the bound that the others have."""
    script = "import re\nre.compile('(a+)+$').match('a' * 60 + 'b')\n"

    def bounded() -> None:
        resource.setrlimit(resource.RLIMIT_CPU, (1, 1))

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False, preexec_fn=bounded)
    assert done.returncode != 0
