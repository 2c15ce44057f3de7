"""No regular expression of ours takes for ever, whatever the text; and no pattern of a user's configuration does.

Every expression that a module compiles is run over texts made of what it looks for, repeated, and broken off: what
makes a backtracking matcher try all ways. A process whose time on the processor is bounded does it, so that a fault is
a failed test and no hang.
"""

import re
import resource
import subprocess
import sys
from pathlib import Path

import duckdb

from data_quality.document_lists import glob
from data_quality.sources.resolve import is_selected

ROOT = Path(__file__).parents[2]
SECONDS = 120  # of the processor, for all of some two hundred expressions; they take about five

PROBE = r"""
import importlib, pkgutil, re, string, sys
import data_quality, flows, lm, tasks

ALPHABET = ["a", "A", "0", " ", "\n", "\t", ".", "-", "_", "/", "@", ":", "<", "[", "{", "'", '"', "(", "=", "中", "é",
            "a ", "a.", "a-", "1,", " .", "\n ", "ab:", "a@", "x'", "--", "==", "[[", "{{", "<a ", "a, ", "1 2", "&a;"]

def expressions():
    seen = {}
    for package in (data_quality, lm, tasks, flows):
        for found in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
            if found.name == "tasks.served_model":
                continue  # MLflow runs it as a script
            module = importlib.import_module(found.name)
            for name, value in vars(module).items():
                if isinstance(value, re.Pattern):
                    seen[value.pattern, value.flags] = (f"{found.name}.{name}", value)
    return list(seen.values())

def literals(pattern):
    text = pattern.pattern if isinstance(pattern.pattern, str) else pattern.pattern.decode("latin-1")
    words = re.findall(r"[A-Za-z]{2,12}|[^\w\s\\]", text)
    return list(dict.fromkeys(words))[:20]

count = 0
for name, pattern in expressions():
    is_bytes = isinstance(pattern.pattern, bytes)
    for unit in [*ALPHABET, *literals(pattern)]:
        many = unit * (600 // len(unit))
        for text in (many * 2, many + "\0!", "x" + many + "~"):
            text = text.encode() if is_bytes else text
            pattern.search(text)
            pattern.match(text)
            pattern.fullmatch(text)
            count += 1
    print(name, flush=True)
print("done", count)
"""


def test_every_expression_of_ours_comes_to_an_end() -> None:
    def bounded() -> None:
        resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))

    done = subprocess.run(
        [sys.executable, "-c", PROBE], cwd=ROOT, capture_output=True, text=True, check=False, preexec_fn=bounded
    )
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
    script = PROBE.split("count = 0", maxsplit=1)[0] + "\nre.compile('(a+)+$').match('a' * 60 + 'b')\n"

    def bounded() -> None:
        resource.setrlimit(resource.RLIMIT_CPU, (1, 1))

    script = script.replace("import data_quality, flows, lm, tasks", "")
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False, preexec_fn=bounded)
    assert done.returncode != 0
    assert re.compile("x")  # and nothing else is wrong with the script
