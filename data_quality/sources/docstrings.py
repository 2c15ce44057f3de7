"""The docstrings of a Python file, without importing and mostly without parsing it.

`ast` builds an object for every expression of a file in order to show us a few strings: 3 MB/s. Docstrings can only
stand at the start of the file or after the header of a `def` or `class`, so it is enough to tell code from strings and
comments, which one regular expression does. Whatever that leaves in doubt goes to `ast`.
"""

import ast
import inspect
import re
import warnings
from collections.abc import Iterator

# A string from its first quote on. A prefix does not matter here: in a raw string, too, a backslash keeps the quote
# after it from ending the string.
_QUOTED = (
    r"""\"\"\"[^"\\]*(?:(?:\\.|"(?!""))[^"\\]*)*\"\"\"|'''[^'\\]*(?:(?:\\.|'(?!''))[^'\\]*)*'''"""
    r"""|"(?!"")[^"\\\n]*(?:\\.[^"\\\n]*)*"|'(?!'')[^'\\\n]*(?:\\.[^'\\\n]*)*'"""
)
# Every alternative begins with one of four characters, so that the engine jumps from one of these to the next.
_TOKEN = re.compile(
    rf"""(?P<header>\n[ \t\f]*(?:async[ \t]+)?(?:def|class)[ \t]+\w+)|\#[^\n]*|{_QUOTED}|(?P<open>["'])""", re.DOTALL
)
# Inside a header: brackets, and the colon that ends it.
_HEADER_TOKEN = re.compile(rf"""(?P<mark>[()\[\]{{}}:])|\#[^\n]*|{_QUOTED}|(?P<open>["'])""", re.DOTALL)
# From the colon (or the start of the file) to the first thing that is neither blank nor comment.
_GAP = re.compile(r"(?:[ \t\f\n]++|#[^\n]*+|\\\n)*+")
_LITERAL = re.compile(rf"(?P<prefix>[rRbBuUfF]{{0,2}})(?P<quoted>{_QUOTED})", re.DOTALL)
_STATEMENT_END = re.compile(r"[ \t\f]*(?:[;\n#]|\Z)")
_DOUBT = re.compile(r"""[ \t\f]*(?:["'\\]|[rRbBuUfF]{1,2}["'])""")


class _InDoubt(Exception):
    """The scanner cannot decide; `ast` must."""


def docstrings(code: str) -> list[str]:
    """The docstrings of the module and of every class and function, in order of appearance, cleaned of indentation
    (`inspect.cleandoc`) and without empty ones.

    Raises SyntaxError, ValueError, RecursionError or MemoryError where the code can neither be scanned nor parsed.
    Broken code in function bodies goes unnoticed.
    """
    code = "\n" + code.replace("\r\n", "\n").replace("\r", "\n")  # a header token begins with the line feed before it
    try:
        found = list(_scan(code))
    except _InDoubt:
        found = docstrings_by_ast(code)
    return [text for text in map(inspect.cleandoc, found) if text.strip()]


def _scan(code: str) -> Iterator[str]:
    position = 0
    text = _literal_at(code, 0)
    if text is not None:
        yield text
    while match := _TOKEN.search(code, position):
        position = match.end()
        if match["open"]:
            raise _InDoubt
        if match["header"]:
            position = _header_end(code, position)
            text = _literal_at(code, position)
            if text is not None:
                yield text


def _header_end(code: str, position: int) -> int:
    depth = 0
    while match := _HEADER_TOKEN.search(code, position):
        position = match.end()
        mark = match["mark"]
        if match["open"]:
            raise _InDoubt
        if mark is None:
            continue
        if mark == ":":
            if depth == 0:
                return position
        else:
            depth += 1 if mark in "([{" else -1
    raise _InDoubt


def _literal_at(code: str, position: int) -> str | None:
    """The value of the string that is the whole statement at ``position``; None if another statement stands there."""
    gap = _GAP.match(code, position)
    assert gap is not None
    position = gap.end()
    if code[position : position + 1] == "(":
        inner = _GAP.match(code, position + 1)
        assert inner is not None
        if _DOUBT.match(code, inner.end()) or code[inner.end() : inner.end() + 1] == "(":
            raise _InDoubt  # ("a docstring in parentheses")
        return None
    match = _LITERAL.match(code, position)
    if match is None:
        return None
    if not _STATEMENT_END.match(code, match.end()):
        if _DOUBT.match(code, match.end()):
            raise _InDoubt  # "implicit " "concatenation"
        return None
    prefix, quoted = match["prefix"].lower(), match["quoted"]
    if "b" in prefix or "f" in prefix:
        return None
    if "r" not in prefix and "\\" in quoted:
        return _evaluate(quoted)
    width = 3 if quoted.startswith(('"""', "'''")) else 1
    return quoted[width:-width]


def _evaluate(literal: str) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # invalid escapes such as "\d" are common and mean what they say
        value = ast.literal_eval(literal)
    assert isinstance(value, str)
    return value


def docstrings_by_ast(code: str) -> list[str]:
    """The same docstrings, not yet cleaned, by parsing: the slow way, and the definition of the fast one."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tree = ast.parse(code)
    found: list[str] = []
    stack: list[ast.AST] = [tree]
    while stack:
        node = stack.pop()
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node, clean=False)
            if text is not None:
                found.append(text)
        stack.extend(
            child
            for child in reversed(list(ast.iter_child_nodes(node)))
            if isinstance(child, ast.stmt | ast.ExceptHandler | ast.match_case)
        )
    return found
