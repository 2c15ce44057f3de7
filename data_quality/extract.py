"""HTML to text, with the page's boilerplate (navigation, adverts, comments, footers) left out.

resiliparse does the parsing and the choice. Beside it, trafilatura finds the body of a news article more exactly, drops
more of a manual, and takes ten times as long (benchmarks/html_extraction.py).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from resiliparse.parse.html import HTMLTree

MAX_NESTING = 512  # as deep as Blink builds a page (kMaximumHTMLParserDOMTreeDepth)
# Class names that generators and themes give to nothing but navigation, beyond what resiliparse knows.
_NAVIGATION = [
    *(".navheader", ".navfooter", ".docnav", ".nav-panel", ".headerlink"),  # DocBook, Publican, Texinfo, Sphinx
    *(".breadcrumb", ".breadcrumbs", ".pagination", ".skip-link"),
]
_PAGE_PARTS = frozenset({"nav", "header", "footer", "aside", "menu"})
_NAVIGATION_DEPTH = 3  # a <ul> with fewer elements between it and <body> is navigation to resiliparse, whatever it says
_SPACE_AT_END = re.compile(r"[ \t]+$", re.MULTILINE)
_BLANK_LINES = re.compile(r"\n{3,}")


class TooComplex(ValueError):
    """A page that is nested too deeply, or would become too many elements, to be parsed."""


@dataclass(frozen=True, slots=True)
class Extracted:
    """The text of a page, paragraphs between blank lines, and its title ("" when it has none)."""

    text: str
    title: str


def extract_html(html: str, main_content: bool = True, max_nesting: int = MAX_NESTING) -> Extracted:
    """Text and title of a page.

    ``main_content=False`` keeps everything that a reader sees; so does a page without main content. Raises
    :class:`TooComplex`.
    """
    from resiliparse.extract.html2text import extract_plain_text
    from resiliparse.parse.html import HTMLTree

    from data_quality.html_limits import (
        MAX_NODES,
        MAX_WORK,
        measure_html,
    )  # compiled: not wanted by who only lists files

    html = html.replace("\0", "\ufffd")  # as the HTML standard reads it
    depth, nodes, work = measure_html(html.encode("utf-8", "replace"))
    if depth > max_nesting:
        raise TooComplex(f"elements nested {depth} deep; max_nesting is {max_nesting}")
    if nodes > MAX_NODES:
        raise TooComplex(f"would become {nodes} elements; at most {MAX_NODES} are parsed")
    if work > MAX_WORK:
        raise TooComplex(f"nesting and attributes would take {work} steps; at most {MAX_WORK} are taken")
    tree = HTMLTree.parse(html)
    if main_content:
        _keep_lists_of_text(tree)
    text = extract_plain_text(
        tree,
        preserve_formatting=True,
        main_content=main_content,
        alt_texts=False,
        skip_elements=_NAVIGATION if main_content else None,
    )
    if main_content and not text.strip():  # all of it looked like navigation
        text = extract_plain_text(tree, preserve_formatting=True, alt_texts=False)
    text = _BLANK_LINES.sub("\n\n", _SPACE_AT_END.sub("", text)).strip()
    return Extracted(text, " ".join((tree.title or "").split()))


def _keep_lists_of_text(tree: "HTMLTree") -> None:
    """Put lists that stand high in a page deeper into it, unless they are in a part of the page that names itself
    otherwise: hand-written pages have their lists right below <body> or <main>. Those that are mostly links leave the
    text at any depth."""
    if tree.body is None:
        return
    for depth, found in list(_lists(tree.body, 0)):
        around: Any = tree.create_element("div")
        found.replace_with(around)
        for _ in range(_NAVIGATION_DEPTH - depth - 1):
            around = around.append_child(tree.create_element("div"))
        around.append_child(found)


def _lists(node: Any, depth: int) -> Iterator[tuple[int, Any]]:
    """Each <ul> that is taken for navigation for its depth alone, with how many elements are above it."""
    child = node.first_element_child  # nodes of a collection would each be looked for anew
    while child is not None:
        if child.tag == "ul":
            yield depth, child
        elif depth + 1 < _NAVIGATION_DEPTH and child.tag not in _PAGE_PARTS:
            yield from _lists(child, depth + 1)
        child = child.next_element_sibling
