"""From a YAML file and `--set KEY=VALUE` to a strict model; errors name the file, the key and the nearest valid one."""

import difflib
import glob
import os
import re
import typing
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Protocol, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from data_quality.errors import UsageError
from data_quality.plain_yaml import load_yaml
from flows.config.addresses import shown, without_user

Model = TypeVar("Model", bound=BaseModel)
Loaded = TypeVar("Loaded", bound=BaseModel, covariant=True)
DISCRIMINATORS = ("format", "kind", "form")
"""The fields by which one of several models is chosen."""

_PACKAGED = Path(__file__).parents[1] / "configs"  # in an installed wheel (pyproject.toml, sources)
CONFIGS = _PACKAGED if _PACKAGED.is_dir() else Path(__file__).parents[2] / "configs"


DOTTED = "thresholds"
"""The section whose keys have a dot: `rules.thresholds.gopher_quality.gopher_short_doc`."""


class ConfigError(UsageError):
    """A configuration that cannot be used; the message names the file, the key and the nearest valid key."""


class Loader(Protocol[Loaded]):
    """Reads one kind of configuration: a YAML file, and `--set` overrides (dotted key to YAML value).

    Raises:
        ConfigError: no such file, no YAML, an unknown key (with the nearest valid one) or an invalid value.
    """

    def __call__(self, path: Path, overrides: Mapping[str, str] | None = None) -> Loaded: ...


EXTENDS = "extends"
"""The key by which a file names another, relative to itself, whose keys it has but for those that it says itself."""


