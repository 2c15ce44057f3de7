"""Parts of a set by hash: held-out parts that share no text with the rest, and small parts of large ones."""

import hashlib
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any

from lm.labelled.examples import Example
from lm.labelled.forms import AnyForm


def normal(text: str) -> str:
    """What two texts must share to count as equal: compatibility forms, case and white space aside."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def flat(value: Any) -> str:
    """A column of an example as one text."""
    if isinstance(value, str) or value is None:
        return value or ""
    parts = (f"{item['role']}: {item['content']}" if isinstance(item, dict) else str(item) for item in value)
    return "\n".join(parts)


def input_texts(form: AnyForm, example: Example, columns: Sequence[str] | None = None) -> tuple[str, ...]:
    """The normal form of what a model is shown, column by column; the two texts of a symmetric task in one order."""
    texts = [normal(flat(_shown(name, example))) for name in columns or form.inputs]
    return tuple(sorted(texts) if getattr(form, "symmetric", False) else texts)


def _shown(name: str, example: Example) -> Any:
    """Of a conversation, what comes before the last answer."""
    return example["messages"][:-1] if name == "messages" else example[name]


def point(text: str, salt: str) -> float:
    """A number in [0, 1) that depends on these two alone."""
    digest = hashlib.blake2b(f"{salt}\x1f{text}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def groups(examples: Sequence[Example], columns: Iterable[str]) -> list[str]:
    """For each example the name of its group: examples that share a text in any of `columns` (whatever the column) are
    of one, and so are those linked through others. Empty texts link nothing, but for that a question without a context
    stands for itself; the name is the least of a group's texts.
    """
    names = tuple(columns)
    parent: dict[str, str] = {}

    def root(text: str) -> str:
        while parent[text] != text:
            parent[text] = parent[parent[text]]
            text = parent[text]
        return text

    firsts: list[str] = []
    for example in examples:
        texts = [text for name in names if (text := normal(flat(_shown(name, example))))]
        texts = texts or [normal(example.get("question") or "") or f"\x1f{example['id']}"]
        for text in texts:
            parent.setdefault(text, text)
        for text in texts[1:]:
            low, high = sorted((root(texts[0]), root(text)))
            parent[high] = low
        firsts.append(texts[0])
    return [root(text) for text in firsts]


def cut(
    examples: Sequence[Example], columns: Sequence[str], valid: float, test: float, salt: str
) -> dict[str, list[Example]]:
    """Examples by split: a group (see `groups`) is on the side that its hash says, whatever else there is.

    The shares are those of groups, so that the parts come out at about these sizes only where groups are small.
    """
    parts: dict[str, list[Example]] = {"train": [], "valid": [], "test": []}
    for example, group in zip(examples, groups(examples, columns), strict=True):
        place = point(group, salt)
        parts["valid" if place < valid else "test" if place >= 1 - test else "train"].append(example)
    return parts


def first_by_hash(form: AnyForm, examples: Sequence[Example], count: int | None, salt: str) -> list[Example]:
    """`count` examples in the order of the hash of what they show, kept in the order of the set.

    Nested: those of a smaller count are among those of a larger one; and new examples displace only some.
    """
    if count is None or count >= len(examples):
        return list(examples)
    order = sorted(
        range(len(examples)),
        key=lambda at: (point("\x1e".join(input_texts(form, examples[at])), salt), examples[at]["id"]),
    )
    return [examples[at] for at in sorted(order[:count])]
