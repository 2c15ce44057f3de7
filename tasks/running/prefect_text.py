"""Text for Prefect's pages, which show descriptions, Markdown artifacts and every cell of a table as Markdown.

Names of files, sources, labels and models come from documents and from whoever wrote the configuration. As Markdown
they could load a picture from somewhere (and so tell who looks), pass for a link of ours, or bring HTML along.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from tasks.running.visible import visible

_ACTIVE = re.compile(r"[<\[\]`]")
_FOREIGN_PICTURE = re.compile(r"!\[(?=[^\]]*\]\((?![\w.-]+\.svg\)))")
_TAG = re.compile(r"<(?=[A-Za-z/!?])")


def cell(value: Any) -> Any:
    """A value of a table: text shows the characters that it has and does nothing; numbers stay numbers."""
    if isinstance(value, str):
        return _ACTIVE.sub(r"\\\g<0>", visible(value).replace("\n", " "))
    if isinstance(value, Mapping):
        return {key: cell(inner) for key, inner in value.items()}
    if isinstance(value, Sequence):
        return [cell(inner) for inner in value]
    return value


def rows(table: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The rows of a table with every text in them made plain."""
    return [{name: cell(value) for name, value in row.items()} for row in table]


def page(markdown: str) -> str:
    """A page of ours: its Markdown stays, HTML becomes text and only pictures that lie beside it are shown."""
    return _FOREIGN_PICTURE.sub(r"\\!\\[", _TAG.sub(r"\\<", visible(markdown)))
