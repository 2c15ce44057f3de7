"""The artifacts that a report is made from; those of models are not there when only a corpus was cleaned."""

from collections.abc import Iterator
from dataclasses import dataclass, fields

from tasks.lineage.curated import Curated
from tasks.store import Artifact


@dataclass(frozen=True)
class Classified:
    """What fine-tuning made."""

    examples: Artifact
    pretrained: list[Artifact]
    scratch: list[Artifact]
    baseline: Artifact
    comparison: Artifact


@dataclass(frozen=True)
class Reported(Curated):
    """A corpus, and what was made of it."""

    split: Artifact | None
    tokenizer: Artifact | None
    tokens: Artifact | None
    model: Artifact | None
    evaluation: Artifact | None
    task: Classified | None

    def artifacts(self) -> list[Artifact]:
        """All of them once, in this order."""
        return list(dict.fromkeys(_each(self)))


def _each(group: Reported | Classified) -> Iterator[Artifact]:
    for field in fields(group):
        value = getattr(group, field.name)
        if isinstance(value, Classified):
            yield from _each(value)
        elif value is not None:
            yield from value if isinstance(value, list) else [value]
