"""Lanes: every token is a target once, in order; any step is found without a walk; random lengths fill an epoch."""

from pathlib import Path

import numpy as np
import pytest
import torch

from lm.order import in_order
from lm.packing import PackedSequences
from lm.streams import LEAST, ArrayPieces, Lanes, RandomLanes, random_lengths
from lm.tokens import build_index

TEXT = np.random.default_rng(0).integers(0, 50, 1001)


def step_of(lanes: Lanes, step: int) -> dict[str, torch.Tensor]:
    return lanes.batch(in_order(step * lanes.lanes, lanes.lanes, len(lanes), 0))


def read(lanes: Lanes, first: int, steps: int) -> torch.Tensor:
    """The targets of each lane over some steps, [lanes, tokens]."""
    return torch.cat([step_of(lanes, first + s)["tokens"][:, 1:] for s in range(steps)], 1)


def test_each_lane_reads_its_stretch_of_the_text_in_order() -> None:
    lanes = Lanes(ArrayPieces(TEXT, 10), 4)
    assert (len(lanes), lanes.steps) == (100, 25)
    assert np.array_equal(read(lanes, 0, 25).numpy(), TEXT[1:].reshape(4, 250))
    for step in range(25):
        batch = step_of(lanes, step)
        assert np.array_equal(batch["tokens"][:, 0].numpy(), TEXT[np.arange(4) * 250 + 10 * step])
        assert batch["reset"].tolist() == [step == 0] * 4


def test_epochs_repeat_and_reset() -> None:
    lanes = Lanes(ArrayPieces(TEXT, 10), 4)
    assert torch.equal(read(lanes, 25, 25), read(lanes, 0, 25))
    assert step_of(lanes, 25)["reset"].all()
    assert not step_of(lanes, 26)["reset"].any()


def test_micro_batches_are_rows_of_the_step() -> None:
    lanes = Lanes(ArrayPieces(TEXT, 10), 6)
    whole = step_of(lanes, 3)["tokens"]
    parts = [lanes.batch(np.arange(18 + i, 18 + min(i + 4, 6)))["tokens"] for i in (0, 4)]
    assert torch.equal(torch.cat(parts), whole)


def test_lanes_over_an_index_are_its_packed_sequences(shards: list[Path]) -> None:
    index = build_index(shards)
    packed = PackedSequences(index, 16)
    lanes = Lanes(packed, 3)
    for lane in range(3):
        expected = packed.sequence(lane * lanes.steps + 5)
        assert np.array_equal(step_of(lanes, 5)["tokens"][lane].numpy(), expected)
    assert lanes.fingerprint != Lanes(packed, 4).fingerprint
    assert index.fingerprint in lanes.fingerprint


def test_only_the_first_pieces() -> None:
    assert Lanes(ArrayPieces(TEXT, 10), 4, limit=11).steps == 2


def test_random_lengths_are_those_of_the_paper() -> None:
    lengths = random_lengths(1_000_000, 70, seed=1)
    assert lengths.sum() == 1_000_000
    assert lengths.min() >= LEAST
    short = lengths < 52
    assert short.mean() == pytest.approx(0.05, abs=0.006)
    assert lengths[~short].mean() == pytest.approx(69.5, abs=0.3)  # of whole tokens: rounded down
    assert lengths[~short].std() == pytest.approx(5, abs=0.2)
    assert lengths[short].mean() == pytest.approx(34.5, abs=1)


@pytest.mark.parametrize("total", [5, 6, 9, 10, 33, 250, 251])
def test_random_lengths_fill_any_lane(total: int) -> None:
    for seed in range(20):
        lengths = random_lengths(total, 10, seed)
        assert lengths.sum() == total
        assert lengths.min() >= LEAST


def test_random_lanes_read_everything_in_another_cut_each_epoch() -> None:
    lanes = RandomLanes(ArrayPieces(TEXT, 1), 4, bptt=20, seed=3)
    cuts = []
    for epoch in range(3):
        first = epoch * lanes.steps
        assert np.array_equal(read(lanes, first, lanes.steps).numpy(), TEXT[1:].reshape(4, 250))
        lengths = [step_of(lanes, first + s)["tokens"].shape[1] - 1 for s in range(lanes.steps)]
        assert [lanes.rate_scale(first + s) for s in range(lanes.steps)] == [n / 20 for n in lengths]
        assert step_of(lanes, first)["reset"].all()
        cuts.append(lengths)
    assert cuts[0] != cuts[1] != cuts[2]
    assert sorted(cuts[0]) == sorted(cuts[1])


def test_any_step_is_found_without_a_walk() -> None:
    def fresh() -> Lanes:
        return RandomLanes(ArrayPieces(TEXT, 1), 4, bptt=20, seed=3)

    walked = fresh()
    for step in range(40):
        assert torch.equal(step_of(walked, step)["tokens"], step_of(fresh(), step)["tokens"])


def test_random_lanes_over_an_index(shards: list[Path]) -> None:
    """Joined from pieces of one token: the same stream as one long piece."""
    packed = PackedSequences(build_index(shards), 1)
    lanes = RandomLanes(packed, 2, bptt=30, seed=0)
    stream = np.array([packed.sequence(i)[1] for i in range(len(packed))])
    length = len(packed) // 2
    assert np.array_equal(read(lanes, 0, lanes.steps).numpy(), stream[: 2 * length].reshape(2, length))


def test_what_cannot_be_read_is_refused() -> None:
    with pytest.raises(ValueError, match="100 segments do not fill 101 lanes: give more text, fewer lanes"):
        Lanes(ArrayPieces(TEXT, 10), 101)
    lanes = Lanes(ArrayPieces(TEXT, 10), 4)
    for wrong in ([2, 3, 4, 5], [0, 2], [3, 2, 1, 0]):
        with pytest.raises(ValueError, match=r"train with a batch of 4 and `order=in_order`"):
            lanes.batch(np.array(wrong))
    with pytest.raises(ValueError, match="bptt 4 is too short"):
        RandomLanes(ArrayPieces(TEXT, 1), 4, bptt=4, seed=0)
    with pytest.raises(ValueError, match="4 tokens a lane do not fill one segment"):
        RandomLanes(ArrayPieces(TEXT, 1), 250, bptt=20, seed=0)
