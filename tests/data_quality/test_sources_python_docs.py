import os
import sysconfig
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data_quality.config import PythonDocsSource
from data_quality.sources import python_docs
from data_quality.sources.base import BadInput, FileRef, SourceNotFound
from data_quality.sources.docstrings import docstrings, docstrings_by_ast
from tests.data_quality.ingesting import ingest, write
from tests.data_quality.test_sources_streams import ref

MODULE = b'''#!/usr/bin/env python
"""Module."""
import os

class A(dict):  # "not this"
    \'\'\'Class
        indented.
    \'\'\'

    def method(self, x="def no():", *, y: "int" = {1: 2}[1]) -> "str":
        # a comment first

        r"""Method \\d."""
        return f"""not this {x}"""

    async def other(self): "One line."

    def none(self):
        "a" + "b"

if os:
    def inner(a,
              b=lambda: 0):
        "Escapes: \\u4e2d\\x21"
        def nested():
            u"""Nested."""
'''


@pytest.fixture
def site(tmp_path):
    """A site-packages folder with one distribution, `my-dist` 1.2, that holds the package `mine` and a module."""
    root = tmp_path / "site"
    write(root / "mine/__init__.py", MODULE)
    write(root / "mine/sub/empty.py", b"x = 1\n")
    write(root / "mine/tests/test_a.py", b'"""A test."""\n')
    write(root / "alone.py", b'"""A module alone."""')
    write(root / "my_dist-1.2.dist-info/METADATA", b"Metadata-Version: 2.1\nName: my-dist\nVersion: 1.2\n")
    write(root / "my_dist-1.2.dist-info/RECORD", b"mine/__init__.py,,\nalone.py,,\nmy_dist-1.2.dist-info/METADATA,,\n")
    return root


def source(site, packages, **options):
    return {"format": "python_docs", "packages": packages, "search_path": [str(site)], **options}


def test_one_document_per_file_with_package_version_and_order(tmp_path, site):
    out = ingest(tmp_path, source(site, ["mine"]))
    (document,) = out.documents.values()
    assert document.id == "python-docs:mine/__init__.py"
    assert document.source == "mine"
    assert document.metadata == {"package": "mine", "version": "1.2", "file": "mine/__init__.py"}
    assert document.text.split("\n\n") == [
        "Module.",
        "Class\nindented.",
        "Method \\d.",
        "One line.",
        "Escapes: 中!",
        "Nested.",
    ]
    assert [(row["file"], row["reason"]) for row in out.skipped] == [("mine/sub/empty.py", "no_docstring")]


@pytest.mark.parametrize("packages", ["all installed", ["my-dist"], ["My_Dist"], ["mine", "alone"]])
def test_packages_by_import_name_distribution_name_or_all(tmp_path, site, packages):
    out = ingest(tmp_path, source(site, packages))
    assert list(out.documents) == ["python-docs:alone.py", "python-docs:mine/__init__.py"]


def test_test_folders_are_left_out_unless_asked_for(tmp_path, site):
    out = ingest(tmp_path, source(site, ["mine"], exclude=[]))
    assert "python-docs:mine/tests/test_a.py" in out.documents


def test_a_package_that_is_not_installed(tmp_path, site):
    with pytest.raises(SourceNotFound, match=r"'my-dits' is not installed; did you mean my-dist\?"):
        ingest(tmp_path, source(site, ["my-dits"]))


def test_minimum_characters(tmp_path, site):
    out = ingest(tmp_path, source(site, ["alone"], minimum_characters=15))
    assert out.texts == ["A module alone."]
    out = ingest(tmp_path, source(site, ["alone"], minimum_characters=16, on_bad_input="error"))
    assert (out.texts, out.reasons) == ([], ["too_short"])


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b'"""Fine."""\ndef f(:\n    """x', "syntax_error"),
        (b'def f(x):\n    "\\N{NO SUCH NAME}"\n', "syntax_error"),
        (b'"""Fine."""\n\0', "null_bytes"),
        (b'"""\xff"""\n', "bad_encoding"),
        (b'# coding: no-such\n"""x"""\n', "syntax_error"),
        (b'"""' + b"x" * 2000 + b'"""\n', "too_long"),
    ],
)
def test_files_that_cannot_be_read(tmp_path, site, data, reason):
    write(site / "mine/bad.py", data)
    options = source(site, ["mine"], max_record_bytes=1500)
    out = ingest(tmp_path, options)
    assert len(out.texts) == 1
    assert {row["file"]: row["reason"] for row in out.skipped}["mine/bad.py"] == reason
    with pytest.raises(BadInput, match=rf"^mine/bad\.py.*: {reason}: "):
        ingest(tmp_path, {**options, "on_bad_input": "error"})


