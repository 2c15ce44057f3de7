"""One shard in, one table out: whole or not at all, and what is no documents shard is said to be none."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_quality.config import (
    BoilerplateConfig,
    LabelledConfig,
    LanguageConfig,
    NormalizeConfig,
    PiiConfig,
    SignatureConfig,
    SubstringConfig,
    UrlDedupeConfig,
)
from data_quality.dedupe.lines import line_shard
from data_quality.dedupe.signatures import signature_shard
from data_quality.dedupe.url import url_shard
from data_quality.dedupe.windows import window_shard
from data_quality.labelled import labelled_candidates
from data_quality.language import identify_shard
from data_quality.normalize import normalize_shard
from data_quality.perplexity import UnigramScorer, perplexity_shard
from data_quality.pii import pii_shard
from data_quality.shards import BATCH_ROWS, read_batches, whole_parquet

CLASSES = LabelledConfig.model_validate({"classes": [{"name": "one"}, {"name": "two"}]})
STEPS: list[tuple[Callable[..., Any], Any]] = [
    (normalize_shard, NormalizeConfig()),
    (identify_shard, LanguageConfig()),
    (pii_shard, PiiConfig()),
    (labelled_candidates, CLASSES),
    (perplexity_shard, UnigramScorer({})),
    (signature_shard, SignatureConfig()),
    (window_shard, SubstringConfig().window),
    (line_shard, BoilerplateConfig().table),
    (url_shard, UrlDedupeConfig().form),
]


@pytest.mark.parametrize(("step", "config"), STEPS, ids=[step.__name__ for step, _ in STEPS])
def test_what_lacks_a_column_is_no_documents_shard(step: Callable[..., Any], config: Any, tmp_path: Path) -> None:
    rows = {name: ["{}"] for name in ("id", "source", "language", "metadata", "text_hash")}
    pq.write_table(pa.table(rows), tmp_path / "in.parquet")
    with pytest.raises(ValueError, match=r"in\.parquet: no column text; this is not a documents shard"):
        step(tmp_path / "in.parquet", tmp_path / "out.parquet", config)
    assert [path.name for path in tmp_path.iterdir()] == ["in.parquet"]


def test_batches_have_the_columns_asked_for_and_those_that_are_there(tmp_path: Path) -> None:
    table = pa.table({"b": range(BATCH_ROWS + 1), "a": range(BATCH_ROWS + 1), "c": range(BATCH_ROWS + 1)})
    pq.write_table(table, tmp_path / "in.parquet")
    batches = list(read_batches(tmp_path / "in.parquet", ["a", "b"], optional=["d", "c"]))
    assert [batch.schema.names for batch in batches] == [["a", "b", "c"]] * 2
    assert [batch.num_rows for batch in batches] == [BATCH_ROWS, 1]


def test_a_file_that_could_not_be_finished_leaves_what_was_there(tmp_path: Path) -> None:
    def write(value: int) -> None:
        table = pa.table({"a": [value]})
        with whole_parquet(tmp_path / "out.parquet", table.schema) as writer:
            writer.write_table(table)
            assert (tmp_path / "out.parquet").exists() == (value != 1)
            if value != 1:
                raise RuntimeError("halfway")

    write(1)
    with pytest.raises(RuntimeError, match="halfway"):
        write(2)
    assert [path.name for path in tmp_path.iterdir()] == ["out.parquet"]
    assert pq.read_table(tmp_path / "out.parquet").to_pydict() == {"a": [1]}
