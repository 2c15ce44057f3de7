"""What a model's card says of its data: sources with their licences, what was done to documents, the split."""

from collections.abc import Iterable
from typing import Any

from tasks.lineage.ancestors import ancestors, manifest_of
from tasks.profile import PROFILE
from tasks.storage.files import read_json
from tasks.store import Artifact, Store

NOT_RECORDED = "not recorded"
SHOWN = 20


def corpora(store: Store, lineage: Iterable[Artifact]) -> list[dict[str, Any]]:
    """Every corpus that a model, or one that it goes on from, was trained on, the nearest first.

    Each with `corpus`, `sources`, `steps` (what was done to documents, in order), `kept` (documents, bytes), `reasons`
    (documents dropped, by the first reason), `languages`, `by_source` and `split`; what is not in the store is empty.
    """
    lineage = list(lineage)
    found = [artifact for artifact in lineage if artifact.stage == "filter_corpus"]
    return [_corpus(store, artifact, [a for a in lineage if a.stage == "split"]) for artifact in found]


def _corpus(store: Store, kept: Artifact, splits: list[Artifact]) -> dict[str, Any]:
    before = list(ancestors(store, kept))
    figures = _profile(store, [a for a in before if a.stage == "decide"])
    counts = kept.counts()
    made_of = [s for s in splits if any(i["digest"] == kept.digest for i in s.manifest()["inputs"]["corpus"])]
    return {
        "corpus": f"{kept.stage}/{kept.key}",
        "digest": kept.digest,
        "sources": [row for a in before if a.stage == "ingest" for row in _sources(store, a)],
        "steps": _steps(before),
        "kept": {name: counts.get(name, 0) for name in ("documents", "bytes", "dropped")},
        "reasons": figures.get("reasons", {}),
        "languages": {name: row["kept"] for name, row in figures.get("languages", {}).items() if row["kept"]},
        "by_source": {name: row["kept"] for name, row in figures.get("sources", {}).items() if row["kept"]},
        "split": made_of[0].counts() | made_of[0].manifest()["config"] if made_of else {},
    }


def _sources(store: Store, ingest: Artifact) -> list[dict[str, Any]]:
    """One row for each source: name, format, where it is by its own name, files, documents, bytes of text, licence."""
    manifest = ingest.manifest()
    licenses = _licenses(store, ingest)
    found: dict[str, dict[str, Any]] = {}
    for piece, part in zip(manifest["config"]["pieces"], manifest["parts"], strict=True):
        source = piece["source"]
        row = found.setdefault(
            source["name"],
            {
                "source": source["name"],
                "format": source["format"],
                "dataset": source.get("dataset"),
                "revision": piece.get("revision"),
                "files": 0,
                "documents": 0,
                "text_bytes": 0,
                "license": licenses.get(source["name"], NOT_RECORDED),
            },
        )
        counts = (manifest_of(store, part["stage"], part["key"]) or {}).get("counts", {})
        for name in ("files", "documents", "text_bytes"):
            row[name] += counts.get(name, 0)
    return list(found.values())


def _licenses(store: Store, made: Artifact) -> dict[str, str]:
    """Licences by source, as they were last stated of this content: stating one makes a new artifact of it."""
    return dict(_same_content(store, made)[-1].manifest()["config"].get("licenses", {}))


def stated_license(store: Store, made: Artifact) -> str:
    """The licence of a labelled set or of pairs, as it was last stated of this content."""
    configs = [other.manifest()["config"] for other in _same_content(store, made)]
    stated = [config["license"] for config in configs if config.get("license")]
    return str(stated[-1]) if stated else NOT_RECORDED


def _same_content(store: Store, made: Artifact) -> list[Artifact]:
    """All artifacts of the content, the newest last."""
    same = [other for other in store.list(made.stage) if other.digest == made.digest] or [made]
    return sorted(same, key=lambda other: (other.path / "manifest.json").stat().st_mtime_ns)


def _profile(store: Store, decisions: list[Artifact]) -> dict[str, Any]:
    """The figures of the profile that was made of a corpus's decisions: it is beside the lineage, not in it."""
    contents = {artifact.digest for artifact in decisions}
    for artifact in store.list("profile"):
        inputs = artifact.manifest()["inputs"]["decisions"]
        if any(each["digest"] in contents for each in inputs):
            return dict(read_json(artifact.file(PROFILE)))
    return {}


def _steps(before: list[Artifact]) -> list[str]:
    """What was done to documents, in words, in the order of the pipeline."""
    at: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {}
    for artifact in before:
        manifest = artifact.manifest()
        at.setdefault(artifact.stage, (manifest["config"], manifest["counts"]))
    found = []
    if "ingest" in at and (skipped := at["ingest"][1].get("skipped")):
        found.append(f"{skipped:,} records or files gave no document")
    if "normalize" in at:
        found.append("text normalised (Unicode, mojibake, white space)")
    if "judge" in at:
        rulesets = at["judge"][0]["rulesets"]
        named = ", ".join(f"{each['name']} ({len(each['rules'])} rules)" for each in rulesets) or "none"
        found.append(f"rules: {named}")
    if "dedupe" in at:
        found.append(_dedupe(*at["dedupe"]))
    for stage, said in (
        ("url_dedupe", "documents of one address reduced to one"),
        ("boilerplate", "lines that many documents share removed"),
        ("substring", "long passages that stand in another document removed"),
        ("contamination", "documents that share a row of words with a benchmark removed or cut"),
        ("perplexities", "perplexity under a model of reference text measured"),
        ("classifier_scores", "likeness to reference documents measured"),
    ):
        if stage in at:
            found.append(said)
    found.append(_personal(at["pii"][0]) if "pii" in at else "personal data was not looked for")
    return found


def _dedupe(config: dict[str, Any], counts: dict[str, Any]) -> str:
    exact, near = config["exact"]["enabled"], config["near"]["enabled"]
    parts = [f"equal texts ({counts.get('exact', 0):,} documents)"] if exact else []
    if near:
        parts.append(f"near-duplicates from Jaccard {config['near']['threshold']:g} ({counts.get('near', 0):,})")
    return f"duplicates dropped: {', '.join(parts)}" if parts else "duplicates were not looked for"


def _personal(config: dict[str, Any]) -> str:
    find = config["find"]
    return f"personal data replaced (style {find['style']})"
