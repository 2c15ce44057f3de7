"""Perplexity: the unigram scorer against arithmetic, buckets against a sort in Python, any shards."""

import math
import random
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data_quality.config import PerplexityConfig
from data_quality.documents import SCHEMA
from data_quality.perplexity import (
    PERPLEXITY_SCHEMA,
    UnigramScorer,
    count_words,
    load_counts,
    perplexity_buckets,
    perplexity_shard,
    save_counts,
)
from data_quality.words import split_words


def test_a_unigram_scorer_is_arithmetic() -> None:
    scorer = UnigramScorer(count_words([("a a b", "en"), ("我我你", "zh")]))
    # p(a) = 3/6, p(b) = 2/6, unseen 1/6
    assert scorer("a", "en") == pytest.approx(2.0)
    assert scorer("a b z", "en") == pytest.approx(math.exp(-(math.log(3 / 6) + math.log(2 / 6) + math.log(1 / 6)) / 3))
    assert scorer("我", "zh") == pytest.approx(2.0)


def test_an_unknown_language_and_an_empty_text_have_no_perplexity() -> None:
    scorer = UnigramScorer({"en": Counter({"a": 1})})
    assert scorer("a", "fr") is None
    assert scorer(" \n", "en") is None


LANGUAGES = st.sampled_from([None, "en", "zh", "yue", "ja", "ko", "th", "xx"])
ANY_TEXT = st.text(max_size=60) | st.text("ab .,\n我是한국かナ\u0301\u200d", max_size=60)
DOCUMENTS = st.lists(st.tuples(ANY_TEXT, LANGUAGES), max_size=6)


@settings(max_examples=100, deadline=None)
@given(known=DOCUMENTS, text=ANY_TEXT, language=LANGUAGES)
def test_any_text_has_the_perplexity_of_its_words_or_none(
    known: list[tuple[str, str | None]], text: str, language: str | None
) -> None:
    counts = count_words(known)
    words = split_words(text, language)
    score = UnigramScorer(counts)(text, language)
    if not words or language not in counts:
        assert score is None
        return
    kinds = counts[language]
    total = kinds.total() + len(kinds) + 1
    bits = sum(math.log2(total) - math.log2(kinds[word] + 1) for word in words)
    assert score == pytest.approx(2 ** (bits / len(words)), rel=1e-9)
    assert 1 - 1e-9 <= score <= total * (1 + 1e-9)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(known=DOCUMENTS, documents=st.lists(st.tuples(ANY_TEXT, LANGUAGES), min_size=1, max_size=6))
def test_a_shard_of_any_texts_is_scored_with_stored_counts(
    tmp_path: Path, known: list[tuple[str, str | None]], documents: list[tuple[str, str | None]]
) -> None:
    counts = count_words(known)
    save_counts(counts, tmp_path / "counts.parquet")
    stored = load_counts(tmp_path / "counts.parquet")
    assert stored == {language: words for language, words in counts.items() if words}
    size = len(documents)
    columns = [list(map(str, range(size))), [d[0] for d in documents], ["s"] * size, [d[1] for d in documents]]
    table = dict(zip(SCHEMA.names, [*columns, ["{}"] * size, ["h"] * size], strict=True))
    pq.write_table(pa.table(table, schema=SCHEMA), tmp_path / "in.parquet")
    scorer = UnigramScorer(stored)
    scores = [scorer(*document) for document in documents]
    assert perplexity_shard(tmp_path / "in.parquet", tmp_path / "out.parquet", scorer) == {
        "documents": size,
        "scored": sum(score is not None for score in scores),
    }
    assert pq.read_table(tmp_path / "out.parquet")["perplexity"].to_pylist() == scores


def test_familiar_text_is_less_surprising() -> None:
    scorer = UnigramScorer(count_words([("the cat sat on the mat and the dog lay by the door", "en")]))
    familiar, strange = scorer("the dog sat on the mat", "en"), scorer("colourless green ideas sleep", "en")
    assert familiar is not None
    assert strange is not None
    assert familiar < strange


