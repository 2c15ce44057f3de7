"""What was made from some documents: every artifact that holds them or learned from them, and which of them.

Manifests say what was made from what. Where a table says more (a document was dropped, or is held out), it is asked:
a model learned from a document only if it is in the training split and, with a mixture, was drawn. What cannot be
told (a page with excerpts, a figure over a corpus) counts as made from all that its inputs hold.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from data_quality.forgotten import Forgotten
from tasks.decide import INDEX, hash_of
from tasks.lineage.ancestors import GOES_ON_FROM, inputs_first, manifest_of
from tasks.lineage.forgotten import as_written
from tasks.running.journal import JOURNAL, read_events
from tasks.running.tables import rows
from tasks.storage.files import canonical_json, read_json
from tasks.storage.shared import SharedStore
from tasks.store import RUN_DIRECTORY, Artifact, Store

LOOKED_UP = 50  # ids that are looked up one by one; with more all are read

Ids = frozenset[str]
NONE: Ids = frozenset()

MODELS = (
    "pretrain", "ngram", "word_vectors", "finetune", "instruct", "bag_of_words", "train_classifier", "reference_model",
    "similar_words",
)  # fmt: skip
TOKENIZERS = ("train_tokenizer",)
FIGURES = (
    "evaluate", "exam", "held_out", "losses", "leaderboard", "compare", "finetune_summary", "search", "search_trial",
    "study", "predict_loss", "scaling_table", "size_and_data", "report", "profile",
)  # fmt: skip
BEFORE = (*GOES_ON_FROM, "tokenizer", "source", "target")
"""Inputs by which a training goes on from what was learned before."""


@dataclass(frozen=True)
class Derived:
    """One artifact that holds some of the documents, or learned from them."""

    artifact: Artifact
    ids: Ids
    kind: str  # "model", "tokenizer", "figures" or "data"

    def as_record(self) -> dict[str, Any]:
        """JSON-able, with the number of documents rather than their ids."""
        a = self.artifact
        return {"stage": a.stage, "key": a.key, "digest": a.digest, "kind": self.kind, "documents": len(self.ids)}


@dataclass
class Descent:
    """All manifests of a store, and the way forward through them."""

    store: Store
    manifests: dict[str, dict[str, Any]] = field(default_factory=dict)  # by key, those of parts left out
    scored: set[str] = field(default_factory=set)  # keys of models that were only asked about the documents

    def __post_init__(self) -> None:
        self.manifests = {manifest["key"]: manifest for manifest in _manifests(self.store)}
        self._by_content = {(m["stage"], m["digest"]): key for key, m in self.manifests.items()}

    def writings(self) -> list[Callable[[str], str]]:
        """How every reading of sources in the store writes ids: a document may be asked for by its source's own id."""
        readings = [manifest for manifest in self.manifests.values() if manifest["stage"] == "ingest"]
        return [as_written(manifest) for manifest in {_naming(each): each for each in readings}.values()]

    def holders(self, wanted: Forgotten) -> dict[str, Ids]:
        """The key of every reading of sources that holds some of the documents, and which, as it writes their ids;
        every id is looked at.

        Raises:
            UsageError: a name holds personal data, which was hashed with another key than that in the environment.
        """
        found: dict[str, Ids] = {}
        held: dict[str, Ids] = {}
        as_named: dict[bytes, tuple[Callable[[str], str], Forgotten]] = {}
        for key, manifest in self.manifests.items():
            if manifest["stage"] != "ingest":
                continue
            here = self._here(manifest)
            self.store.fetch_parts(Artifact("ingest", key, manifest["digest"], here))
            naming = _naming(manifest)
            if naming not in as_named:
                named = as_written(manifest)
                as_named[naming] = named, wanted.named(named)
            for part in manifest["parts"]:
                if part["key"] not in held:
                    held[part["key"]] = _present(self.store.artifacts / part["stage"] / part["key"], *as_named[naming])
            found[key] = frozenset().union(*(held[part["key"]] for part in manifest["parts"]))
        return {key: ids for key, ids in found.items() if ids}

    def decided(self, id: str) -> dict[str, Ids]:
        """As `holders` of one document, without a look at all ids: by the index of every corpus that it is in."""
        found: dict[str, Ids] = {}
        for manifest in self.manifests.values():
            decisions = self._input(manifest, "decisions") if manifest["stage"] == "filter_corpus" else None
            if decisions is None:
                continue
            before: list[str] = []
            known = [self._known(each) for each in manifest["inputs"]["corpus"]]
            while known and known[0] is not None and known[0] not in before:
                before.append(known[0])
                known = [self._known(each) for each in self.manifests[before[-1]]["inputs"].get("corpus", [])]
            read = [self.manifests[key] for key in before if self.manifests[key]["stage"] == "ingest"]
            ids = frozenset({as_written(read[0])(id) if read else id})
            if _decided(self.store, decisions, ids):
                found |= dict.fromkeys(before, ids)
        return found

    def derived(self, start: Mapping[str, Ids]) -> list[Derived]:
        """Everything that was made from what `start` (keys of artifacts, and which documents each holds) holds, itself
        included whatever its tables say: inputs before what was made of them."""
        holds: dict[str, Ids] = {}
        passed: dict[str, Ids] = {}  # what an artifact hands on to those that read it
        for key in inputs_first(self.manifests, self._inputs):
            manifest = self.manifests[key]
            given = {
                name: [passed.get(self._known(each) or "", NONE) for each in of]
                for name, of in manifest["inputs"].items()
            }
            everything = frozenset().union(*(ids for of in given.values() for ids in of))
            holds[key], passed[key] = self._seen(manifest, given, everything | start.get(key, NONE))
            if key in start:
                holds[key] |= start[key]
                self.scored.discard(key)
        return [Derived(self._artifact(key), ids, self._kind(key)) for key, ids in holds.items() if ids]

    def _kind(self, key: str) -> str:
        stage = self.manifests[key]["stage"]
        if stage in MODELS and key not in self.scored:
            return "model"
        if stage in TOKENIZERS:
            return "tokenizer"
        return "figures" if stage in FIGURES or key in self.scored else "data"

    def _seen(self, manifest: Mapping[str, Any], given: Mapping[str, list[Ids]], ids: Ids) -> tuple[Ids, Ids]:
        """What of some documents, which its inputs hold, an artifact holds, and what it hands on."""
        if not ids:
            return NONE, NONE
        stage, inputs = manifest["stage"], manifest["inputs"]
        if stage == "filter_corpus":  # it holds the dropped ones as well, and nothing reads them there
            decisions = self._input(manifest, "decisions")
            decided = dict.fromkeys(ids, True) if decisions is None else _decided(self.store, decisions, ids)
            return frozenset(decided), frozenset(id for id, kept in decided.items() if kept)
        if stage == "split":
            found = _where(self._here(manifest) / "split.parquet", ids, "true")
            return found, found
        if stage in ("mixture", "subset"):
            found = _where(self._here(manifest) / "copies.parquet", ids, "copies > 0")
            return found, found
        if ({"split", "tokens"} <= set(inputs) and stage in MODELS) or stage in TOKENIZERS:
            before = frozenset().union(*(each for name in BEFORE for each in given.get(name, [])))
            trained = _where(self._file(manifest, "split", "split.parquet"), ids, "split = 'train'")
            if inputs.get("mixture"):
                trained = _where(self._file(manifest, "mixture", "copies.parquet"), trained, "copies > 0")
            return trained | before, trained | before
        if stage == "labelled":
            found = _examples(self._here(manifest), ids, ("train", "valid", "test"))
            return found, found
        if "examples" in inputs and stage in MODELS:
            before = frozenset().union(*(each for name in BEFORE for each in given.get(name, [])))
            examples = self._input(manifest, "examples")
            if not before | _examples(examples.path if examples else None, ids, ("train",)):
                self.scored.add(manifest["key"])
        return ids, ids

    def _inputs(self, key: str) -> list[str]:
        return [k for of in self.manifests[key]["inputs"].values() for each in of if (k := self._known(each))]

    def _known(self, item: Mapping[str, str]) -> str | None:
        """The key of an input, or of another artifact of its content."""
        return item["key"] if item["key"] in self.manifests else self._by_content.get((item["stage"], item["digest"]))

    def _artifact(self, key: str) -> Artifact:
        manifest = self.manifests[key]
        return Artifact(manifest["stage"], key, manifest["digest"], self._path(manifest))

    def _path(self, manifest: Mapping[str, Any]) -> Path:
        return self.store.artifacts / manifest["stage"] / manifest["key"]

    def _here(self, manifest: Mapping[str, Any]) -> Path:
        """The folder of an artifact, fetched where only another machine has it."""
        path = self._path(manifest)
        if not path.exists():
            self.store.find(manifest["stage"], manifest["key"])
        return path

    def _input(self, manifest: Mapping[str, Any], name: str) -> Artifact | None:
        known = [key for each in manifest["inputs"].get(name, []) if (key := self._known(each))]
        return self.store.find(self.manifests[known[0]]["stage"], known[0]) if known else None

    def _file(self, manifest: Mapping[str, Any], name: str, file: str) -> Path | None:
        found = self._input(manifest, name)
        return None if found is None else found.path / file


