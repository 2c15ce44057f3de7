"""The mixture: expected shares, the budget, and that a greater weight only adds."""

import math
import random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from data_quality.config import FINEWEB2_REHYDRATION, FamilyWeight, MixtureConfig
from data_quality.mixture import Group, copies_of, draw_mixture, family_weight, group_rates, whole_shares
from tests.data_quality.dedupe_shards import duplicates, rows, shards

DOCUMENTS = [
    {"id": f"{source}{n}", "text": "x" * 10, "source": source, "language": "zh" if source == "c" else "en"}
    for source, count in (("a", 400), ("b", 100), ("c", 25))
    for n in range(count)
]


def draw(directory, config, documents=DOCUMENTS, count=1, **more):
    directory.mkdir(exist_ok=True)
    out = directory / "copies.parquet"
    figures = draw_mixture(shards(directory / "d", documents, count), out, config, temp_directory=directory, **more)
    return {row["id"]: row["copies"] for row in rows(out)}, {row["group"]: row for row in figures}, out.read_bytes()


def test_without_weights_each_document_is_drawn_once(tmp_path):
    copies, figures, _ = draw(tmp_path, MixtureConfig())
    assert set(copies.values()) == {1}
    assert figures["b"] == {
        "group": "b", "documents": 100, "size": 1000, "rate": 1.0, "wanted": 1000.0, "drawn_documents": 100,
        "drawn": 1000, "epochs": 1.0,
    }  # fmt: skip


def test_a_weight_is_the_number_of_epochs_and_touches_no_other_group(tmp_path):
    before, _, _ = draw(tmp_path / "1", MixtureConfig(weights={"b": 1.3}))
    after, figures, _ = draw(tmp_path / "2", MixtureConfig(weights={"b": 2.7}))
    assert all(after[id] >= before[id] for id in before)
    assert all(after[id] == before[id] for id in before if id[0] != "b")
    assert {after[id] for id in before if id[0] == "b"} == {2, 3}
    assert figures["b"]["wanted"] == pytest.approx(2700)
    assert figures["b"]["epochs"] == pytest.approx(2.7, abs=0.2)


def test_weight_zero_leaves_a_group_out(tmp_path):
    copies, figures, _ = draw(tmp_path, MixtureConfig(weights={"c": 0}))
    assert {copies[f"c{n}"] for n in range(25)} == {0}
    assert figures["c"]["drawn"] == 0


def test_shards_order_and_seed(tmp_path):
    config = MixtureConfig(budget=3000, weights={"b": 2})
    _, _, expected = draw(tmp_path / "1", config)
    shuffled = random.Random(1).sample(DOCUMENTS, len(DOCUMENTS))
    assert draw(tmp_path / "2", config, shuffled, count=3)[2] == expected
    assert draw(tmp_path / "3", config.model_copy(update={"seed": 1}))[2] != expected


@given(st.text(max_size=8), st.floats(0, 20), st.floats(0, 20), st.integers(0, 5))
def test_more_is_never_less(id, less, more, seed):
    less, more = sorted((less, more))
    assert copies_of(id, less, seed) <= copies_of(id, more, seed)
    assert int(less) <= copies_of(id, less, seed) <= int(less) + 1


def test_copies_are_right_on_average():
    drawn = [copies_of(str(n), 1.25, 0) for n in range(20_000)]
    assert sum(drawn) / len(drawn) == pytest.approx(1.25, abs=0.02)


@pytest.mark.parametrize(
    ("size", "weight"), [(1, 1), (2, 2), (3, 3), (4, 3), (5, 5), (99, 5), (100, 8), (999, 8), (1000, 1)]
)
def test_rehydration_as_in_fineweb2(size, weight):
    assert family_weight(size, MixtureConfig(family_weights=FINEWEB2_REHYDRATION)) == weight


