"""Configurations by name: a table of presets, and what a user replaces in one."""

import difflib
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel

Config = TypeVar("Config", bound=BaseModel)


def from_preset(presets: Mapping[str, Config], name: str, **replaced: Any) -> Config:
    """The preset of that name with these fields replaced; `vocab=None` keeps the preset's own.

    Raises ValueError naming the nearest preset if there is none of that name.
    """
    if name not in presets:
        near = difflib.get_close_matches(name, presets, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else "."
        raise ValueError(f"unknown model preset {name!r}{hint} Presets: {', '.join(presets)}")
    if replaced.get("vocab", 0) is None:
        del replaced["vocab"]
    return type(presets[name])(**{**presets[name].model_dump(), **replaced})


def with_preset(given: Any, presets: Callable[[], Mapping[str, BaseModel]]) -> Any:
    """A config's raw values with their `preset` replaced by the fields that it stands for; values beside it win.

    What is no mapping, or names no preset, is handed back as it is. `presets` gives the table, which is made of the
    config's own class and so behind it. Raises ValueError as `from_preset`.
    """
    if not isinstance(given, dict) or not isinstance(given.get("preset"), str):
        return given  # no preset, or what the field's own type refuses
    own = {key: value for key, value in given.items() if key != "preset"}
    return {**from_preset(presets(), given["preset"]).model_dump(), **own}
