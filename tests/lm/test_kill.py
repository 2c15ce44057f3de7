"""SIGKILL at moments drawn at random, some of them inside the writing of a checkpoint: every kind of model ends in the
same bits, the same metrics, in MLflow too, and the same samples, however many processes make its batches, and none of
those is left."""

import random
import signal
from functools import cache
from pathlib import Path

import pytest
from mlflow import MlflowClient

from tasks.store import Store
from tasks.tracking import shipper
from tests.asked import Answer, Ask
from tests.tasks.journals import Pipeline, points, runs

STEPS = 20
TIMES = 10

BOTH = (1, 2)
WORKERS: dict[str, tuple[tuple[int, ...], ...]] = {
    **dict.fromkeys(["gpt", "bert"], ((0,), BOTH)),
    **dict.fromkeys(["gpt1", "gpt3", "modern", "elman", "gru", "lstm", "awd", "nnlm", "elmo", "xl"], (BOTH,)),
    **dict.fromkeys(["roberta", "albert", "spanbert", "macbert", "xlnet", "xlnet_memory"], (BOTH,)),
    **dict.fromkeys(["seq2seq", "transformer"], (BOTH,)),
    # The text of word vectors is in memory, and a chunk of it goes into their own loop: there is nothing to prepare.
    **dict.fromkeys(["word2vec", "glove"], ((0,),)),
}
"""Of each kind, how many data workers its killed runs have, attempt by attempt: with both, five kills come while one
process makes the batches, five while two do, and each attempt goes on from a checkpoint of the other way."""

# A checkpoint flushes its four files, its folder and the parent, which it is renamed into in between; then an older one
# is removed.
WRITES = [*(f"fsync:{n}" for n in range(1, 7)), "replace:1", "remove:1", "remove:2"]


def drawn_moments(kind: str, workers: tuple[int, ...]) -> tuple[str, ...]:
    """Ten steps in rising order, three of the first seven replaced by a moment of writing a checkpoint."""
    draw = random.Random(f"{kind} {workers}")
    moments = [f"step:{n}" for n in sorted(draw.sample(range(1, STEPS + 1), TIMES))]
    for place in draw.sample(range(7), 3):
        moments[place] = draw.choice(WRITES)
    return tuple(moments)


@cache
def run(
    ask: Ask, kind: str, moments: tuple[str, ...] = (), workers: tuple[int, ...] = (0,), start: str = "fork"
) -> Answer:
    """What `tests.lm.fork_server` answers, asked once."""
    return ask(kind=kind, moments=moments, workers=workers, start=start)


def assert_same(killed: Answer, undisturbed: Answer, moments: tuple[str, ...]) -> None:
    assert killed["signals"] == [int(signal.SIGKILL)] * len(moments) + [0], moments
    assert undisturbed["signals"] == [0]
    assert killed["model"] == undisturbed["model"]
    points = [(key, step) for key, step, _ in killed["metrics"]]
    assert len(points) == len(set(points)) > 0
    assert sorted(killed["metrics"]) == sorted(undisturbed["metrics"])
    # a sample may be taken again, and is then the same
    assert {tuple(sample) for sample in killed["samples"]} == {tuple(sample) for sample in undisturbed["samples"]}
    assert killed["left"] == killed["broken"] == []


def told_mlflow(client: MlflowClient, store: Store, journaled: list[str]) -> list[tuple[str, int, float]]:
    """The history of a stage's run in MLflow when what each attempt journaled is sent before the next one begins; the
    shipper is killed once, after sending and before it has noted so."""
    pipeline = Pipeline(store)
    for number, lines in enumerate(journaled):
        notes = pipeline.stage("pretrain", "k" * 32)
        notes.close()
        if number == len(journaled) // 2:
            (notes.path.parent / shipper.CURSOR).unlink()
        with notes.path.open("a") as file:
            file.write(lines)
        shipper.ship_run(store, pipeline.directory, client)
    stage = runs(client)["pretrain"]
    return [(name, *point) for name in stage.data.metrics for point in points(client, stage, name)]


@pytest.mark.parametrize(
    ("kind", "workers"),
    [
        pytest.param(kind, counts, marks=[] if kind == "gpt" else pytest.mark.heavy)
        for kind, every in WORKERS.items()
        for counts in every
    ],
)
def test_killed_ten_times_it_ends_in_the_same_bits_metrics_and_samples(
    fork_server: Ask, client: MlflowClient, tmp_path: Path, kind: str, workers: tuple[int, ...]
) -> None:
    moments = drawn_moments(kind, workers)
    killed, undisturbed = run(fork_server, kind, moments, workers), run(fork_server, kind)
    assert_same(killed, undisturbed, moments)
    if workers == WORKERS[kind][-1]:
        told = told_mlflow(client, Store(tmp_path / "store"), killed["journaled"])
        assert len({(name, step) for name, step, _ in told}) == len(told)
        assert sorted(row for row in told if "tokens_per_second" not in row[0]) == sorted(
            (key, step, value) for key, step, value in undisturbed["metrics"]
        )


@pytest.mark.parametrize(
    ("kind", "moments"),
    [
        ("gpt", ("fsync:1", "fsync:5", "fsync:6", "fsync:9")),
        ("gpt", ("replace:1", "replace:3", "remove:2", "remove:6")),
        ("awd", ("fsync:5", "replace:2", "remove:3")),
        ("word2vec", ("fsync:3", "fsync:6", "fsync:7", "replace:1", "replace:2", "remove:2")),
    ],
)
def test_killed_around_each_call_that_writes_a_checkpoint(
    fork_server: Ask, kind: str, moments: tuple[str, ...]
) -> None:
    assert_same(run(fork_server, kind, moments), run(fork_server, kind), moments)


def test_killed_with_workers_started_as_users_have_them(fork_server: Ask) -> None:
    """Spawned: they import torch, and are sent what they read."""
    assert_same(run(fork_server, "gpt", ("step:5",), (1,), "spawn"), run(fork_server, "gpt"), ("step:5",))


def test_every_kind_that_trains_is_killed() -> None:
    from lm.pretrain import RECIPES
    from tests.lm.killed_runs import KINDS

    assert set(WORKERS) == set(KINDS)
    made = {settings["model"]["kind"] for kind in KINDS.values() for settings in [kind.args[-1]] if "model" in settings}
    assert made | {"bert"} >= set(RECIPES)