def test_a_kept_document_is_drawn_for_its_family(tmp_path):
    gone = {f"gone{n}": "a1" for n in range(4)} | {"twin": "a2"}
    table = duplicates(tmp_path / "duplicates.parquet", gone)
    config = MixtureConfig(family_weights=FINEWEB2_REHYDRATION)
    copies, figures, _ = draw(tmp_path, config, duplicate_paths=[table])
    assert {id: n for id, n in copies.items() if n != 1} == {"a1": 5, "a2": 2}
    assert figures["a"]["wanted"] == 4000 + 40 + 10


groups = st.lists(st.tuples(st.integers(1, 10**6), st.floats(1, 5)), min_size=1, max_size=6).map(
    lambda found: [Group(f"g{n}", 1, size, size * factor) for n, (size, factor) in enumerate(found)]
)


@given(groups, st.floats(1, 5), st.floats(0.01, 12), st.data())
def test_the_budget_is_reached_or_every_group_is_at_its_limit(found, temperature, share, data):
    weights = {group.name: data.draw(st.floats(0.01, 10)) for group in found}
    total = sum(group.size for group in found)
    config = MixtureConfig(weights=weights, temperature=temperature, budget=share * total, max_epochs=4)
    rates = group_rates(found, config)
    drawn = {group.name: rates[group.name] * group.family_size for group in found}
    assert sum(drawn.values()) == pytest.approx(min(share, 4) * total)
    open_groups = [g for g in found if drawn[g.name] < 4 * g.size * (1 - 1e-9)]
    ratios = [rates[g.name] / (weights[g.name] * g.size ** (1 / temperature - 1)) for g in open_groups]
    assert ratios == pytest.approx([ratios[0]] * len(ratios)) if ratios else True
    raised = config.model_copy(update={"weights": {**weights, "g0": weights["g0"] * 2}})
    again = group_rates(found, raised)
    assert again["g0"] >= rates["g0"] * (1 - 1e-9)
    assert all(again[g.name] <= rates[g.name] * (1 + 1e-9) for g in found[1:])


def test_temperature_draws_in_proportion_to_a_root_of_the_size():
    found = [Group("big", 1, 10_000, 10_000.0), Group("small", 1, 100, 100.0)]
    rates = group_rates(found, MixtureConfig(temperature=2, max_epochs=100))
    assert rates["big"] == 1
    assert rates["small"] * 100 / (rates["big"] * 10_000) == pytest.approx((100 / 10_000) ** 0.5)


def test_tokens_come_from_their_table(tmp_path):
    counted = tmp_path / "tokens.parquet"
    pq.write_table(pa.table({"id": [d["id"] for d in DOCUMENTS], "tokens": [3] * len(DOCUMENTS)}), counted)
    _, figures, _ = draw(tmp_path / "1", MixtureConfig(unit="tokens", by="language"), token_paths=[counted])
    assert (figures["en"]["size"], figures["zh"]["size"]) == (1500, 75)
    with pytest.raises(ValueError, match="unit is tokens, but no table of tokens was given"):
        draw(tmp_path / "2", MixtureConfig(unit="tokens"))
    pq.write_table(pa.table({"id": ["a0"], "tokens": [3]}), counted)
    with pytest.raises(ValueError, match="524 documents have no token count, 'a1' among them"):
        draw(tmp_path / "3", MixtureConfig(unit="tokens"), token_paths=[counted])


def spread(count, seed=5):
    """Documents of three sources with very different numbers of tokens, and these numbers."""
    made = random.Random(seed)
    documents = [{"id": f"{n}", "text": "x", "source": made.choice("aabbbc")} for n in range(count)]
    return documents, [made.choice((0, 1, 3, 40, 700)) for _ in documents]


def draw_tokens(directory, documents, tokens, count=1, **config):
    directory.mkdir()
    counted = directory / "tokens.parquet"
    pq.write_table(pa.table({"id": [d["id"] for d in documents], "tokens": tokens}), counted)
    more = {name: config.pop(name) for name in ("duplicate_paths", "threads", "split_path") if name in config}
    config = MixtureConfig(unit="tokens", **config)
    return draw(directory, config, documents, count, token_paths=[counted], **more)


