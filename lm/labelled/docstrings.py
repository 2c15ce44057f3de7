"""Docstrings as pairs: the body, and the summary line that stands above it (PEP 257). Python files are parsed, never
imported."""

import ast
import inspect
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from lm.labelled.streams import BadInput

WORDS_OF_SUMMARY = (3, 30)
WORDS_OF_BODY = 20
Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
_SENTENCE_INSIDE = re.compile(r"[.!?] +[A-Z]")
_NO_PROSE = re.compile(r"\s*(\.\. |>>>|[-=~*#|+`]{2,}|:\w+|[\w.]+\([^\n]*\)( *->[^\n]*)?\s*$)")  # also a signature
_UNDERLINED = re.compile(r"[^\n]*\n\s*[-=~*^]{3,}\s*$")


class Found(NamedTuple):
    """A docstring: where it is, and what it is made of, or why it is none of ours."""

    line: int
    name: str  # dotted, from the package on, and the line: unique
    source: str = ""
    target: str = ""
    left_out: str | None = None


def read_docstrings(path: Path) -> Iterator[Found]:
    """The docstrings of a Python file (of the module, of each class and function) in order.

    What is left out is found with its reason: `files_not_parsed` (line 1), `docstrings_without_summary` (the first
    paragraph is no single sentence of 3 to 30 words), `docstrings_without_body` (of 20 words or more),
    `summaries_in_body` (word for word: nothing would be left to find).

    Raises BadInput if there is no such file.
    """
    if not path.is_file():
        raise BadInput(f"{path}: no such file")
    module = module_name(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # invalid escapes such as "\d" are common
            tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        yield Found(1, module, left_out="files_not_parsed")
        return
    for node, name in _documented(tree, module):
        text = ast.get_docstring(node, clean=False)
        if text is not None:
            line = node.body[0].lineno
            yield _taken_apart(line, f"{name}:{line}", inspect.cleandoc(text).replace("\0", ""))


def _documented(tree: ast.Module, module: str) -> Iterator[tuple[Documented, str]]:
    stack: list[tuple[ast.AST, str]] = [(tree, module)]
    while stack:
        node, name = stack.pop()
        if isinstance(node, Documented):
            name = name if isinstance(node, ast.Module) else f"{name}.{node.name}"
            yield node, name
        below = [child for child in ast.iter_child_nodes(node) if isinstance(child, ast.stmt | ast.ExceptHandler)]
        stack += [(child, name) for child in reversed(below)]


def module_name(path: Path) -> str:
    """The dotted name of a Python file's module, from the highest folder that is a package: those below may be none."""
    top = next((folder for folder in reversed(path.parents) if (folder / "__init__.py").exists()), path.parent)
    parts = [] if top == path.parent and not (top / "__init__.py").exists() else [top.name]
    parts += [*path.parent.relative_to(top).parts, *([] if path.stem == "__init__" else [path.stem])]
    return ".".join(parts)


def _taken_apart(line: int, name: str, text: str) -> Found:
    first, _, body = text.strip().partition("\n\n")
    summary, body = " ".join(first.split()), body.strip()
    low, high = WORDS_OF_SUMMARY
    if (
        not low <= len(summary.split()) <= high
        or _SENTENCE_INSIDE.search(summary)
        or _NO_PROSE.match(first)
        or _UNDERLINED.match(first)
    ):
        return Found(line, name, left_out="docstrings_without_summary")
    if len(body.split()) < WORDS_OF_BODY:
        return Found(line, name, left_out="docstrings_without_body")
    if summary.rstrip(".").casefold() in " ".join(body.split()).casefold():
        return Found(line, name, left_out="summaries_in_body")
    return Found(line, name, body, summary)
