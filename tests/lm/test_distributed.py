"""Several processes that share a training: the numbers of one, whatever their number, also after a stop or a kill."""

import json
import math
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests.asked import Ask

pytestmark = pytest.mark.heavy

TRAIN = {"steps": 5, "eval_interval": 3, "sample_interval": 4, "checkpoint_interval": 2}
SHARED = 5e-7
"""How far a gradient may be from that of one process, relative to its norm: the rounding of sums in another order."""

DDP = ["gpt", "modern", "awd", "elmo", "bert", "xl"]
FSDP = ["gpt", "xl", "bert"]


@cache
def trained(
    ask: Ask, root: Path, kind: str, name: str, count: int, sharding: str, wanted: str = "{}"
) -> list[dict[str, Any]]:
    """The notes of each rank of a training in root/name; none of them: one process, without ranks."""
    settings = {"train": TRAIN, "gradients": True, **json.loads(wanted)}
    arguments = [kind, str(root / name), count, sharding, settings]
    notes: list[dict[str, Any]] = ask(call="tests.lm.distributed_cases:shared", arguments=arguments)["returned"]
    return notes


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shared")


def model(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model/model.safetensors")


def distance(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> float:
    """|a - b| / |a| over all tensors."""
    assert a.keys() == b.keys()
    difference = sum(float((a[name].double() - b[name].double()).square().sum()) for name in a)
    return math.sqrt(difference / sum(float(t.double().square().sum()) for t in a.values()))


def figures(notes: list[dict[str, Any]], what: str) -> list[Any]:
    return [
        [step, {name: value for name, value in said.items() if name != "tokens_per_second"}]
        for step, said in notes[0][what]
    ]


def read(notes: list[dict[str, Any]]) -> dict[str, list[int]]:
    """The examples of each step, those of all ranks one behind the other."""
    return {step: [number for rank in notes for number in rank["read"][step]] for step in notes[0]["read"]}


@pytest.mark.parametrize("kind", DDP)
def test_two_ranks_with_ddp_are_one_process_to_the_bit(fork_server: Ask, root: Path, kind: str) -> None:
    """Micro-batches are equal here, and a sum of two is the same in either order."""
    alone = trained(fork_server, root, kind, f"{kind}-1", 0, "ddp")
    both = trained(fork_server, root, kind, f"{kind}-2", 2, "ddp")
    assert read(both) == read(alone)
    for update in range(TRAIN["steps"]):
        name = f"gradients-{update}.safetensors"
        assert distance(load_file(root / f"{kind}-1" / name), load_file(root / f"{kind}-2" / name)) == 0
    for file in ("model.safetensors", "config.json"):
        assert (root / f"{kind}-1/model" / file).read_bytes() == (root / f"{kind}-2/model" / file).read_bytes()
    assert figures(both, "evaluations") == figures(alone, "evaluations")
    assert both[0]["samples"] == alone[0]["samples"]
    for (step, one), (same, two) in zip(figures(alone, "metrics"), figures(both, "metrics"), strict=True):
        assert step == same
        assert two == pytest.approx(one, rel=1e-6)  # a loss is summed in fp32 by one process, in fp64 over ranks
    assert both[1]["metrics"] == both[1]["evaluations"] == both[1]["samples"] == []


@pytest.mark.parametrize("kind", FSDP)
def test_two_ranks_with_fsdp_are_one_process_but_for_rounding(fork_server: Ask, root: Path, kind: str) -> None:
    alone = trained(fork_server, root, kind, f"{kind}-1", 0, "ddp")
    both = trained(fork_server, root, kind, f"{kind}-2f", 2, "fsdp")
    assert read(both) == read(alone)
    for update in range(TRAIN["steps"]):
        name = f"gradients-{update}.safetensors"
        assert distance(load_file(root / f"{kind}-1" / name), load_file(root / f"{kind}-2f" / name)) < SHARED
    assert distance(model(root / f"{kind}-1"), model(root / f"{kind}-2f")) < 1e-5
    for what in ("metrics", "evaluations"):
        for (step, one), (same, two) in zip(figures(alone, what), figures(both, what), strict=True):
            assert step == same
            assert two == pytest.approx(one, rel=1e-5)
    assert both[0]["samples"] == alone[0]["samples"]


@pytest.mark.parametrize(
    ("kind", "first", "then"),
    [
        ("gpt", (2, "ddp"), (0, "ddp")),
        ("gpt", (2, "fsdp"), (4, "ddp")),
        ("xl", (2, "ddp"), (4, "fsdp")),
        ("awd", (0, "ddp"), (2, "ddp")),
    ],
)
def test_another_number_of_ranks_goes_on_in_the_same_order(
    fork_server: Ask, root: Path, kind: str, first: tuple[int, str], then: tuple[int, str]
) -> None:
    """Stopped before step 3 because the last rank, and no other, was asked to. Carried states come along."""
    alone = trained(fork_server, root, kind, f"{kind}-1", 0, "ddp")
    name = f"{kind}-{first}-{then}"
    last = max(0, first[0] - 1)
    began = trained(fork_server, root, kind, name, *first, json.dumps({"stop_at": [last, 3], "gradients": False}))
    assert all(rank["interrupted"] for rank in began)
    ended = trained(fork_server, root, kind, name, *then, json.dumps({"gradients": False}))
    assert [rank["resumed_from"] for rank in ended] == [3] * max(1, then[0])
    assert {**read(began), **read(ended)} == read(alone)
    assert set(read(began)).isdisjoint(read(ended))
    assert distance(model(root / f"{kind}-1"), model(root / name)) < 1e-5
    assert figures(began, "metrics") + figures(ended, "metrics") == [
        [step, pytest.approx(said, rel=1e-5)] for step, said in figures(alone, "metrics")
    ]


@pytest.mark.parametrize("sharding", ["ddp", "fsdp"])
def test_stopped_and_resumed_with_as_many_ranks_gives_the_same_bits(
    fork_server: Ask, root: Path, sharding: str
) -> None:
    """Three ranks: a sum of three is another one in another order. One example of six in each of two micro-batches."""
    train = {**TRAIN, "batch": 6, "micro_batch": 1}
    wanted = {"train": train, "gradients": False}
    trained(fork_server, root, "gpt", f"whole-{sharding}", 3, sharding, json.dumps(wanted))
    name = f"broken-{sharding}"
    for stop_at in ([0, 1], [2, 2]):
        notes = trained(fork_server, root, "gpt", name, 3, sharding, json.dumps({**wanted, "stop_at": stop_at}))
        assert all(rank["interrupted"] for rank in notes)
    trained(fork_server, root, "gpt", name, 3, sharding, json.dumps(wanted))
    whole, broken = root / f"whole-{sharding}", root / name
    for file in sorted((whole / "model").iterdir()):
        assert file.read_bytes() == (broken / "model" / file.name).read_bytes()
    final = "checkpoints/step-00000005"
    for file in sorted((whole / final).iterdir()):
        assert file.read_bytes() == (broken / final / file.name).read_bytes()


@pytest.mark.parametrize(("sharding", "rank", "moment"), [("ddp", 1, "fsync:6"), ("fsdp", 0, "replace:4")])
def test_a_rank_killed_while_it_writes_leaves_the_checkpoint_before(
    fork_server: Ask, root: Path, sharding: str, rank: int, moment: str
) -> None:
    wanted = {"gradients": False}
    suffix = {"ddp": "", "fsdp": "f"}[sharding]
    trained(fork_server, root, "gpt", f"gpt-2{suffix}", 2, sharding)
    name = f"killed-{sharding}-{rank}"
    ended = trained(fork_server, root, "gpt", name, 2, sharding, json.dumps({**wanted, "kill": [rank, moment]}))
    assert ended == []
    finished = trained(fork_server, root, "gpt", name, 2, sharding, json.dumps(wanted))
    assert finished[0]["resumed_from"] in (None, 2, 4)
    for file in sorted((root / f"gpt-2{suffix}/model").iterdir()):
        assert file.read_bytes() == (root / name / "model" / file.name).read_bytes()


@pytest.mark.parametrize("sharding", ["ddp", "fsdp"])
def test_the_best_weights_are_handed_back_whole(fork_server: Ask, root: Path, sharding: str) -> None:
    """They are read from a checkpoint in parts, also where each rank has a part of the model."""
    wanted = json.dumps({"train": {**TRAIN, "select": "best"}, "gradients": False})
    alone = trained(fork_server, root, "gpt", "best-1", 0, "ddp", wanted)
    both = trained(fork_server, root, "gpt", f"best-{sharding}", 2, sharding, wanted)
    assert both[0]["best_step"] == alone[0]["best_step"] > 0
    assert distance(model(root / "best-1"), model(root / f"best-{sharding}")) < 1e-5


@pytest.mark.parametrize("sharding", ["ddp", "fsdp"])
def test_all_ranks_roll_back_to_the_snapshot_that_one_process_rolls_back_to(
    fork_server: Ask, root: Path, sharding: str
) -> None:
    guard = {"non_finite": "roll_back", "snapshot_interval": 2}
    wanted = json.dumps({"train": {**TRAIN, "guard": guard}, "bad": [4], "gradients": False})
    alone = trained(fork_server, root, "xl", "back-1", 0, "ddp", wanted)
    both = trained(fork_server, root, "xl", f"back-{sharding}", 2, sharding, wanted)
    assert [(bad["step"], bad["action"], bad["to"]) for bad in alone[0]["mishaps"]] == [(3, "roll_back", 2)]
    for rank in both:
        assert [(bad["step"], bad["action"], bad["to"]) for bad in rank["mishaps"]] == [(3, "roll_back", 2)]
    limit = {"ddp": 0.0, "fsdp": 1e-5}[sharding]
    assert distance(model(root / "back-1"), model(root / f"back-{sharding}")) <= limit


def test_nobody_waits_for_an_answer_that_the_main_rank_failed_to_find(fork_server: Ask, tmp_path: Path) -> None:
    answer = fork_server(call="tests.lm.distributed_cases:asked_in_vain", arguments=[str(tmp_path)])
    said = "step 3 is bad, and there is no good checkpoint"
    assert answer["returned"] == [
        ["NonFiniteError", said, True],
        ["MainRankFailed", f"the main rank failed: NonFiniteError: {said}", True],
    ]


def test_each_rank_has_its_own_makers_of_batches(fork_server: Ask, root: Path) -> None:
    wanted = json.dumps({"data_workers": 1})
    both = trained(fork_server, root, "gpt", "gpt-workers", 2, "ddp", wanted)
    assert figures(both, "metrics") == figures(trained(fork_server, root, "gpt", "gpt-2", 2, "ddp"), "metrics")