@pytest.mark.parametrize("budget", [1, 699, 5_000, 20_000, 90_000, 10**6])
def test_a_budget_of_tokens_is_met_to_within_a_document(budget, tmp_path):
    documents, tokens = spread(400)
    settings = {"weights": {"b": 2.5, "c": 0.3}, "temperature": 1.5, "max_epochs": 4}
    copies, figures, _ = draw_tokens(tmp_path / "1", documents, tokens, budget=budget, **settings)
    size = {document["id"]: (document["source"], count) for document, count in zip(documents, tokens, strict=True)}
    for name, group in figures.items():
        drawn = {id: copies[id] for id, (source, _) in size.items() if source == name}
        assert group["drawn"] == sum(size[id][1] * n for id, n in drawn.items())
        over = [size[id][1] for id, n in drawn.items() if n == int(group["rate"]) and size[id][1]]
        assert math.floor(group["wanted"]) - group["drawn"] < min(over, default=1)
        assert group["drawn"] <= math.ceil(group["wanted"])
        assert {int(group["rate"]), int(group["rate"]) + 1} >= set(drawn.values())
    assert sum(group["wanted"] for group in figures.values()) == pytest.approx(min(budget, 4 * sum(tokens)))
    assert sum(group["drawn"] for group in figures.values()) <= budget


@pytest.mark.parametrize(("groups", "budget"), [(3, 5), (3, 4), (3, 3.5), (52, 2_580), (7, 1), (6, 1_000)])
def test_what_equal_groups_draw_is_the_budget_and_no_token_more(groups, budget, tmp_path):
    documents = [{"id": f"{n}", "text": "x", "source": f"{n % groups:02d}"} for n in range(groups * 60)]
    copies, figures, _ = draw_tokens(tmp_path / "1", documents, [1] * len(documents), budget=budget, max_epochs=9)
    assert sum(copies.values()) == sum(group["drawn"] for group in figures.values()) == math.floor(budget)
    drawn = [group["drawn"] for group in figures.values()]
    assert max(drawn) - min(drawn) <= 1


@given(st.lists(st.floats(0, 10**6), min_size=1, max_size=9), st.floats(0, 1))
def test_shares_are_whole_and_add_up_to_at_most_the_budget(sizes, part):
    wanted = {str(n): size for n, size in enumerate(sizes)}
    budget = math.fsum(sizes) * (1 + part)  # what the groups' limits leave of it
    shares = whole_shares(wanted, budget)
    assert all(math.floor(size) <= shares[name] <= math.ceil(size) for name, size in wanted.items())
    assert math.fsum(sizes) - 1 <= sum(shares.values()) <= budget


def test_a_share_that_is_whole_but_for_rounding_is_whole():
    assert whole_shares({"a": 999.9999999999, "b": 0.0, "c": 1000.0000000001}, 2000) == {"a": 1000, "b": 0, "c": 1000}
    assert whole_shares({"a": 0.25, "b": 2.75, "c": 1.5}, 4.5) == {"a": 0, "b": 3, "c": 1}


def test_a_budget_of_all_tokens_draws_each_document_once(tmp_path):
    documents, tokens = spread(101)
    copies, _, _ = draw_tokens(tmp_path / "1", documents, tokens, budget=sum(tokens))
    assert set(copies.values()) == {1}
    copies, _, _ = draw_tokens(tmp_path / "2", documents, tokens, budget=sum(tokens) - 1)
    assert sorted(copies.values())[:2] == [0, 1]


def test_a_budget_of_tokens_draws_by_families_and_on_average_by_their_weights(tmp_path):
    documents = [{"id": f"{n}", "text": "x", "source": "a"} for n in range(600)]
    table = duplicates(tmp_path / "duplicates.parquet", {f"gone{n}": f"{n}" for n in range(0, 600, 2)})
    config = {"family_weights": (FamilyWeight(min_size=1, weight=1), FamilyWeight(min_size=2, weight=3))}
    copies, figures, _ = draw_tokens(
        tmp_path / "1", documents, [7] * 600, budget=1400, duplicate_paths=[table], **config
    )
    of_families = sum(n for id, n in copies.items() if int(id) % 2 == 0)
    assert figures["a"]["drawn"] == 1400
    assert of_families == pytest.approx(150, abs=20)


