"""A model's card: what it was made of and how, what it reaches and what it cost, from manifests alone.

The card is no part of the artifact's digest: it tells of seconds and of exams that were sat later. It lies in the
artifact's `_run/` as README.md and is made anew whenever it is asked for.
"""

from typing import Any

from tasks.cards.data import corpora, stated_license
from tasks.cards.figures import costs, reached
from tasks.cards.page import page
from tasks.cards.probes import probes, samples
from tasks.lineage.ancestors import GOES_ON_FROM, ancestors
from tasks.machine.licences import of_dependencies
from tasks.storage.files import read_json
from tasks.store import RUN_DIRECTORY, Artifact, Store, StoreError

CARD = "README.md"
CARDED = (
    "pretrain", "ngram", "word_vectors", "finetune", "instruct", "train_translator", "bag_of_words", "adopt_model",
)  # fmt: skip
"""Stages whose artifacts are models that people use."""
SETS = ("labelled", "labelled_set", "adopt_labelled", "pairs")
TOKENIZERS = ("train_tokenizer", "pair_tokenizer")


def card(store: Store, model: Artifact) -> str:
    """The card as markdown with YAML front matter, as the Hugging Face hub reads it.

    Raises:
        StoreError: the artifact is no model.
    """
    return page(facts(store, model))


def facts(store: Store, model: Artifact) -> dict[str, Any]:
    """Everything that the card says, JSON-able.

    Raises:
        StoreError: the artifact is no model.
    """
    if model.stage not in CARDED:
        raise StoreError(f"{model.name} is no model: cards are made of {', '.join(CARDED)}")
    lineage = list(ancestors(store, model))
    manifest = model.manifest()
    config = model.path / "config.json"
    described = read_json(config) if config.exists() else {}
    return {
        "artifact": f"{model.stage}/{model.key}",
        "stage": model.stage,
        "digest": model.digest,
        "described": described,
        "counts": manifest["counts"],
        "settings": manifest["config"],
        "libraries": manifest["libraries"],
        "environment": manifest.get("environment", {}),
        "dependencies": of_dependencies(),
        "base": [
            f"{each['stage']}/{each['key'][:12]}" for name in GOES_ON_FROM for each in manifest["inputs"].get(name, [])
        ],
        "corpora": corpora(store, lineage),
        "sets": [_set(store, each) for each in lineage if each.stage in SETS],
        "tokenizers": [_tokenizer(each) for each in lineage if each.stage in TOKENIZERS],
        "figures": reached(store, model),
        "samples": samples(model),
        "probes": probes(store, model),
        "costs": costs(lineage),
        "gone": sorted(_gone(lineage)),
    }


def write_card(store: Store, model: Artifact) -> str:
    """Make the card anew, put it into the artifact's `_run/`, and return it."""
    return put_card(model, facts(store, model))


def put_card(model: Artifact, said: dict[str, Any]) -> str:
    """The same of facts that are known."""
    text = page(said)
    folder = model.path / RUN_DIRECTORY
    folder.mkdir(exist_ok=True)
    draft = folder / f".{CARD}.tmp"
    draft.write_text(text, encoding="utf-8")
    draft.replace(folder / CARD)
    return text


def _set(store: Store, made: Artifact) -> dict[str, Any]:
    manifest = made.manifest()
    task = made.path / "task.json"
    return {
        "artifact": made.name,
        "stage": made.stage,
        "task": read_json(task) if task.exists() else {},
        "counts": {name: manifest["counts"][name] for name in ("train", "valid", "test") if name in manifest["counts"]},
        "license": stated_license(store, made),
    }


def _tokenizer(made: Artifact) -> dict[str, Any]:
    manifest = made.manifest()
    config = manifest["config"].get("train", manifest["config"])
    return {"artifact": made.name, "config": config, "counts": manifest["counts"], "libraries": manifest["libraries"]}


def _gone(lineage: list[Artifact]) -> set[str]:
    """What the lineage names and the store no longer has."""
    there = {artifact.digest for artifact in lineage}
    named = [each for artifact in lineage for of in artifact.manifest()["inputs"].values() for each in of]
    return {f"{each['stage']}/{each['key'][:12]}" for each in named if each["digest"] not in there}
