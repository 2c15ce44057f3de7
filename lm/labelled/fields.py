"""From a record to the fields of an example: which column, and what stands in it."""

import difflib
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from lm.labelled.read_config import ReadConfig
from lm.labelled.records import Record
from lm.labelled.streams import BadInput

_WHOLE = re.compile(r"0|[1-9][0-9]*")
_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")
_MISSING = object()


class Fields:
    """The fields of one record. Every error names the record, the field and what to do."""

    def __init__(self, record: Record, config: ReadConfig) -> None:
        self.record, self.config = record, config
        self.columns = config.fields
        if record.named:
            self.columns = {name: column for name, column in config.fields.items() if name == "id"}

    def bad(self, field: str, problem: str) -> BadInput:
        """An error that says where."""
        column = self.columns.get(field, field)
        named = ", ".join(column) if isinstance(column, tuple) else column
        return BadInput(f"{self.record.where}: {field} (column {named}): {problem}")

    def has(self, field: str) -> bool:
        """Whether the field is mapped, or there is a column of its name."""
        return field in self.columns or field in self.record.values

    def value(self, field: str) -> Any:
        """What stands in the field's column, a list for a list of columns. Raises BadInput if there is none."""
        column = self.columns.get(field, field)
        if isinstance(column, tuple):
            return [self._column(field, name) for name in column]
        return self._column(field, column)

    def _column(self, field: str, name: str) -> Any:
        values: Any = self.record.values
        found = values[name] if name in values else _step(values, name.split("."))
        if found is _MISSING:
            near = difflib.get_close_matches(name, list(map(str, values)), n=1, cutoff=0.5)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise BadInput(
                f"{self.record.where}: no column {name!r} for {field} (columns: {', '.join(map(repr, values))}){hint}"
                f" Set read.fields.{field}"
            )
        return found

    def text(self, field: str) -> str:
        """A text; several columns are joined by spaces, nothing (null) is an empty one."""
        value = self.value(field)
        if isinstance(value, list) and isinstance(self.columns.get(field), tuple):
            return " ".join(part for item in value if (part := self._text(field, item)))
        return self._text(field, value)

    def _text(self, field: str, value: Any) -> str:
        if value is None:
            return ""
        if not isinstance(value, str):
            raise self.bad(field, f"{_shown(value)} is no text")
        return value

    def texts(self, field: str) -> list[str]:
        """A list of texts."""
        value = self.value(field)
        if not isinstance(value, list | tuple):
            raise self.bad(field, f"{_shown(value)} is no list; name a list of columns or a column of lists")
        return [self._text(field, item) for item in value]

    def choice(self, field: str, value: Any, names: Sequence[str], what: str) -> int:
        """The place of a label among `names`: by `read.labels`, by name, or by number from 0.

        Where a name is itself a whole number, numbers are names: 0 of the classes 1 to 5 would else be class 1, and so
        would 1.
        """
        name = _label(value)
        if name is None:
            raise self.bad(field, f"{_shown(value)} is no label: a name, a whole number, true or false is needed")
        said = self.config.labels.get(name, name)
        if said in names:
            return list(names).index(said)
        by_place = not any(map(_WHOLE.fullmatch, names))
        if by_place and _WHOLE.fullmatch(said) and int(said) < len(names):
            return int(said)
        if said == "-1":
            raise self.bad(
                field, "label -1 means that there is none; test splits of the hub are often so: leave it out"
            )
        listed = ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
        if name in self.config.labels:
            raise self.bad(field, f"read.labels makes {said!r} of {_shown(value)}, which is no {what} ({listed})")
        number = f" and no number below {len(names)}" if by_place else ""
        raise self.bad(field, f"{_shown(value)} is no {what} ({listed}){number}; name it in read.labels")

    def number(self, field: str, low: float, high: float) -> float:
        """A finite number within bounds."""
        value = self.value(field)
        said = self.config.labels.get(str(value), value) if not isinstance(value, bool) else value
        if isinstance(said, str) and _NUMBER.fullmatch(said):
            said = float(said)
        if isinstance(said, bool) or not isinstance(said, int | float) or not math.isfinite(said):
            raise self.bad(field, f"{_shown(value)} is no number (a decimal point, no spaces)")
        if not low <= said <= high:
            raise self.bad(field, f"{said:g} is not within {low:g}..{high:g}; set ask.low and ask.high")
        return float(said)


def _label(value: Any) -> str | None:
    """A label as it is named: `true` and `false` as JSON has them, 1.0 (pandas' integers with gaps) as 1."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else None
    return str(value) if isinstance(value, str | int) else None


def _step(values: Any, path: Sequence[str]) -> Any:
    """Down a dotted name; through a list into each of its items."""
    for depth, name in enumerate(path):
        if isinstance(values, list):
            inside = [_step(item, path[depth:]) for item in values]
            return _MISSING if _MISSING in inside else inside
        if not isinstance(values, Mapping) or name not in values:
            return _MISSING
        values = values[name]
    return values


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