def test_a_shard_is_scored_in_its_order(tmp_path: Path) -> None:
    rows = [("b", "a a", "en"), ("a", "", "en"), ("c", "a", None)]
    columns = [[r[0] for r in rows], [r[1] for r in rows], ["s"] * 3, [r[2] for r in rows], ["{}"] * 3, ["h"] * 3]
    pq.write_table(pa.table(dict(zip(SCHEMA.names, columns, strict=True)), schema=SCHEMA), tmp_path / "in.parquet")
    counts = perplexity_shard(
        tmp_path / "in.parquet", tmp_path / "out.parquet", UnigramScorer({"en": Counter({"a": 1})})
    )
    table = pq.read_table(tmp_path / "out.parquet").to_pydict()
    assert counts == {"documents": 3, "scored": 1}
    assert table["id"] == ["b", "a", "c"]
    assert table["perplexity"] == [pytest.approx(1.5), None, None]


def buckets(rows: list[tuple[str, str | None, float | None]], directory: Path, shards: int, config: PerplexityConfig):
    paths = []
    for number in range(shards):
        part = rows[number::shards]
        table = pa.table(
            {name: [row[at] for row in part] for at, name in enumerate(PERPLEXITY_SCHEMA.names)}, PERPLEXITY_SCHEMA
        )
        paths.append(directory / f"{shards}-{number}.parquet")
        pq.write_table(table, paths[-1])
    out = [directory / f"{shards}-{number}-buckets.parquet" for number in range(shards)]
    counts = perplexity_buckets(paths, out, config, threads=2)
    for path, table in zip(paths, out, strict=True):  # each cut and ordered as its scores
        assert pq.read_table(table)["id"].equals(pq.read_table(path)["id"])
    return counts, pa.concat_tables(map(pq.read_table, out)).sort_by("id")


def test_buckets_are_those_of_a_sort(tmp_path: Path) -> None:
    draw = random.Random(3)
    rows = [
        (f"d{n:04d}", draw.choice(["en", "zh"]), draw.choice([1.0, 2.5, *(draw.uniform(1, 900) for _ in range(9))]))
        for n in range(400)
    ]
    rows += [("none", "en", None), ("rare", "fr", 5.0), ("unknown", None, 7.0)]
    config = PerplexityConfig(head=30, middle=60)
    counts, out = buckets(rows, tmp_path, 1, config)
    found = {row["id"]: row for row in out.to_pylist()}
    assert list(found) == sorted(row[0] for row in rows)
    for language in ("en", "zh"):
        scores = sorted(row[2] for row in rows if row[1] == language and row[2] is not None)
        for id, own, score in rows:
            if own == language and score is not None:
                share = 100 * sum(other <= score for other in scores) / len(scores)
                expected = "head" if share <= 30 else "middle" if share <= 60 else "tail"
                assert found[id]["perplexity_percentile"] == pytest.approx(share)
                assert found[id]["perplexity_bucket"] == expected
        heads = [
            row["perplexity"]
            for row in found.values()
            if row["perplexity_bucket"] == "head" and row["language"] == language
        ]
        assert counts["cutoffs"][language][0] == max(heads)
    for id in ("none", "rare", "unknown"):
        assert found[id]["perplexity_bucket"] == "all"
        assert found[id]["perplexity_percentile"] is None
    assert set(counts["cutoffs"]) == {"en", "zh"}


def test_shards_and_their_order_change_nothing(tmp_path: Path) -> None:
    rows = [(f"d{n}", "en", float(n * 37 % 101)) for n in range(150)]
    _, one = buckets(rows, tmp_path, 1, PerplexityConfig())
    _, many = buckets(rows[::-1], tmp_path, 7, PerplexityConfig())
    assert one.equals(many)


def test_no_shard_at_all_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least one perplexity shard"):
        perplexity_buckets([], [], PerplexityConfig())


def test_percentiles_out_of_order_are_refused() -> None:
    with pytest.raises(ValueError, match=r"perplexity\.head 70\.0 must be below perplexity\.middle 60\.0"):
        PerplexityConfig(head=70)
