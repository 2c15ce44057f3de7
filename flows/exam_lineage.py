"""What a model has read, from its lineage: its own training, and those of the models that it went on from."""

from flows.config.loading import ConfigError
from tasks.exams.training import Training
from tasks.lineage.ancestors import GOES_ON_FROM, ancestors, same_content
from tasks.store import Artifact, Store


def lineage_of(store: Store, model: Artifact, exam: str) -> tuple[list[Training], tuple[str, ...]]:
    """The trainings of a model, the last first, and the ancestors whose training no lineage names.

    Raises:
        ConfigError: no training is known, or something that one was made from is no longer in the store.
    """
    read: list[Training] = []
    unknown: list[str] = []
    for artifact in ancestors(store, model, GOES_ON_FROM):
        inputs = artifact.manifest()["inputs"]
        before = [_one(store, artifact, name, model, exam) for name in GOES_ON_FROM if inputs.get(name)]
        if {"tokens", "split"} <= set(inputs):
            tokens, split = (_one(store, artifact, name, model, exam) for name in ("tokens", "split"))
            corpus = _one(store, tokens, "corpus", model, exam)
            mixture = _one(store, artifact, "mixture", model, exam) if inputs.get("mixture") else None
            counts = artifact.counts()
            read.append(Training(tokens, split, corpus, mixture, counts["tokens"] if "steps" in counts else None))
        elif not before:
            unknown.append(artifact.name)
    if not read:
        raise ConfigError(
            f"{exam}: asks about the training documents, and the lineage of {model.name} names none: it was not"
            " trained on tokens of this store"
        )
    return read, tuple(unknown)


def _one(store: Store, artifact: Artifact, name: str, model: Artifact, exam: str) -> Artifact:
    made = artifact.manifest()["inputs"].get(name, [])
    found = [same_content(store, each["stage"], each["key"], each["digest"]) for each in made]
    if not found or found[0] is None:
        raise ConfigError(f"{exam}: the {name} that {model.name} was made from are no longer in the store")
    return found[0]