def registered_as(store: Store, derived: Iterable[Derived]) -> dict[str, list[str]]:
    """Under which names of MLflow's registry artifacts were registered, by key: what their journals say."""
    wanted = {each.artifact.key for each in derived}
    found: dict[str, list[str]] = {}
    for journal in sorted(store.artifacts.glob(f"*/*/{RUN_DIRECTORY}/{JOURNAL}")):
        if "." in journal.parents[2].name:
            continue
        for _, event in read_events(journal):
            if event["event"] in ("model", "serve") and event["key"] in wanted:
                found.setdefault(event["key"], []).append(event["name"])
    return {key: sorted(set(names)) for key, names in found.items()}


def _manifests(store: Store) -> Iterator[dict[str, Any]]:
    """Of every artifact but parts; in a shared store also of what only other machines have."""
    names = {path.parts[-3:-1] for path in store.artifacts.glob("*/*/manifest.json")}
    if isinstance(store, SharedStore):
        names |= {(stage, key) for stage, key, _ in store.remote.published()}
    for stage, key in sorted(names):
        if "." not in stage and (manifest := manifest_of(store, stage, key)) is not None:
            yield manifest


def _naming(reading: Mapping[str, Any]) -> bytes:
    """What decides how an ingest writes names (`as_written`)."""
    return canonical_json(reading["config"].get("names"))


