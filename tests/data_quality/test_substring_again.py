"""A refresh of exact substrings gives, byte for byte, what a run over everything gives; only what changed is solved."""

import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_quality.config import KeepConfig, SubstringConfig, WindowConfig
from data_quality.damaged import DamagedFile
from data_quality.dedupe import substring, windows
from data_quality.dedupe.marks import Marks
from data_quality.dedupe.substring import substring_spans
from data_quality.dedupe.windows import hashes_beside, read_windows, window_shard
from tests.data_quality.dedupe_shards import duplicates, rows, shards, verdicts

FILES = ("spans.parquet", "leftovers.parquet", "prints.parquet", "runs.parquet")
TOKENS = 5
Documents = dict[str, dict[str, Any]]


def config(**changes: Any) -> SubstringConfig:
    return SubstringConfig.model_validate(
        {"window": {"tokens": TOKENS}, "min_left_characters": 30, "keep": {"policy": "longest"}, **changes}
    )


def solve(
    directory: Path,
    documents: Documents,
    tried: SubstringConfig,
    previous: Path | None = None,
    failing: list[str] = [],  # noqa: B006
    dropped: dict[str, str] = {},  # noqa: B006
) -> dict[str, int]:
    """substring_spans with its state, over a random number of shards in a random order."""
    rng = random.Random(str(directory))
    directory.mkdir(parents=True, exist_ok=True)
    ordered = [{"id": id, **document} for id, document in documents.items()]
    rng.shuffle(ordered)
    paths = shards(directory / "shards", ordered, rng.randrange(1, 6))
    tables = [path.with_suffix(".windows") for path in paths]
    for path, table in zip(paths, tables, strict=True):
        window_shard(path, table, tried.window)
    return substring_spans(
        paths,
        tables,
        directory / "spans.parquet",
        directory / "leftovers.parquet",
        tried,
        verdict_paths=[verdicts(directory / "verdicts.parquet", failing)],
        duplicate_paths=[duplicates(directory / "duplicates.parquet", dropped)],
        keep_state=True,
        previous=previous,
        temp_directory=directory,
        threads=rng.randrange(1, 3),
    )


def written(rng: random.Random, pieces: list[str]) -> dict[str, Any]:
    """Pieces that others have too, whole or in part, between words of its own and some that come by chance."""
    parts = []
    for _ in range(rng.randrange(1, 6)):
        words = rng.choice(pieces).split(" ")
        first, last = sorted(rng.choices(range(len(words) + 1), k=2))
        parts += words[first:last]
        parts += [rng.choice(["the", "a", "中文", f"w{rng.randrange(10**6)}"]) for _ in range(rng.randrange(4))]
    return {"text": " ".join(parts), "source": rng.choice("ab")}


def nights(rng: random.Random, documents: Documents, pieces: list[str], number: int) -> Documents:
    """The corpus a night later: some are gone, some rewritten or of another source, some new."""
    after = {id: document for id, document in documents.items() if rng.random() > 0.04}
    for id, document in list(after.items()):
        luck = rng.random()
        if luck < 0.03:
            after[id] = written(rng, pieces)
        elif luck < 0.05:
            after[id] = {**document, "source": rng.choice("ab")}
    return after | {f"n{number}-{n}": written(rng, pieces) for n in range(rng.randrange(4))}