def test_declared_encoding_byte_order_mark_and_null_escapes(tmp_path, site):
    write(site / "mine/latin.py", '# -*- coding: latin-1 -*-\n"""Café."""\n'.encode("latin-1"))
    write(site / "mine/bom.py", '"""BOM é."""\n'.encode("utf-8-sig"))
    write(site / "mine/null.py", b'"""a\\0b"""\n')
    texts = {d.id.rpartition("/")[2]: d.text for d in ingest(tmp_path, source(site, ["mine"])).documents.values()}
    assert (texts["latin.py"], texts["bom.py"], texts["null.py"]) == ("Café.", "BOM é.", "ab")


def by_ast(code):
    import inspect

    return [text for text in map(inspect.cleandoc, docstrings_by_ast(code)) if text.strip()]


PIECES = st.sampled_from(
    [
        *(
            '"',
            "'",
            '"""',
            "'''",
            "\\",
            "\n",
            "\n    ",
            "\n        ",
            "#",
            ":",
            "(",
            ")",
            "[",
            "]",
            ",",
            ";",
            " ",
            "\r\n",
        ),
        *(
            "def f",
            "class A",
            "async def g",
            "()",
            "():",
            "pass",
            "x",
            "= 1",
            "f",
            "r",
            "b",
            "rb",
            "\t",
            "lambda: ",
            "->",
        ),
        *('"doc"', "'''doc'''", '"""d\n  oc"""', "if x:", "else:", "é", "\\\n", "\f", "("),
    ]
)


@settings(max_examples=400, deadline=None)
@given(st.lists(PIECES, max_size=25).map("".join))
def test_scanning_equals_parsing_wherever_python_can_parse(code):
    try:
        expected = by_ast(code)
    except (SyntaxError, ValueError):
        return
    assert docstrings(code) == expected


BLOCKS = st.sampled_from(
    [
        'def f(a="x:", b=(1, [2])):\n    """doc"""\n',
        "class A(B[1:2], metaclass=M):\n    'doc' # c\n    x = '''\ndef no():\n    \"no\"\n'''\n",
        'def f(): "doc"; pass\n',
        'def f(\n  a, # ")"\n):\n\n    # c\n    (\n"doc")\n',
        'def f():\n    "a" "b"\n',
        'def f():\n    "a".upper()\n',
        'def f():\n    b"a"\n',
        'x = {"a": lambda: 0}\n',
        'class A:\n    def g(self) -> "x: y":\n        R"""d\\"oc"""\n',
        "'\\''; y = \"#\"\n",
        'def f() -> {1: "a"}[1]:\n    """a\\\nb"""\n',
        'def f():\n    "a" \\\n    "b"\n',
        'if x:\n  class A: """d"""\n',
    ]
)


@settings(max_examples=300, deadline=None)
@given(st.lists(BLOCKS, max_size=6).map("".join))
def test_scanning_equals_parsing_on_valid_code(code):
    assert docstrings(code) == by_ast(code)


def test_scanning_equals_parsing_on_the_standard_library():
    folder = Path(sysconfig.get_path("stdlib"))
    checked = 0
    for path in sorted(folder.glob("*.py"))[::8] + sorted(folder.glob("asyncio/*.py")):
        code = path.read_text(encoding="utf-8")
        assert docstrings(code) == by_ast(code), path
        checked += 1
    assert checked > 30


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.binary(max_size=200) | st.text().map(str.encode))
def test_any_bytes_are_read_or_refused(tmp_path, data):
    path = tmp_path / "a.py"
    path.write_bytes(data)
    reference = ref(path).model_copy(update={"extra": {"package": "a", "version": "1"}})
    assert isinstance(reference, FileRef)
    (item,) = python_docs.read(reference, PythonDocsSource(format="python_docs", packages=("a",)))
    assert item is not None


def test_nothing_is_imported(tmp_path, site):
    write(site / "mine/boom.py", b'"""Documentation."""\nimport os\nos.environ["TEXTMILL_IMPORTED"] = "yes"\n')
    out = ingest(tmp_path, source(site, ["mine"]))
    assert "python-docs:mine/boom.py" in out.documents
    assert "TEXTMILL_IMPORTED" not in os.environ
