"""Minimal pairs: does a model find the good sentence likelier than the bad one? (BLiMP: Warstadt et al. 2020)

A causal model (and an n-gram) decides by ln p(sentence) as the beginning of a document, summed over its tokens; a
masked model by its pseudo-log-likelihood in one of two variants (`lm.evaluate.pseudo_likelihood`). Where both
sentences are equally likely the decision is wrong; BLiMP itself has a few pairs that are twice the same sentence, which
are part of the number `equal`. The decision per byte, ln p / UTF-8 bytes, is reported beside: pairs of unlike length
differ by it.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from lm.evaluate.decisions import Figure, by_group, decisions_table, plain, share
from lm.evaluate.pseudo_likelihood import Variant
from lm.labelled.read_config import ReadConfig
from lm.labelled.records import WITH_COLUMNS, has_columns, read_records
from lm.stop import ShouldStop, never
from lm.text_model import TextModel
from lm.texts.bert import BertText

GOOD, BAD = "sentence_good", "sentence_bad"
TOGETHER = 256  # pairs that are scored at once
COLUMNS = {
    "field": pa.string(),
    "good": pa.string(),
    "bad": pa.string(),
    "good_log_prob": pa.float64(),
    "bad_log_prob": pa.float64(),
    "good_bytes": pa.int32(),
    "bad_bytes": pa.int32(),
    "per_byte": pa.float64(),  # the decision per byte
}


@dataclass(frozen=True)
class Pair:
    """Two sentences that differ in one respect; `paradigm` and `field` are BLiMP's UID and field."""

    id: str
    good: str
    bad: str
    paradigm: str
    field: str


def read_minimal_pairs(path: Path) -> list[Pair]:
    """Pairs of a file that `lm.labelled.records` reads: `.jsonl`, `.csv`, `.tsv`, `.parquet`, plain, `.gz` or `.zst`.

    Columns sentence_good and sentence_bad; UID (else the file's name) and field (else empty) where there are.
    Raises ValueError naming the line that is not so.
    """
    if not has_columns(path):
        raise ValueError(f"{path}: minimal pairs are read from files of columns: {', '.join(WITH_COLUMNS)}")
    stem = path.name.removesuffix(".gz").removesuffix(".zst").rpartition(".")[0]
    pairs = []
    numbers: Counter[str] = Counter()
    for record in read_records(path, ReadConfig()):
        row = record.values
        good, bad = row.get(GOOD), row.get(BAD)
        if not isinstance(good, str) or not isinstance(bad, str) or not good.strip() or not bad.strip():
            filled = [name for name, value in row.items() if isinstance(value, str) and value.strip()]
            raise ValueError(f"{record.where}: needs {GOOD} and {BAD}, it has {', '.join(filled) or 'neither'}")
        paradigm = str(row.get("UID") or stem)
        pairs.append(Pair(f"{paradigm}/{numbers[paradigm]}", good, bad, paradigm, str(row.get("field") or "")))
        numbers[paradigm] += 1
    if not pairs:
        raise ValueError(f"{path}: there are no pairs in it")
    return pairs


def minimal_pair_decisions(
    model: TextModel,
    pairs: Sequence[Pair],
    variant: Variant = "within_word_l2r",
    before: str = "",
    should_stop: ShouldStop = never,
) -> pa.Table:
    """A row for each pair. `variant`: how a masked model is asked; others have one way. `before`: what stands before
    each sentence, such as the space that lm-evaluation-harness puts there and scores."""
    rows: list[dict[str, Any]] = []
    for start in range(0, len(pairs), TOGETHER):
        part = pairs[start : start + TOGETHER]
        logs = _log_probs(
            model, [before + text for pair in part for text in (pair.good, pair.bad)], variant, should_stop
        )
        for pair, (good, bad) in zip(part, logs.reshape(-1, 2).tolist(), strict=True):
            sizes = len(pair.good.encode()), len(pair.bad.encode())
            rows.append(
                {
                    "id": pair.id,
                    "group": pair.paradigm,
                    "score": float(good > bad),
                    "field": pair.field,
                    "good": pair.good,
                    "bad": pair.bad,
                    "good_log_prob": good,
                    "bad_log_prob": bad,
                    "good_bytes": sizes[0],
                    "bad_bytes": sizes[1],
                    "per_byte": float(good / sizes[0] > bad / sizes[1]),
                }
            )
    return decisions_table(rows, COLUMNS)


def minimal_pair_figures(table: pa.Table) -> dict[str, Figure]:
    """accuracy over all pairs, accuracy_per_byte, accuracy/PARADIGM, field/FIELD; each with its Wilson interval.

    `mean_of_paradigms` weighs every paradigm alike, as BLiMP's overall score does.
    """
    paradigms, logs = by_group(table), [table[name].to_numpy() for name in ("good_log_prob", "bad_log_prob")]
    values = [float(each["value"] or 0.0) for each in paradigms.values()]
    return {
        "accuracy": share(table["score"].to_numpy()),
        "equal": plain(float((logs[0] == logs[1]).sum()), table.num_rows),
        "accuracy_per_byte": share(table["per_byte"].to_numpy()),
        "mean_of_paradigms": {"value": float(np.mean(values)), "low": None, "high": None, "n": len(values)},
        **{f"field/{name}": found for name, found in by_group(table, "field").items() if name},
        **{f"accuracy/{name}": found for name, found in paradigms.items()},
    }


def _log_probs(model: TextModel, texts: list[str], variant: Variant, should_stop: ShouldStop) -> np.ndarray:
    if isinstance(model, BertText):
        return np.array([each.sum() for each in model.pseudo_log_likelihood(texts, variant, should_stop)])
    return -np.array([score.nats for score in model.score(texts, should_stop)])
