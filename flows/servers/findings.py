"""What a check of `textmill doctor` finds."""

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "warn", "fail"]


@dataclass(frozen=True)
class Check:
    """One finding: what was looked at, how it is, and (unless it is ok) what to do."""

    name: str
    state: State
    found: str
    advice: str = ""