@settings(max_examples=4, deadline=None)
@given(
    st.integers(0, 10**9),
    st.sampled_from(["longest", "shortest", "first_id", "source_priority"]),
    st.booleans(),
    st.sampled_from([64, 1 << 10, 1 << 20]),
)
def test_nights_of_changes_end_where_a_run_over_everything_does(
    tmp_path_factory: pytest.TempPathFactory, seed: int, policy: str, within: bool, group_bytes: int
) -> None:
    rng = random.Random(seed)
    directory = tmp_path_factory.mktemp("nights")
    priority = ("b",) if policy == "source_priority" else ()
    keep = KeepConfig.model_validate({"policy": policy, "source_priority": priority})
    whole = config(keep=keep, within_document=within)
    tried = whole.model_copy(update={"group_bytes": group_bytes})  # of little memory there are more marks than hashes
    pieces = [" ".join(f"p{piece}{rng.randrange(30)}" for _ in range(25)) for piece in range(8)]
    pieces.append("la " * 20 + "la")
    documents = {f"d{n:02d}": written(rng, pieces) for n in range(40)}
    failing: list[str] = []
    dropped: dict[str, str] = {}
    solve(directory / "0", documents, tried)
    for night in range(1, 3):
        documents = nights(rng, documents, pieces, night)
        if rng.random() < 0.5:
            failing = rng.sample(sorted(documents), 2)
            dropped = {rng.choice(sorted(documents)): "twin"}
        more = {"failing": failing, "dropped": dropped}
        full = solve(directory / f"full-{night}", documents, whole, **more)
        again = solve(directory / str(night), documents, tried, previous=directory / str(night - 1), **more)
        for name in FILES:
            same = (directory / str(night) / name).read_bytes() == (directory / f"full-{night}" / name).read_bytes()
            assert same, (night, name)
        assert {**again, "groups": 0, "solved": 0} == {**full, "groups": 0, "solved": 0}
        assert again["solved"] <= full["solved"] == full["documents"]


RUN = " ".join(f"word{n}" for n in range(12))


def corpus(**texts: str) -> Documents:
    """Some documents, and twenty that have nothing to do with them."""
    alone = {f"z{n:02d}": " ".join(f"alone{n}x{word}" for word in range(8)) for n in range(20)}
    return {id: {"text": text} for id, text in (texts | alone).items()}


def kept_by(directory: Path) -> dict[str, str]:
    return {span["id"]: span["other"] for span in rows(directory / "spans.parquet")}


def test_a_window_that_comes_twice_now_is_solved_and_no_other(tmp_path: Path) -> None:
    before = corpus(a=f"one {RUN}", b="quite another text it is, to begin with", c=f"x {RUN} y z", d=f"other {RUN}")
    assert solve(tmp_path / "0", before, config())["solved"] == 24
    new = before | {"b2": {"text": f"quite another text it is, to begin with {'and more ' * 9}"}}
    counts = solve(tmp_path / "1", new, config(), previous=tmp_path / "0")
    assert counts["solved"] == 2  # b2, and b of which it now keeps the text
    assert kept_by(tmp_path / "1") == {"a": "c", "d": "c", "b": "b2"}


def test_a_further_copy_behind_the_first_changes_itself_alone(tmp_path: Path) -> None:
    before = corpus(a=f"one {RUN}", b=f"two three four {RUN}")
    solve(tmp_path / "0", before, config())
    counts = solve(tmp_path / "1", before | {"c": {"text": RUN}}, config(), previous=tmp_path / "0")
    assert (counts["solved"], kept_by(tmp_path / "1")) == (1, {"a": "b", "c": "b"})


def test_when_the_first_copy_is_gone_the_next_one_stays(tmp_path: Path) -> None:
    before = corpus(a=f"one {RUN}", b=f"two three four {RUN}", c=f"five {RUN} six")
    solve(tmp_path / "0", before, config())
    assert kept_by(tmp_path / "0") == {"a": "b", "c": "b"}
    after = {id: document for id, document in before.items() if id != "b"}
    counts = solve(tmp_path / "1", after, config(), previous=tmp_path / "0")
    assert (counts["solved"], kept_by(tmp_path / "1")) == (2, {"a": "c"})
    counts = solve(tmp_path / "2", before, config(), previous=tmp_path / "0", failing=["b"])
    assert (counts["solved"], kept_by(tmp_path / "2")) == (2, {"a": "c"})


def test_nothing_is_solved_where_nothing_changed(tmp_path: Path) -> None:
    documents = corpus(a=f"one {RUN}", b=f"two three four {RUN}")
    solve(tmp_path / "0", documents, config())
    counts = solve(tmp_path / "1", documents, config(), previous=tmp_path / "0")
    assert (counts["solved"], counts["spans"]) == (0, 1)


