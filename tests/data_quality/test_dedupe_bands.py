"""Shared bands against a dictionary of all values; tables made elsewhere are as good as those made on the way."""

import random
from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from data_quality.config import DedupeConfig, SignatureConfig
from data_quality.dedupe import bands as module
from data_quality.dedupe.bands import BandGroup, SharedBand, band_groups, read_shared, shared_bands
from data_quality.dedupe.minhash import near_dedupe
from tests.data_quality.dedupe_oracle import WORDS, Document, write_signatures

SMALL = SignatureConfig(bands=5, rows=3)


def families(count: int, seed: int = 0) -> list[Document]:
    """Texts of which every third is a copy or a variant of an earlier one."""
    rng = random.Random(seed)
    texts: list[list[str]] = []
    for number in range(count):
        words = [rng.choice(WORDS) for _ in range(rng.randrange(3, 60))]
        if texts and number % 3 == 0:
            words = list(rng.choice(texts))
            words[rng.randrange(len(words))] = rng.choice(WORDS)
        texts.append(words)
    return [(f"d{number:04d}", "s", " ".join(words)) for number, words in enumerate(texts)]


def by_hand(paths: list[Path], bands: int) -> dict[int, set[frozenset[int]]]:
    """For each band the sets of positions that have one value in common."""
    found: dict[int, set[frozenset[int]]] = {}
    for band in range(bands):
        values = [value for path in paths for value in pq.read_table(path)[f"b{band}"].to_pylist()]
        places = defaultdict(set)
        for position, value in enumerate(values):
            places[value].add(position)
        found[band] = {frozenset(each) for each in places.values() if len(each) > 1}
    return found


def positions(found: Iterator[SharedBand]) -> dict[int, list[list[int]]]:
    """Of each band the buckets, in their order."""
    bands: dict[int, list[list[int]]] = defaultdict(list)
    for shared in found:
        cuts = np.flatnonzero(np.diff(shared.buckets, prepend=-1))
        assert shared.buckets[cuts].tolist() == list(range(len(cuts)))
        bands[shared.band] += [shared.positions[a:b].tolist() for a, b in pairwise([*cuts, len(shared.positions)])]
    return bands


@pytest.mark.parametrize(("shards", "threads"), [(1, 1), (4, 2)])
def test_buckets_are_the_documents_of_equal_values(tmp_path: Path, shards: int, threads: int) -> None:
    paths = write_signatures(tmp_path / "signatures", families(300), SMALL, shards)
    tables = [tmp_path / "first.parquet", tmp_path / "second.parquet"]
    counts = [
        shared_bands(paths, group, out, threads)
        for group, out in zip((BandGroup(0, 2), BandGroup(2, 5)), tables, strict=True)
    ]
    expected = by_hand(paths, 5)
    found = positions(read_shared(tables, paths, 5))
    assert {band: {frozenset(bucket) for bucket in buckets} for band, buckets in found.items()} == {
        band: sets for band, sets in expected.items() if sets
    }
    assert all(bucket == sorted(bucket) for buckets in found.values() for bucket in buckets)
    assert sum(count["buckets"] for count in counts) == sum(map(len, expected.values()))
    assert sum(count["shared"] for count in counts) == sum(len(bucket) for sets in expected.values() for bucket in sets)


def test_a_band_that_nobody_shares_has_no_rows(tmp_path: Path) -> None:
    paths = write_signatures(tmp_path / "signatures", [("a", "s", "one two three"), ("b", "s", "four five six")], SMALL)
    out = tmp_path / "bands.parquet"
    assert shared_bands(paths, BandGroup(0, 5), out) == {"bands": 5, "shared": 0, "buckets": 0}
    assert list(read_shared([out], paths, 5)) == []


def test_groups_cover_every_band_once_and_hold_what_fits_into_memory() -> None:
    assert band_groups(0, 14) == [BandGroup(0, 14)]
    assert band_groups(800_000, 14) == [BandGroup(0, 14)]
    assert band_groups(5_000_000, 5) == [BandGroup(0, 2), BandGroup(2, 4), BandGroup(4, 5)]
    assert band_groups(12_000_000, 2) == [BandGroup(0, 1), BandGroup(1, 2)]
    assert band_groups(12_000_001, 2) == [BandGroup(b, b + 1, n, 5) for b in range(2) for n in range(5)]
    assert len(band_groups(10**10, 3)) == 3 * 64


def test_tables_that_were_made_before_change_no_byte(tmp_path: Path) -> None:
    paths = write_signatures(tmp_path / "signatures", families(200), shards=3)
    tables = []
    for group in (BandGroup(0, 6), BandGroup(6, 14)):
        tables.append(tmp_path / f"bands-{group.first}.parquet")
        shared_bands(paths, group, tables[-1])
    out = [tmp_path / "with.parquet", tmp_path / "without.parquet"]
    counts = [
        near_dedupe(paths, path, DedupeConfig(), band_paths=given, temp_directory=tmp_path)
        for path, given in zip(out, (tables[::-1], []), strict=True)
    ]
    assert counts[0] == counts[1]
    assert counts[0]["near"] > 10
    assert out[0].read_bytes() == out[1].read_bytes()


