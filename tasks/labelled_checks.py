"""The checks of a labelled set, and what is taken out of it: equal examples by `lm`, near ones by `data_quality`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from data_quality.config import SignatureConfig
from lm.config import StrictModel
from lm.labelled import checks
from lm.labelled.checks import Contradiction, Splits, Twin
from lm.labelled.cut import input_texts
from lm.labelled.examples import Example
from lm.labelled.forms import AnyForm

Choice = Literal["remove", "refuse", "report"]
HELD_OUT = ("valid", "test")


class NearConfig(SignatureConfig):
    """When two examples count as nearly equal. Short texts want short shingles and many bands."""

    enabled: bool = Field(default=True, description="Whether near-twins across splits are looked for.")
    threshold: float = Field(
        default=0.8,
        gt=0,
        le=1,
        description="Least true Jaccard similarity of the shingles of what two examples show.",
    )
    size: int = Field(default=3, ge=1, le=100, description="Units per shingle.")
    bands: int = Field(default=32, ge=1, le=1000, description="Bands of the signature.")
    rows: int = Field(default=4, ge=1, le=128, description="Minimum hashes per band.")
    numbers: Literal["zero", "keep"] = Field(
        default="keep", description="keep: examples that differ in a number differ. zero: all numbers are alike."
    )


class ChecksConfig(StrictModel):
    """What is done about what is found. `remove` takes examples out of training (and, for leaks, out of `valid` what is
    in `test`); `refuse` ends with the evidence; `report` only says so."""

    leaks: Choice = Field(
        default="remove", description="Training examples that equal a held-out one, or nearly, whatever their labels."
    )
    duplicates: Choice = Field(
        default="remove", description="Training examples that say again what an earlier one says."
    )
    contradictions: Choice = Field(
        default="report", description="Training examples that show the same and have different answers: all of them."
    )
    near: NearConfig = Field(default=NearConfig(), description="Near-twins across splits.")
    columns: tuple[str, ...] = Field(
        default=(),
        description="What of two examples is compared for near-twins; none: all that is shown (but for choices).",
    )


@dataclass
class Findings:
    """What the checks found, before anything was removed."""

    duplicates: list[Twin] = field(default_factory=list)
    leaks: list[Twin] = field(default_factory=list)
    contradictions: list[Contradiction] = field(default_factory=list)
    empty: list[tuple[str, str, str]] = field(default_factory=list)
    shared: dict[str, dict[str, int]] = field(default_factory=dict)
    balance: dict[str, dict[str, int]] = field(default_factory=dict)
    one_sided: dict[str, list[str]] = field(default_factory=dict)


class Refused(ValueError):
    """A set with findings that its config refuses; the message lists the first of them."""

    def __init__(self, message: str, findings: Findings) -> None:
        super().__init__(message)
        self.findings = findings


def find(
    form: AnyForm,
    splits: Splits,
    config: ChecksConfig,
    *,
    temp_directory: Path,
    memory_limit: str = "1GiB",
    threads: int = 1,
    should_stop: Callable[[], bool] = lambda: False,
) -> Findings:
    """Look at a set. Exact means equal in normal form (case and white space aside)."""
    found = Findings(balance=checks.balance(form, splits))
    found.one_sided = checks.one_sided(found.balance)
    for split, examples in splits.items():
        found.duplicates += checks.duplicates(form, split, examples)
        found.contradictions += checks.contradictions(form, split, examples)
        found.empty += checks.empty_fields(form, split, examples)
    held = [split for split in HELD_OUT if splits.get(split)]
    for split, others in (("train", held), ("valid", [name for name in held if name == "test"])):
        for other in others:
            if split == other or split not in splits:
                continue
            exact = checks.overlaps(form, split, splits[split], other, splits)
            found.leaks += exact
            if config.near.enabled:
                known = {twin.id for twin in exact}
                rest = [example for example in splits[split] if example["id"] not in known]
                found.leaks += _near(
                    form,
                    split,
                    rest,
                    other,
                    splits[other],
                    config,
                    temp_directory=temp_directory,
                    memory_limit=memory_limit,
                    threads=threads,
                    should_stop=should_stop,
                )
    for split in held:
        found.shared[split] = checks.shared_texts(form, splits["train"], splits[split])
    return found


def _near(
    form: AnyForm,
    split: str,
    ours: Sequence[Example],
    other: str,
    theirs: Sequence[Example],
    config: ChecksConfig,
    **options: Any,
) -> list[Twin]:
    from data_quality.dedupe.across import near_twins

    columns = config.columns or tuple(name for name in form.inputs if name != "choices")
    by_id = {example["id"]: example for example in (*ours, *theirs)}
    mine, held = ({e["id"]: "\n".join(input_texts(form, e, columns)) for e in part} for part in (ours, theirs))
    signature = SignatureConfig.model_validate(config.near.model_dump(include=set(SignatureConfig.model_fields)))
    return [
        Twin(split, name, other, twin, "near", jaccard, checks.same_answer(form, by_id[name], by_id[twin]))
        for name, twin, jaccard in near_twins(mine, held, signature, config.near.threshold, **options)
    ]


def apply(splits: Splits, found: Findings, config: ChecksConfig) -> tuple[dict[str, list[Example]], dict[str, int]]:
    """The set without what its config has removed, and how many examples each reason removed (each counted once).

    Raises Refused for findings that are refused.
    """
    train_duplicates = [twin for twin in found.duplicates if twin.split == "train"]
    train_contradictions = [group for group in found.contradictions if group.split == "train"]
    _refuse(found, config, train_duplicates, train_contradictions)
    gone: dict[tuple[str, str], str] = {}
    if config.leaks == "remove":
        gone |= {(twin.split, twin.id): "leaks" for twin in found.leaks}
    if config.contradictions == "remove":
        for group in train_contradictions:
            gone |= {("train", name): gone.get(("train", name), "contradictions") for name in group.ids}
    if config.duplicates == "remove":
        gone |= {(t.split, t.id): gone.get((t.split, t.id), "duplicates") for t in train_duplicates}
    left = {
        split: [example for example in examples if (split, example["id"]) not in gone]
        for split, examples in splits.items()
    }
    reasons = ("leaks", "duplicates", "contradictions")
    return left, {reason: sum(said == reason for said in gone.values()) for reason in reasons}


def _refuse(found: Findings, config: ChecksConfig, duplicates: list[Twin], contradictions: list[Contradiction]) -> None:
    said = []
    for name, twins in (("leaks", found.leaks), ("duplicates", duplicates)):
        if getattr(config, name) == "refuse" and twins:
            first = "; ".join(f"{t.id} is {t.other} ({t.kind}, Jaccard {t.jaccard:.2f})" for t in twins[:5])
            said.append(f"{len(twins):,} {name}: {first}")
    if config.contradictions == "refuse" and contradictions:
        first = "; ".join(
            f"{', '.join(c.ids[:3])} are {' and '.join(dict.fromkeys(c.answers))}" for c in contradictions[:5]
        )
        said.append(f"{len(contradictions):,} contradictions: {first}")
    if said:
        raise Refused(
            "the set is refused: " + "\n".join(said) + "\nMend the files, or let the findings be removed or only"
            " reported: --set checks.NAME=remove, --set checks.NAME=report",
            found,
        )


def excerpts(form: AnyForm, splits: Splits, found: Findings, shown: int) -> dict[str, Any]:
    """The first findings of each kind with the beginnings of their texts, for people and programs."""
    by_id = {(split, e["id"]): e for split, examples in splits.items() for e in examples}

    def twin(t: Twin) -> dict[str, Any]:
        return {
            "id": t.id,
            "other": t.other,
            "kind": t.kind,
            "jaccard": round(t.jaccard, 4),
            "same_answer": t.same,
            "answers": [checks.answer(form, by_id[s, n])[:80] for s, n in ((t.split, t.id), (t.other_split, t.other))],
            "texts": [checks.excerpt(form, by_id[s, n]) for s, n in ((t.split, t.id), (t.other_split, t.other))],
        }

    pairs = sorted({(t.split, t.other_split) for t in found.leaks})
    leaks = {}
    for split, other in pairs:
        twins = [t for t in found.leaks if (t.split, t.other_split) == (split, other)]
        nearest = sorted(twins, key=lambda t: (t.kind != "near", -t.jaccard, t.id))
        leaks[f"{split}-{other}"] = {
            "exact": sum(t.kind == "exact" for t in twins),
            "near": sum(t.kind == "near" for t in twins),
            "other_answer": sum(not t.same for t in twins),
            "exact_first": [twin(t) for t in twins if t.kind == "exact"][:shown],
            "near_first": [twin(t) for t in nearest if t.kind == "near"][:shown],
        }
    return {
        "duplicates": {
            split: {
                "count": sum(t.split == split for t in found.duplicates),
                "first": [twin(t) for t in found.duplicates if t.split == split][:shown],
            }
            for split in splits
        },
        "leaks": leaks,
        "contradictions": {
            split: {
                "groups": sum(c.split == split for c in found.contradictions),
                "examples": sum(len(c.ids) for c in found.contradictions if c.split == split),
                "first": [
                    {"ids": c.ids, "answers": [said[:80] for said in c.answers], "text": c.text}
                    for c in found.contradictions
                    if c.split == split
                ][:shown],
            }
            for split in splits
        },
        "empty": {
            "count": len(found.empty),
            "first": [{"split": split, "id": name, "column": column} for split, name, column in found.empty[:shown]],
        },
        "shared_texts": found.shared,
        "balance": found.balance,
        **found.one_sided,
    }
