"""The champion of a registered model in MLflow: an alias, the versions that hold and challenge it, and how it moves."""

from dataclasses import dataclass
from typing import Any

from tasks.store import Artifact, Store

CONTEST = "textmill.contest"
"""Of a challenger's version: the flow run that compares it; once resumed, it goes on with the same two."""
AGAINST = "textmill.contest.champion"
OUTCOME = "textmill.contest.outcome"


class NoContest(ValueError):
    """There is nothing to compare; the message says what is missing and how to get it."""


@dataclass(frozen=True)
class Version:
    """A version of a registered model and the artifact that it refers to."""

    number: str
    artifact: Artifact


@dataclass(frozen=True)
class Pair:
    """Who is compared; without a champion the challenger takes the place that is empty."""

    champion: Version | None
    challenger: Version


def versions(
    client: Any, store: Store, model: str, champion: str, challenger: str, flow_run: str | None
) -> Pair | None:
    """The versions that two aliases mean; None if they mean the same one.

    A flow run that has begun a contest keeps its challenger, whatever was registered since.

    Raises:
        NoContest: no such model, no challenger, or a version whose artifact is not in the store.
    """
    from mlflow.exceptions import MlflowException

    try:
        aliases = client.get_registered_model(model).aliases
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        raise NoContest(f"MLflow has no registered model {model!r}: pretrain one (`textmill run`)") from error
    begun = _begun(client, model, flow_run)
    number = begun.version if begun is not None else aliases.get(challenger)
    if number is None:
        raise NoContest(f"no version of {model!r} has the alias {challenger!r}: {_listed(aliases)}")
    holder = begun.tags.get(AGAINST) if begun is not None else aliases.get(champion)
    if holder is not None and str(holder) == str(number):
        return None
    place = lambda which: Version(str(which), _artifact(client, store, model, str(which)))  # noqa: E731
    pair = Pair(place(holder) if holder else None, place(number))
    if begun is None and flow_run is not None:
        client.set_model_version_tag(model, pair.challenger.number, CONTEST, flow_run)
        _drop_tag(client, model, pair.challenger.number, OUTCOME)  # of its contest before
        if pair.champion is not None:
            client.set_model_version_tag(model, pair.challenger.number, AGAINST, pair.champion.number)
        else:
            _drop_tag(client, model, pair.challenger.number, AGAINST)
    return pair


def note_outcome(client: Any, model: str, version: str, outcome: str) -> None:
    """Say beside a challenger's version what became of it."""
    client.set_model_version_tag(model, version, OUTCOME, outcome)


def promote(client: Any, model: str, alias: str, pair: Pair) -> bool:
    """Move the alias to the challenger, unless somebody else has moved it since the two were compared.

    Returns whether it is the challenger's now.
    """
    aliases = client.get_registered_model(model).aliases
    holder = aliases.get(alias)
    expected = pair.champion.number if pair.champion else None
    if holder is not None and str(holder) == pair.challenger.number:
        return True  # a run that was killed just after it had promoted
    if (str(holder) if holder is not None else None) != expected:
        return False
    client.set_registered_model_alias(model, alias, pair.challenger.number)
    return True


def _begun(client: Any, model: str, flow_run: str | None) -> Any:
    """The version that a flow run has begun to compare."""
    if flow_run is None:
        return None
    found = client.search_model_versions(f"name = '{model}' and tags.`{CONTEST}` = '{flow_run}'")
    return found[0] if found else None


def _artifact(client: Any, store: Store, model: str, number: str) -> Artifact:
    """The artifact of a version, by the tags of the run that registered it. It is hashed before it is judged."""
    version = client.get_model_version(model, number)
    tags = client.get_run(version.run_id).data.tags if version.run_id else {}
    stage, key = tags.get("textmill.stage"), tags.get("textmill.artifact")
    found = store.find(stage, key) if stage and key else None
    if found is None or not store.verify(found):
        named = f"{stage}/{key[:12]}" if stage and key else "an artifact that its run does not name"
        raise NoContest(
            f"version {number} of {model!r} is {named}, which is not in the store {store.url or store.root}: run on "
            "the machine that trained it, share the store (TEXTMILL_STORE), or give the alias to another version"
        )
    return found


def _drop_tag(client: Any, model: str, number: str, tag: str) -> None:
    if tag in client.get_model_version(model, number).tags:
        client.delete_model_version_tag(model, number, tag)


def _listed(aliases: dict[str, Any]) -> str:
    return "it has " + (", ".join(f"{alias} (version {number})" for alias, number in aliases.items()) or "none")