def test_a_hint_of_another_config_or_without_a_state_is_not_looked_at(tmp_path: Path) -> None:
    documents = corpus(a=f"one {RUN}", b=f"two three four {RUN}")
    solve(tmp_path / "0", documents, config())
    others = [config(window=WindowConfig(tokens=6)), config(within_document=True), config(keep=KeepConfig())]
    others[2] = config(keep=KeepConfig(policy="first_id"))
    for number, tried in enumerate(others):
        counts = solve(tmp_path / f"other-{number}", documents, tried, previous=tmp_path / "0")
        assert counts["solved"] == counts["documents"]
    for number, name in enumerate(FILES[:1] + FILES[2:]):
        shutil.copytree(tmp_path / "0", tmp_path / f"less-{number}")
        (tmp_path / f"less-{number}" / name).unlink()
        counts = solve(tmp_path / f"{number + 1}", documents, config(), previous=tmp_path / f"less-{number}")
        assert counts["solved"] == counts["documents"]


def test_a_state_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    documents = corpus(a=f"one {RUN}")
    solve(tmp_path / "0", documents, config())
    (tmp_path / "0" / "runs.parquet").write_bytes(b"PAR1 and nothing more")
    with pytest.raises(DamagedFile, match=r"0/runs\.parquet: Parquet magic bytes .*: copy it anew, or make it again"):
        solve(tmp_path / "1", documents, config(), previous=tmp_path / "0")


def test_where_most_documents_changed_all_are_solved(tmp_path: Path) -> None:
    documents = corpus()
    solve(tmp_path / "0", documents, config())
    half = {id: document for n, (id, document) in enumerate(documents.items()) if n < 10}
    more = {f"y{n}": {"text": f"yet another {n}"} for n in range(10)}
    assert solve(tmp_path / "1", half | more, config(), previous=tmp_path / "0")["solved"] == 10
    more["y10"] = {"text": "one too many"}
    assert solve(tmp_path / "2", half | more, config(), previous=tmp_path / "0")["solved"] == 21


