"""How an artifact was made: every stage on the way from the sources to it, from the manifests alone."""

import importlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel, TypeAdapter, ValidationError

import tasks
from tasks.lineage.ancestors import inputs_first, same_content
from tasks.stage import STAGES, Stage, sidecar
from tasks.store import Artifact, Store, StoreError


@dataclass(frozen=True)
class Step:
    """One stage of a lineage as it once ran, and which steps its inputs came from."""

    artifact: Artifact
    inputs: dict[str, list[Artifact]]

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """The manifest of what it made."""
        return self.artifact.manifest()

    @property
    def stage(self) -> Stage:
        """The stage as it is now.

        Raises:
            StoreError: this version has none of that name.
        """
        if self.artifact.stage not in STAGES:
            import_stages()
        try:
            return STAGES[self.artifact.stage]
        except KeyError:
            raise StoreError(f"{self.artifact.name}: this version of Textmill has no stage of that name") from None

    def config(self) -> BaseModel:
        """The configuration that it was called with, where its sources lay included.

        Raises:
            StoreError: an earlier version, which did not note that, made it, or the stage takes other settings now.
        """
        asked = get_type_hints(self.stage.build)["config"]
        noted = sidecar(self.artifact).get("request")
        try:
            made: BaseModel = TypeAdapter(asked).validate_python(self.manifest["config"] if noted is None else noted)
        except ValidationError as error:
            what = error.errors()[0]
            where = ".".join(map(str, what["loc"])) or "the settings"
            raise StoreError(
                f"{self.artifact.name}: its settings are not those of this version ({where}: {what['msg']}); an earlier"
                " version made it: run its flow again"
            ) from error
        return made

    def arguments(self, made: dict[str, Artifact]) -> dict[str, Artifact | list[Artifact]]:
        """The inputs as the stage takes them, each replaced by what `made` has under its key."""
        hints = get_type_hints(self.stage.build)
        found: dict[str, Artifact | list[Artifact]] = {}
        for name, artifacts in self.inputs.items():
            now = [made[artifact.key] for artifact in artifacts]
            found[name] = now if _takes_list(hints.get(name)) or len(now) != 1 else now[0]
        return found


def recipe(store: Store, artifact: Artifact) -> list[Step]:
    """Every step that an artifact was made by, inputs before what was made of them, the artifact's own the last.

    What an input was under its own key may have been collected: another artifact of the same content stands for it.

    Raises:
        StoreError: something that it was made from is in the store under no key.
    """
    steps: dict[str, Step] = {}

    def inputs(one: Artifact) -> list[Artifact]:
        items = one.manifest()["inputs"].items()
        steps[one.key] = Step(one, {name: [_found(store, one, item) for item in of] for name, of in items})
        return [each for of in steps[one.key].inputs.values() for each in of]

    return [steps[one.key] for one in inputs_first([artifact], inputs)]


def import_stages() -> None:
    """Import every file of `tasks/` that defines a stage: one is known only then."""
    for path in sorted(Path(tasks.__file__).parent.glob("*.py")):
        if "\n@stage(" in path.read_text(encoding="utf-8"):
            importlib.import_module(f"tasks.{path.stem}")


def is_stage(name: str) -> bool:
    """Whether a name is that of a stage, whatever has been imported so far."""
    import_stages()
    return name in STAGES


def _found(store: Store, made: Artifact, item: dict[str, str]) -> Artifact:
    found = same_content(store, item["stage"], item["key"], item["digest"])
    if found is None:
        raise StoreError(
            f"{made.name} was made from {item['stage']}/{item['key'][:12]}, which was collected: run its flow again"
        )
    return found


def _takes_list(hint: Any) -> bool:
    if get_origin(hint) in (Union, UnionType):
        return any(_takes_list(each) for each in get_args(hint))
    return get_origin(hint) is list
