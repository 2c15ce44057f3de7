"""What every exam leaves: a table with a row for each item, and figures with intervals made of it.

The table's first columns are the same for all, so that two models can be compared item by item whatever was asked:
`id` (unique), `group` (a paradigm, a class, a section) and `score` (1: right, 0: wrong, or a share such as F1).
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lm.evaluate.bootstrap import Interval
from lm.evaluate.metrics import wilson
from lm.evaluate.student import t_quantile

DECISIONS = "decisions.parquet"
DRAWS = 1000
COMMON = pa.schema([("id", pa.string()), ("group", pa.string()), ("score", pa.float64())])

Figure = dict[str, float | int | None]
"""value, low, high (a 95 % interval; None where there is none), n."""


def decisions_table(rows: Sequence[Mapping[str, Any]], extra: Mapping[str, pa.DataType]) -> pa.Table:
    """A table of the common columns and `extra` ones, in the order of the rows. Raises ValueError for an id twice."""
    schema = pa.schema([*COMMON, *(pa.field(name, kind) for name, kind in extra.items())])
    table = pa.Table.from_pylist(list(rows), schema=schema)
    ids = table["id"].to_pylist()
    if len(set(ids)) < len(ids):
        twice = next(id for id in ids if ids.count(id) > 1)
        raise ValueError(f"two items have the id {twice!r}: each needs one of its own")
    return table


def write_decisions(table: pa.Table, folder: Path) -> None:
    """As `decisions.parquet`."""
    pq.write_table(table, folder / DECISIONS, compression="zstd")


def share(right: np.ndarray) -> Figure:
    """The share of ones among zeros and ones, with its Wilson interval. Raises ValueError if there are none."""
    return figure(wilson(int(right.sum()), len(right)), len(right))


def figure(found: Interval, n: int) -> Figure:
    """An interval as a figure."""
    return {"value": found.value, "low": found.low, "high": found.high, "n": n}


def mean(scores: np.ndarray) -> Figure:
    """The mean of scores with its interval by Student's t; of one alone nothing is known of how far it is off."""
    n = len(scores)
    if not n:
        raise ValueError("there is no item to take the mean of")
    middle = float(scores.mean())
    if n == 1:
        return plain(middle, 1)
    half = t_quantile(n - 1) * float(scores.std(ddof=1)) / n**0.5
    return {"value": middle, "low": middle - half, "high": middle + half, "n": n}


def correlation(
    of: Callable[[np.ndarray, np.ndarray], float], first: np.ndarray, second: np.ndarray, seed: int = 0
) -> Figure:
    """A correlation of two lists, `of` them, with its percentile interval by bootstrap over the pairs."""
    draw = np.random.Generator(np.random.Philox(seed))
    samples = [draw.integers(len(first), size=len(first)) for _ in range(DRAWS)]
    low, high = np.quantile([of(first[rows], second[rows]) for rows in samples], [0.025, 0.975])
    return {"value": of(first, second), "low": float(low), "high": float(high), "n": len(first)}


def plain(value: float, n: int) -> Figure:
    """A number without an interval."""
    return {"value": value, "low": None, "high": None, "n": n}


def by_group(table: pa.Table, column: str = "group") -> dict[str, Figure]:
    """The share of right items of each group, by name."""
    groups = np.array(table[column].to_pylist(), dtype=object)
    right = table["score"].to_numpy()
    return {name: share(right[groups == name]) for name in sorted(set(groups.tolist()))}
