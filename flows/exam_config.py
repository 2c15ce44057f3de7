"""From a name or a YAML file to an exam, and from its paths to files."""

import difflib
import glob
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import cast

from flows.loading import CONFIGS, ConfigError, override, parse, read
from tasks.exam_config import EXAMS as KINDS
from tasks.exam_config import AnyExam

EXAMS = CONFIGS / "exams"


def shipped_exams() -> list[str]:
    """The names of the exams that come with Textmill."""
    return sorted(path.stem for path in EXAMS.glob("*.yaml"))


def load_exam(name: str, overrides: Mapping[str, str] | None = None) -> AnyExam:
    """A shipped exam by its name, or that of a YAML file, with `--set` values.

    Raises:
        ConfigError: no such exam, or what `flows.loading.load` refuses.
    """
    path = EXAMS / f"{name}.yaml" if name in shipped_exams() else Path(name)
    if not path.is_file():
        raise ConfigError(f"{name}: no such exam; shipped are {', '.join(shipped_exams())}, or name a YAML file")
    raw = read(path)
    for key, value in (overrides or {}).items():
        override(raw, key, value)
    kind = raw.get("kind")
    if kind not in KINDS:
        near = difflib.get_close_matches(str(kind), KINDS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(KINDS)}"
        raise ConfigError(f"{path}: kind: no exam of kind {kind!r}; {hint}")
    return cast(AnyExam, parse(raw, str(path), KINDS[kind]))


def expanded(name: str) -> str:
    """A path with environment variables put in. Raises ConfigError for one that is not set."""
    whole = os.path.expandvars(name)
    if left := re.search(r"\$\{?(\w+)", whole):
        raise ConfigError(f"{name}: the environment variable {left[1]} is not set; set it, or name the file in full")
    return str(Path(whole).expanduser())


def files(names: tuple[str, ...]) -> tuple[Path, ...]:
    """The files that paths and patterns mean, those of each in order of name. Raises ConfigError for one that means
    none."""
    found: list[Path] = []
    for name in names:
        whole = expanded(name)
        matched = sorted(glob.glob(whole)) if glob.has_magic(whole) else [whole]
        here = [Path(path) for path in matched if Path(path).is_file()]
        if not here:
            raise ConfigError(f"{whole}: no such file")
        found += here
    return tuple(dict.fromkeys(found))
