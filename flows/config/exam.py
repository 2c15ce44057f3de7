"""From a name or a YAML file to an exam."""

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import cast

from flows.config.loading import CONFIGS, ConfigError, parse, read
from tasks.exams.config import EXAMS as KINDS
from tasks.exams.config import AnyExam

EXAMS = CONFIGS / "exams"


def shipped_exams() -> list[str]:
    """The names of the exams that come with Textmill."""
    return sorted(path.stem for path in EXAMS.glob("*.yaml"))


def load_exam(name: str, overrides: Mapping[str, str] | None = None) -> AnyExam:
    """A shipped exam by its name, or that of a YAML file, with `--set` values.

    Raises:
        ConfigError: no such exam, or what a `flows.config.loading.Loader` refuses.
    """
    path = EXAMS / f"{name}.yaml" if name in shipped_exams() else Path(name)
    if not path.is_file():
        raise ConfigError(f"{name}: no such exam; shipped are {', '.join(shipped_exams())}, or name a YAML file")
    raw = read(path, overrides)
    kind = raw.get("kind")
    if kind not in KINDS:
        near = difflib.get_close_matches(str(kind), KINDS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(KINDS)}"
        raise ConfigError(f"{path}: kind: no exam of kind {kind!r}; {hint}")
    return cast(AnyExam, parse(raw, str(path), KINDS[kind]))
