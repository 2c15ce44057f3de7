"""Configurations by name: a table of presets, and what a user replaces in one."""

import difflib
from collections.abc import Mapping
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