def test_ranges_of_values_hold_what_whole_bands_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = write_signatures(tmp_path / "signatures", families(300), SMALL, shards=3)
    whole, ranges, counts = tmp_path / "whole.parquet", [], Counter[str]()
    expected = shared_bands(paths, BandGroup(0, 5), whole)
    monkeypatch.setattr(module, "VALUES_AT_ONCE", 299)
    monkeypatch.setattr(module, "RANGE_VALUES", 45)
    groups = band_groups(300, 5)
    assert len(groups) == 5 * 7
    for group in groups:
        ranges.append(tmp_path / f"{group.first}-{group.number}.parquet")
        counts.update(shared_bands(paths, group, ranges[-1]))
    assert counts == expected
    assert positions(read_shared(ranges, paths, 5)) == positions(read_shared([whole], paths, 5))
    for wrong in (ranges[1:], [*ranges, ranges[0]], [*ranges, whole], ranges[:-1]):
        with pytest.raises(ValueError, match="once and whole, the signatures 5 bands"):
            list(read_shared(wrong, paths, 5))


def test_near_dedupe_is_the_same_to_the_byte_where_bands_are_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = write_signatures(tmp_path / "signatures", families(200), shards=3)
    out = [tmp_path / "whole.parquet", tmp_path / "cut.parquet"]
    near_dedupe(paths, out[0], DedupeConfig(), temp_directory=tmp_path)
    monkeypatch.setattr(module, "VALUES_AT_ONCE", 199)
    monkeypatch.setattr(module, "RANGE_VALUES", 30)
    near_dedupe(paths, out[1], DedupeConfig(), temp_directory=tmp_path)
    assert out[0].read_bytes() == out[1].read_bytes()


@given(values=st.lists(st.integers(0, 2**64 - 1) | st.sampled_from([0, 2**32, 2**64 - 1, 2**63]), max_size=40))
@example(values=[0, 0, 2**64 - 1, 2**64 - 1])
def test_any_values_are_found_in_their_range_alone(values: list[int], tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("values") / "shard.parquet"
    array = pa.array(values, pa.uint64())
    pq.write_table(pa.table({"b0": array, "shingles_hash": array}), path)
    tables = [path.with_name(f"{number}.parquet") for number in range(3)]
    for number, table in enumerate(tables):
        shared_bands([path], BandGroup(0, 1, number, 3), table)
    places = defaultdict(list)
    for position, value in enumerate(values):
        places[value].append(position)
    assert positions(read_shared(tables, [path], 1)).get(0, []) == [
        places[value] for value in sorted(places) if len(places[value]) > 1
    ]


def test_tables_of_other_documents_are_refused(tmp_path: Path) -> None:
    paths = write_signatures(tmp_path / "signatures", families(30))
    others = write_signatures(tmp_path / "others", families(31))
    table, part = tmp_path / "bands.parquet", tmp_path / "part.parquet"
    shared_bands(others, BandGroup(0, 14), table)
    with pytest.raises(ValueError, match=r"bands\.parquet is not a table of shared bands of these signature shards"):
        near_dedupe(paths, tmp_path / "out.parquet", DedupeConfig(), band_paths=[table], temp_directory=tmp_path)
    shared_bands(paths, BandGroup(0, 13), part)
    with pytest.raises(ValueError, match=r"hold the bands \[0, .* 12\] once and whole, the signatures 14"):
        near_dedupe(paths, tmp_path / "out.parquet", DedupeConfig(), band_paths=[part], temp_directory=tmp_path)
    pq.write_table(pa.table({"id": ["a"]}), table)
    with pytest.raises(ValueError, match=r"bands\.parquet is not a table of shared bands"):
        near_dedupe(paths, tmp_path / "out.parquet", DedupeConfig(), band_paths=[table], temp_directory=tmp_path)


def test_tables_of_the_same_shards_in_another_order_are_refused(tmp_path: Path) -> None:
    paths = write_signatures(tmp_path / "signatures", families(60), shards=2)
    table = tmp_path / "bands.parquet"
    shared_bands(paths, BandGroup(0, 14), table)
    near_dedupe(paths, tmp_path / "out.parquet", DedupeConfig(), band_paths=[table], temp_directory=tmp_path)
    with pytest.raises(ValueError, match="in this order"):
        near_dedupe(paths[::-1], tmp_path / "out.parquet", DedupeConfig(), band_paths=[table], temp_directory=tmp_path)