def read(path: Path, overrides: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The mapping that a YAML file holds, with what it `extends` below it, and `overrides` (dotted key to YAML value).

    A list replaces the other as a whole.

    Raises:
        ConfigError: no such file (with the shipped ones), no YAML, no mapping, files that extend each other, and as
            `override` does.
    """
    raw = _read(path)
    for key, value in (overrides or {}).items():
        override(raw, key, value)
    return raw


def _read(path: Path, extended_by: tuple[Path, ...] = ()) -> dict[str, Any]:
    if path.is_dir():
        raise ConfigError(f"{path} is a folder: name a YAML file")
    if not path.is_file():
        named = f" (extended by {extended_by[-1]})" if extended_by else ""
        raise ConfigError(f"{path}: no such file{named}; shipped configurations: {_shipped(path)}")
    if path.resolve() in extended_by:
        raise ConfigError(f"{path}: {EXTENDS} itself, by way of {extended_by[-1]}")
    try:
        raw = load_yaml(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not readable YAML: {error}") from error
    if not isinstance(raw, dict):
        raise ConfigError(f"{path} holds no mapping of keys to values")
    if EXTENDS not in raw:
        return raw
    if not isinstance(base := raw.pop(EXTENDS), str):
        raise ConfigError(f"{path}: {EXTENDS} must be the name of a file (given: {base!r})")
    return _merged(_read(path.parent / base, (*extended_by, path.resolve())), raw)


def _shipped(path: Path) -> str:
    """The shipped files that a wrong name may have meant: those of its folder, or else the first level."""
    folder = CONFIGS / path.parent.name
    folder = folder if path.parent.name and folder.is_dir() else CONFIGS
    files = [str(file) for file in sorted(folder.glob("*.yaml"))]
    others = [f"more in {inside}" for inside in sorted(folder.iterdir()) if inside.is_dir()]
    return ", ".join([*files, *others])


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    both = {
        key: _merged(below[key], value) if isinstance(value, dict) and isinstance(below.get(key), dict) else value
        for key, value in above.items()
    }
    return {**below, **both}


def load(path: Path, overrides: Mapping[str, str] | None, model: type[Model]) -> Model:
    """Read a configuration of this kind as a `Loader` does."""
    return parse(read(path, overrides), str(path), model)


def loader(model: type[Model]) -> Loader[Model]:
    """The function that reads configurations of this kind."""
    return lambda path, overrides=None: load(path, overrides, model)


def shipped(load: Loader[Model], name: str) -> Callable[[], Model]:
    """What a flow runs when nothing else is said: a file below `configs/`, read once."""
    return cache(lambda: load(CONFIGS / name))


def parse(raw: Mapping[str, Any], where: str, model: type[Model]) -> Model:
    """Validate a configuration that came from `where`. Raises ConfigError as a `Loader`."""
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        errors = error.errors(include_url=False)
        # a list whose only item is wrong is also called too short: that follows, and says nothing
        wrong = [item for item in errors if item["type"] != "too_short" or not item["input"]] or errors
        lines = [_explain(item, model) for item in wrong]
        raise ConfigError(f"{where}:\n  " + "\n  ".join(lines)) from error


def override(raw: dict[str, Any], key: str, value: str) -> None:
    """Put the YAML `value` at a dotted `key`, making sections on the way; an index steps into a list.

    What follows `thresholds` is one key: the name of a rule, which has a dot.

    Raises:
        ConfigError: no YAML, no such index, or a key below a value.
    """
    parts = key.split(".")
    if DOTTED in parts[:-1]:
        at = parts.index(DOTTED) + 1
        parts[at:] = [".".join(parts[at:])]
    *parents, last = parts
    node: Any = raw
    for name in parents:
        if isinstance(node, list):
            node = node[_index(key, name, node)]
            continue
        if node.get(name) is None:
            node[name] = {}
        node = node[name]
        if not isinstance(node, dict | list):
            raise ConfigError(f"--set {key}: {name!r} is a value, it has no keys")
    try:
        parsed = load_yaml(value)
    except yaml.YAMLError as error:
        raise ConfigError(without_user(f"--set {key}={value}: not a YAML value ({error})", "...@")) from error
    if isinstance(node, list):
        node[_index(key, last, node)] = parsed
    else:
        node[last] = parsed


def _index(key: str, name: str, items: list[Any]) -> int:
    if not name.isdigit() or int(name) >= len(items):
        raise ConfigError(f"--set {key}: {name!r} is no index of a list of {len(items)}")
    return int(name)


def _explain(item: Any, whole: type[BaseModel]) -> str:
    location, models = _located([str(part) for part in item["loc"]], whole)
    dotted = ".".join(location)
    if item["type"] == "extra_forbidden":
        valid = sorted({key for model in models for key in model.model_fields})
        near = difflib.get_close_matches(location[-1], valid, n=1, cutoff=0.5)
        hint = f"did you mean {'.'.join([*location[:-1], near[0]])!r}?" if near else f"valid: {', '.join(valid)}"
        return f"{dotted}: unknown key; {hint}"
    message = item["msg"].removeprefix("Value error, ")
    if item["type"] == "string_type" and isinstance(item["input"], bool | int | float):
        message += "; put quotes around it, since YAML takes numbers, yes, no, on, off, true and false for values"
    # a password in an address is an error, and no error may show it
    said = shown(str(item["input"]), "...@")
    given = "" if item["type"] == "missing" or not location else f" (given: {said[:80]})"
    return f"{dotted or 'the whole'}: {message}{given}"


def _located(location: list[str], whole: type[BaseModel]) -> tuple[list[str], list[type[BaseModel]]]:
    """A location as the file has it, and the models that its last key may belong to.

    Where one of several models is meant, told apart by `format`, `kind` or `form`, pydantic puts that name behind the
    key of the field or the number of the item: it chooses the model and goes.
    """
    written: list[str] = []
    models: list[type[BaseModel]] = [whole]
    for at, part in enumerate(location):
        named = [model for model in models if part in _names(model)]
        if named and (len(models) > 1 or location[at - 1].isdigit()):
            models = named
            continue
        written.append(part)
        if at < len(location) - 1:
            fields = [model.model_fields[part].annotation for model in models if part in model.model_fields]
            models = [nested for annotation in fields for nested in nested_models(annotation)] or models
    return written, models


def _names(model: type[BaseModel]) -> tuple[Any, ...]:
    """What `format`, `kind` or `form` must say for this model to be meant."""
    fields = [model.model_fields[name] for name in DISCRIMINATORS if name in model.model_fields]
    return tuple(value for field in fields for value in typing.get_args(field.annotation))


def nested_models(annotation: Any) -> list[type[BaseModel]]:
    """The models that a field's annotation mentions, those inside unions and lists included."""
    if isinstance(annotation, type):
        return [annotation] if issubclass(annotation, BaseModel) else []
    return [model for argument in typing.get_args(annotation) for model in nested_models(argument)]


def expanded(name: str) -> str:
    """A path with environment variables and `~` put in. Raises ConfigError for a variable that is not set."""
    whole = os.path.expandvars(name)
    if left := re.search(r"\$\{?(\w+)", whole):
        raise ConfigError(f"{name}: the environment variable {left[1]} is not set; set it, or name the file in full")
    return str(Path(whole).expanduser())


def files_named(names: Iterable[str]) -> tuple[Path, ...]:
    """The files that paths and patterns (`**` too) mean, in the order given, those of a pattern in order of name, none
    twice. A path without a pattern is taken as it is, whether or not there is such a file.

    Raises:
        ConfigError: a variable that is not set, a pattern that no file matches.
    """
    found: list[Path] = []
    for name in names:
        whole = expanded(name)
        if Path(whole).exists() or not glob.has_magic(whole):
            found.append(Path(whole))
            continue
        matching = sorted(path for path in map(Path, glob.glob(whole, recursive=True)) if path.is_file())
        if not matching:
            raise ConfigError(f"{name}: no file matches")
        found += matching
    return tuple(dict.fromkeys(found))