def _present(part: Path, named: Callable[[str], str], wanted: Forgotten) -> Ids:
    """Which of the documents, as `named`, a part of an ingest holds; of one that was collected none."""
    try:
        manifest = read_json(part / "manifest.json")
    except FileNotFoundError:
        return NONE
    shards = [str(part / shard["path"]) for shard in manifest["shards"]]
    if not shards:
        return NONE
    whole = named(manifest["config"]["source"]["name"]) in wanted.sources
    query = """
        SELECT id FROM read_parquet($shards)
        WHERE $whole OR list_contains($sources, source) OR id IN (SELECT unnest($ids))
            OR regexp_replace(id, '#[^#]*$', '') IN (SELECT unnest($ids))
    """
    asked = {"shards": shards, "whole": whole, "sources": list(wanted.sources), "ids": list(wanted.ids)}
    return frozenset(row["id"] for row in rows(query, asked))


def _where(table: Path | None, ids: Ids, condition: str) -> Ids:
    """Those with a row of which the condition is true; all where the table is gone, for then nobody knows."""
    if table is None or not table.exists():
        return ids
    query = f"SELECT id FROM read_parquet($table) SEMI JOIN (SELECT unnest($ids) AS id) USING (id) WHERE {condition}"
    return frozenset(row["id"] for row in rows(query, {"table": str(table), "ids": sorted(ids)}))


def _examples(folder: Path | None, ids: Ids, splits: Iterable[str]) -> Ids:
    """Those that an example of some splits was taken from; all where the set is gone, or does not say."""
    tables = [] if folder is None else [path for split in splits if (path := folder / f"{split}.parquet").exists()]
    if not tables or "document" not in _columns(tables[0]):
        return ids
    query = "SELECT document FROM read_parquet($tables) SEMI JOIN (SELECT unnest($ids) AS document) USING (document)"
    found = rows(query, {"tables": list(map(str, tables)), "ids": sorted(ids)})
    return frozenset(row["document"] for row in found)


def _columns(table: Path) -> list[str]:
    import pyarrow.parquet as pq

    return list(pq.read_schema(table).names)


def _decided(store: Store, decisions: Artifact, ids: Ids) -> dict[str, bool]:
    """Whether each document that was decided about is kept."""
    parts, index = decisions.manifest()["parts"], decisions.path / INDEX
    if len(ids) <= LOOKED_UP and parts and index.exists():  # a few are found in a row group each (tasks/decide.py)
        hashes = ", ".join(f"{hash_of(id)}::UBIGINT" for id in sorted(ids))
        query = f"SELECT DISTINCT shard FROM read_parquet($index) WHERE hash IN ({hashes}) ORDER BY shard"
        places = [row["shard"] for row in rows(query, {"index": str(index)})]
        found = [store.find(parts[place]["stage"], parts[place]["key"]) for place in places]
        tables = [shard.path for part in found if part is not None for shard in part.shards()]
    else:
        store.fetch_parts(decisions)
        tables = [shard.path for shard in decisions.shards()]
    if not tables:
        return {}
    query = "SELECT id, kept FROM read_parquet($tables) SEMI JOIN (SELECT unnest($ids) AS id) USING (id)"
    found_rows = rows(query, {"tables": list(map(str, tables)), "ids": sorted(ids)})
    return {row["id"]: row["kept"] for row in found_rows}
