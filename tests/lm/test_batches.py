"""Batches made ahead by processes of their own are the batches of the steps; what goes wrong there is said here."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lm.config import TrainConfig
from lm.masked_examples import MaskedExamples
from lm.masking_config import MaskingConfig, SegmentsConfig
from lm.models.xlnet_config import PermutationConfig
from lm.objectives.permutation import Permuted
from lm.order import examples_at, in_order, numbered_by_epoch
from lm.packing import PackedSequences
from lm.pair_examples import PairExamples
from lm.pairs import Pair
from lm.streams import ArrayPieces, Lanes, RandomLanes
from lm.tokenizer import load_tokenizer
from lm.tokenizers.spelling import Spelling
from lm.tokens import TokenIndex, build_index
from lm.train.batches import Steps
from lm.translator_config import PairLimits
from lm.words_in_tokens import chinese_words
from tests.asked import Ask
from tests.lm.masked_corpus import documents, make_index, make_similar

CASES = "tests.lm.worker_cases"


@pytest.mark.parametrize(("workers", "first", "end"), [(0, 0, 9), (1, 0, 9), (2, 3, 20), (3, 8, 9)])
def test_the_steps_come_in_order_whoever_makes_them(fork_server: Ask, workers: int, first: int, end: int) -> None:
    found = fork_server(call=f"{CASES}:readings_of", arguments=(workers, first, end))["returned"]
    assert found["steps"] == end - first
    assert found["same"]
    assert found["here"] == (workers == 0)
    assert 1 <= found["makers"] <= max(1, workers)
    assert found["left"] == 0


def test_processes_end_with_a_training_that_is_broken_off(fork_server: Ask) -> None:
    assert fork_server(call=f"{CASES}:broken_off", arguments=(2,))["returned"] == 0


@pytest.mark.parametrize("workers", [0, 2])
def test_an_example_that_cannot_be_made_is_named_with_its_cause(fork_server: Ask, workers: int) -> None:
    found = fork_server(call=f"{CASES}:bad_example", arguments=(workers,))["returned"]
    step = int(np.flatnonzero(examples_at(0, 20, 10, 7) == 5)[0]) // 4
    assert found["args"] == ["no number 5"]
    assert found["notes"] == [f"while the batch of step {step} was made: example 5, from line 6 of numbers.txt"]
    assert ("worker_cases.py" in found["cause"]) == (workers > 0)  # the line that raised it, in the other process
    assert found["left"] == 0


def test_a_killed_process_is_an_error_or_part_of_a_stop(fork_server: Ask) -> None:
    died = fork_server(call=f"{CASES}:killed_worker", arguments=(False,))["returned"]
    assert died.startswith(
        "WorkerDied: a process that makes batches ended. What it wrote says why; if it wrote nothing"
    )
    assert "use fewer of them than train.data_workers 2" in died
    assert fork_server(call=f"{CASES}:killed_worker", arguments=(True,))["returned"].startswith("Interrupted: asked to")


def test_examples_that_cannot_be_sent_say_so(fork_server: Ask) -> None:
    message = fork_server(call=f"{CASES}:cannot_be_sent", arguments=())["returned"]
    assert message == "train.data_workers sends the examples to other processes; with 0 they stay in this one"


# --- every kind of examples can be sent to another process -------------------------------------------------------


@pytest.fixture(scope="module")
def masked_index(tmp_path_factory: pytest.TempPathFactory) -> tuple[TokenIndex, Path]:
    return make_index(tmp_path_factory.mktemp("masked"), documents(12))


def masked(index: TokenIndex, tokenizer: Path, **masking: Any) -> MaskedExamples:
    config = MaskingConfig.model_validate({"unit": "word", **masking})
    segment = chinese_words if config.chinese_words else None
    loaded = load_tokenizer(tokenizer)
    similar = make_similar(index, loaded, segment) if config.hidden_by == "similar" else None
    return MaskedExamples(index, loaded, config, SegmentsConfig(length=32), 3, segment, similar)


def pairs(index: TokenIndex, tokenizer: Path) -> PairExamples:
    given = [Pair("ba de", "de ba"), Pair("ki", "ki lo mu"), Pair("na po ri", "ri")]
    loaded = load_tokenizer(tokenizer)
    return PairExamples(given, loaded, loaded, PairLimits(), Spelling.load(tokenizer))


PERMUTATION = PermutationConfig(predict=4)
KINDS: dict[str, tuple[Callable[[TokenIndex, Path], Any], Any]] = {
    "packed": (lambda index, _: PackedSequences(index, 16), examples_at),
    "lanes": (lambda index, _: Lanes(PackedSequences(index, 8), 4), in_order),
    "random lanes": (lambda index, _: RandomLanes(PackedSequences(index, 1), 4, 8, 3), in_order),
    "lanes of an array": (lambda index, _: Lanes(ArrayPieces(np.arange(400), 8), 4), in_order),
    "permuted": (lambda index, _: Permuted(PackedSequences(index, 16), 16, PERMUTATION, 3), numbered_by_epoch),
    "permuted lanes": (
        lambda index, _: Permuted(Lanes(PackedSequences(index, 16), 4), 16, PERMUTATION, 3, lanes=True),
        in_order,
    ),
    "masked": (masked, numbered_by_epoch),
    "masked by similar tokens": (
        lambda index, folder: masked(index, folder, hidden_by="similar", fate="word", chinese_words=True),
        numbered_by_epoch,
    ),
    "pairs": (pairs, None),
}


@pytest.mark.parametrize("name", KINDS)
def test_examples_sent_to_another_process_are_the_same(masked_index: tuple[TokenIndex, Path], name: str) -> None:
    make, order = KINDS[name]
    examples = make(*masked_index)
    steps = Steps(examples, order or examples.order, 4, 3, seed=5)
    before = steps[1]  # what is remembered is not sent
    sent = pickle.loads(pickle.dumps(steps))  # noqa: S301 as multiprocessing does
    assert sent.examples.fingerprint == examples.fingerprint
    for step in (1, 0, len(examples) // 4 + 1):
        ours, theirs = steps[step], sent[step]
        assert np.array_equal(ours.chosen, theirs.chosen)
        for a, b in zip(ours.parts, theirs.parts, strict=True):
            assert a.keys() == b.keys()
            assert all(torch.equal(a[key], b[key]) and a[key].dtype == b[key].dtype for key in a)
    assert np.array_equal(before.chosen, sent[1].chosen)


def test_tokens_on_disk_are_mapped_again_not_sent(shards: list[Path]) -> None:
    index = build_index(shards)
    opened = index.open()
    sent = pickle.loads(pickle.dumps(opened))  # noqa: S301 as multiprocessing does
    assert len(pickle.dumps(opened)) < 1000 < sum(shard.nbytes for shard in opened)
    assert all(isinstance(shard, np.memmap) for shard in sent)
    assert all(np.array_equal(a, b) for a, b in zip(opened, sent, strict=True))


def test_examples_say_where_their_text_is_from(shards: list[Path], masked_index: tuple[TokenIndex, Path]) -> None:
    index = build_index(shards)
    packed = PackedSequences(index, 16)
    first = index.document_id(0)
    assert packed.where(0).startswith(f"documents '{first}'")
    lengths = np.cumsum(index.length.astype(np.int64) + 1)
    for number in (3, 40, len(packed) - 1):
        begun, ends = int(np.searchsorted(lengths, 16 * number, "left")), 16 * number + 17
        inside = range(begun, min(int(np.searchsorted(lengths, ends - 1, "left")) + 1, len(index)))
        named = packed.where(number)
        assert all(repr(index.document_id(n)) in named for n in inside[1:4])
    lanes = Lanes(packed, 4)
    assert lanes.where(4 * 2 + 3) == f"lane 3, step 2, {packed.where(3 * lanes.steps + 2)}"
    assert Permuted(packed, 16, PERMUTATION, 0).where(len(packed) + 1) == packed.where(1)
    examples = masked(*masked_index)
    assert examples.where(0).startswith("documents '0000")
    assert pairs(*masked_index).where(1) == "pair 1"


def test_the_setting_changes_no_key() -> None:
    from lm.models.gpt_config import GPTConfig
    from lm.pretraining import GPTPretraining
    from tasks.pretrain import PretrainRequest

    settings = GPTPretraining(model=GPTConfig(layers=1, width=8, heads=1, context=8, vocab=16))
    few, many = (
        PretrainRequest(settings=settings, train=settings.resolve(TrainConfig(steps=1, data_workers=n))).key_material()
        for n in (0, 4)
    )
    assert few == many
