"""Docstrings as pairs of a body and its first line."""

import ast
import random
from pathlib import Path

import pytest

from lm.labelled.docstrings import Found, read_docstrings
from lm.labelled.forms import Generation
from lm.labelled.read_config import ReadConfig
from lm.labelled.reading import read_examples, read_files
from lm.labelled.streams import BadInput

BODY = "It goes over every number once, in the order in which they were given, and stops where the limit is reached."


def module(tmp_path: Path, code: str, name: str = "numbers.py") -> Path:
    folder = tmp_path / "box" / "inner" / "deep"  # `inner` is no package, as some folders of real ones
    folder.mkdir(parents=True, exist_ok=True)
    for package in (tmp_path / "box", folder):
        (package / "__init__.py").write_text("")
    (folder / name).write_text(code, encoding="utf-8")
    return folder / name


CODE = f'''"""The numbers of this box.

{BODY}
"""
import os

class Sum:
    """Sum of\n       some numbers

    {BODY}
    """
    if os.name:
        def add(self, x):
            r"""Add one number \\d.

            {BODY}
            """
            async def inner():
                "Too short a line.\\n\\nNo body."

def twice():
    """First. Second sentence in one paragraph.

    {BODY}
    """

def signed():
    """signed(a, b=None) -> int

    {BODY}
    """

def titled():
    """Title of three
    ==============

    {BODY}
    """

def repeated():
    """Goes over every number once.

    {BODY} It goes over every number once.
    """

def plain():
    pass
'''


def test_bodies_and_first_lines_with_reasons_for_the_rest(tmp_path: Path) -> None:
    found = list(read_docstrings(module(tmp_path, CODE)))
    kept = [each for each in found if each.left_out is None]
    assert [(each.name, each.target, each.source) for each in kept] == [
        ("box.inner.deep.numbers:1", "The numbers of this box.", BODY),
        ("box.inner.deep.numbers.Sum:8", "Sum of some numbers", BODY),
        ("box.inner.deep.numbers.Sum.add:15", "Add one number \\d.", BODY),
    ]
    assert [(each.name.rpartition(".")[2], each.left_out) for each in found if each.left_out] == [
        ("inner:20", "docstrings_without_body"),
        ("twice:23", "docstrings_without_summary"),
        ("signed:29", "docstrings_without_summary"),
        ("titled:35", "docstrings_without_summary"),
        ("repeated:42", "summaries_in_body"),
    ]


def test_every_docstring_of_the_standard_library_is_found_once() -> None:
    """As `ast.walk`, another order aside, finds them."""
    paths = sorted(path for path in Path(random.__file__).parent.glob("*.py"))[::12]
    assert len(paths) > 5
    for path in paths:
        found = list(read_docstrings(path))
        wanted = [
            node.body[0].lineno
            for node in ast.walk(ast.parse(path.read_bytes()))
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
            and ast.get_docstring(node) is not None
        ]
        assert sorted(each.line for each in found) == sorted(wanted)
        assert [each.line for each in found] == sorted(each.line for each in found)
        assert len({each.name for each in found}) == len(found)


def test_a_file_that_is_no_python_is_counted_and_left_out(tmp_path: Path) -> None:
    broken = module(tmp_path, "def (:", "broken.py")
    assert list(read_docstrings(broken)) == [Found(1, "box.inner.deep.broken", left_out="files_not_parsed")]
    with pytest.raises(BadInput, match=r"nothing\.py: no such file"):
        list(read_docstrings(tmp_path / "nothing.py"))
    (tmp_path / "alone.py").write_text(f'"""The numbers of this box.\n\n{BODY}"""')
    [alone] = read_docstrings(tmp_path / "alone.py")
    assert alone.name.endswith("alone:1")


def test_they_are_examples_of_a_set_with_what_was_left_out_counted(tmp_path: Path) -> None:
    paths = [module(tmp_path, CODE), module(tmp_path, "def (:", "broken.py")]
    config = ReadConfig(fields={"id": "id"})
    read = read_examples(Generation(), read_files(paths, (), config), config, "train")
    assert read.examples[0]["id"] == "box.inner.deep.numbers:1"
    assert read.examples[1] == {"id": "box.inner.deep.numbers.Sum:8", "source": BODY, "target": "Sum of some numbers"}
    assert read.notes.counts == {
        "docstrings_without_body": 1,
        "docstrings_without_summary": 3,
        "summaries_in_body": 1,
        "files_not_parsed": 1,
    }
    assert read.notes.places["files_not_parsed"] == ["broken.py: line 1"]