def test_a_budget_of_tokens_knows_no_shards_order_or_threads_but_its_seed(tmp_path):
    documents, tokens = spread(300)
    settings = {"budget": 9_000, "weights": {"a": 2}}
    _, _, expected = draw_tokens(tmp_path / "1", documents, tokens, **settings)
    order = random.Random(2).sample(range(300), 300)
    shuffled = [documents[n] for n in order], [tokens[n] for n in order]
    assert draw_tokens(tmp_path / "2", *shuffled, count=3, threads=2, **settings)[2] == expected
    assert draw_tokens(tmp_path / "3", documents, tokens, seed=1, **settings)[2] != expected


def test_with_a_split_only_training_documents_are_there(tmp_path):
    documents, tokens = spread(90)
    parts = ["train", "valid", "test"] * 30
    pq.write_table(pa.table({"id": [d["id"] for d in documents], "split": parts}), tmp_path / "split.parquet")
    copies, figures, _ = draw_tokens(
        tmp_path / "1", documents, tokens, budget=10**9, max_epochs=1, split_path=tmp_path / "split.parquet"
    )
    assert copies == {d["id"]: 1 for d in documents[::3]}
    assert sum(group["size"] for group in figures.values()) == sum(tokens[::3])
    none = tmp_path / "none.parquet"
    pq.write_table(pa.table({"id": ["0"], "split": ["test"]}), none)
    copies, figures, _ = draw_tokens(tmp_path / "2", documents, tokens, budget=5, weights={"a": 2}, split_path=none)
    assert copies == {}
    assert set(figures) == set("abc")
    assert {group["documents"] + group["size"] + group["drawn"] + group["epochs"] for group in figures.values()} == {0}
    with pytest.raises(ValueError, match="names the source 'aa', which no kept document has; did you mean 'a'"):
        draw_tokens(tmp_path / "3", documents, tokens, weights={"aa": 2}, split_path=none)


def test_a_group_that_is_all_held_out_takes_nothing_from_the_others(tmp_path):
    documents, tokens = spread(90)
    sources = [document["source"] for document in documents]
    parts = ["valid" if source == "c" else "train" for source in sources]
    pq.write_table(pa.table({"id": [d["id"] for d in documents], "split": parts}), tmp_path / "split.parquet")
    there = sum(count for source, count in zip(sources, tokens, strict=True) if source != "c")
    copies, figures, _ = draw_tokens(
        tmp_path / "1", documents, tokens, budget=there, weights={"c": 5}, split_path=tmp_path / "split.parquet"
    )
    assert set(copies.values()) == {1}
    assert figures["c"] == {
        "group": "c", "documents": 0, "size": 0, "rate": 0.0, "wanted": 0.0, "drawn_documents": 0, "drawn": 0,
        "epochs": 0.0,
    }  # fmt: skip


def test_bytes_are_utf8(tmp_path):
    _, figures, _ = draw(tmp_path, MixtureConfig(), [{"id": "z", "text": "中文", "source": "a"}])
    assert figures["a"]["size"] == 6


def test_bad_input_is_named(tmp_path):
    with pytest.raises(ValueError, match="names the source 'aa', which no kept document has; did you mean 'a'"):
        draw(tmp_path / "1", MixtureConfig(weights={"aa": 2}))
    with pytest.raises(ValueError, match="2 documents have 1 ids"):
        draw(tmp_path / "2", MixtureConfig(), [{"id": "x", "text": "t"}] * 2)
    with pytest.raises(ValidationError, match="the weight of 'b' is negative"):
        MixtureConfig(weights={"b": -1})
    with pytest.raises(ValidationError, match=r"family_weights begin at \[2\]"):
        MixtureConfig(family_weights=(FamilyWeight(min_size=2, weight=1),))