def test_a_hash_that_other_text_has_too_is_found_out_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Matches that the texts do not confirm are in no span, so that they are counted in the state."""
    real = windows.window_hashes
    lied = np.full(1, 7, dtype=np.uint64)
    monkeypatch.setattr(windows, "window_hashes", lambda text, n: lied if text.startswith("lie") else real(text, n))
    before = corpus(a="lie one two three four five", b="lie six seven eight nine ten eleven")
    assert solve(tmp_path / "0", before, config())["unequal"] == 1
    after = before | {"c": {"text": RUN}}
    counts = solve(tmp_path / "1", after, config(), previous=tmp_path / "0")
    assert (counts["solved"], counts["unequal"], counts["matches"]) == (1, 1, 1)


def test_a_run_that_ends_between_spans_and_state_leaves_no_state_of_other_spans(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    documents = corpus(a=f"one {RUN}", c=f"two three four {RUN}")
    solve(tmp_path / "0", documents, config())
    with monkeypatch.context() as broken:
        broken.setattr(substring, "create_leftovers", raise_full)
        with pytest.raises(OSError, match="no space"):
            solve(tmp_path / "0", documents | {"b": {"text": f"five six seven eight {RUN}"}}, config())
    assert kept_by(tmp_path / "0") == {"a": "b", "c": "b"}
    counts = solve(tmp_path / "1", documents, config(), previous=tmp_path / "0")
    assert (kept_by(tmp_path / "1"), counts["solved"]) == ({"a": "c"}, 22)


def raise_full(*_: Any, **__: Any) -> None:
    raise OSError("no space left on device")


def test_the_directory_of_the_hint_may_be_written_to(tmp_path: Path) -> None:
    documents = corpus(a=f"one {RUN}", c=f"two three four {RUN}")
    solve(tmp_path / "0", documents, config())
    counts = solve(tmp_path / "0", documents | {"b": {"text": RUN}}, config(), previous=tmp_path / "0")
    assert (kept_by(tmp_path / "0"), counts["solved"]) == ({"a": "c", "b": "c"}, 1)


def test_spans_with_a_state_have_the_name_that_is_looked_for(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"out\.parquet has a state beside it, .* looks for spans\.parquet: call it"):
        substring_spans(
            [],
            [],
            tmp_path / "out.parquet",
            tmp_path / "left.parquet",
            config(),
            keep_state=True,
            temp_directory=tmp_path,
        )


def test_the_state_names_documents_and_holds_no_rank(tmp_path: Path) -> None:
    solve(tmp_path / "0", corpus(a=f"one {RUN}", b=f"two three four {RUN}"), config())
    runs = rows(tmp_path / "0" / "runs.parquet")
    assert runs == [{"id": "a", "start": 1, "last": 8, "other": "b", "other_start": 3}]
    assert pq.read_metadata(tmp_path / "0" / "prints.parquet").num_rows == 22


hashes = st.lists(st.integers(0, 2**64 - 2))


@given(hashes, st.lists(st.tuples(hashes, st.booleans()), min_size=1), st.sampled_from([1, 1 << 20]))
def test_every_marked_hash_is_found(added: list[int], documents: list[tuple[list[int], bool]], most_bytes: int) -> None:
    documents += [(added, True), (added, False)]
    marks = Marks(len(added), most_bytes)
    marks.add(np.array(added, dtype=np.uint64))
    offsets = np.cumsum([0, *(len(held) for held, _ in documents)])
    ranks = np.array([row if takes_part else -1 for row, (_, takes_part) in enumerate(documents)])
    values = np.array([value for held, _ in documents for value in held], dtype=np.uint64)
    found = [(int(value), int(at)) for value, at in marks.found_in(values, offsets, ranks)]
    there = [
        (value, row << 32 | place)
        for row, (held, takes_part) in enumerate(documents)
        for place, value in enumerate(held)
        if takes_part
    ]
    assert [pair for pair in there if pair in set(found)] == found  # as they stand, and nothing else
    assert {pair for pair in there if pair[0] in added} <= set(found)


def test_few_other_hashes_are_found() -> None:
    rng = np.random.default_rng(0)
    marks = Marks(100_000, 1 << 30)
    marks.add(rng.integers(0, 2**64, 100_000, dtype=np.uint64))
    others = rng.integers(0, 2**64, 100_000, dtype=np.uint64)
    assert len(marks.found_in(others, np.array([0, len(others)]), np.array([0]))) < 100_000 / 25


def test_a_file_of_hashes_that_is_not_the_tables_is_refused(tmp_path: Path) -> None:
    [path] = shards(tmp_path, [{"id": "a", "text": "one two three four"}, {"id": "b", "text": ""}])
    table = tmp_path / "windows.parquet"
    window_shard(path, table, WindowConfig(tokens=2))
    hashes, offsets = read_windows(table)
    assert (len(hashes), offsets.tolist()) == (3, [0, 3, 3])
    beside = hashes_beside(table)
    beside.write_bytes(beside.read_bytes()[:-8])
    with pytest.raises(
        ValueError, match=r"should have the 3 hashes of .* in 24 bytes, and has 16: it is another table's"
    ):
        read_windows(table)
    beside.unlink()
    with pytest.raises(ValueError, match=r"should have the 3 hashes of .* in 24 bytes, and is missing"):
        read_windows(table)


def test_where_no_document_takes_part_any_more_nothing_is_left(tmp_path: Path) -> None:
    documents = corpus(a=f"one {RUN}", b=f"two three four {RUN}")
    solve(tmp_path / "0", documents, config())
    counts = solve(tmp_path / "1", documents, config(), previous=tmp_path / "0", failing=sorted(documents))
    assert (counts["documents"], counts["solved"], counts["spans"], counts["windows"]) == (0, 0, 0, 0)
    assert solve(tmp_path / "2", documents, config(), previous=tmp_path / "1")["spans"] == 1
