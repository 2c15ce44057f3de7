"""Sections that name a preset: values that somebody else has published, as one word."""

from collections.abc import Collection, Mapping
from typing import Any


def with_preset(given: Any, presets: Mapping[str, Mapping[str, Any]], fields: Collection[str] | None = None) -> Any:
    """A config's raw values with its `preset` replaced by what it stands for; values given beside it win.

    Args:
        fields: those of the preset's that this config has; None: all.

    Raises:
        ValueError: no preset has that name.
    """
    if not isinstance(given, dict) or not isinstance(given.get("preset"), str):
        return given  # no preset, or what the field's own type refuses
    name = given["preset"]
    if name not in presets:
        raise ValueError(f"no preset is called {name!r}; there are: {', '.join(presets)}")
    own = {field: value for field, value in given.items() if field != "preset"}
    values = {field: value for field, value in presets[name].items() if fields is None or field in fields}
    return values | {field: _beside(values.get(field), value) for field, value in own.items()}


def _beside(preset: Any, own: Any) -> Any:
    """What a field holds: of a section both, key by key."""
    return {**preset, **own} if isinstance(preset, dict) and isinstance(own, dict) else own
