"""Faults of one machine, as many as asked for: kills, full disks, stores, clocks, bits, memory (benchmarks.chaos)."""

import math
import random
import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

from tasks.lineage.gc_remote import collect_remote, find_remote_garbage
from tasks.storage.shared import SharedStore, store_at
from tasks.store import Store
from tests.asked import Answer
from tests.chaos.bits import flip_in_every_artifact, mended
from tests.chaos.checks import problems
from tests.chaos.kills import forget, killed
from tests.chaos.mill import LEASE_SECONDS
from tests.chaos.small_disk import can_mount, small_disk, used

Mill = Callable[..., Answer]
POOLED = (
    *("ingest", "normalize", "signals", "signatures", "judge", "pii", "decide", "filter_corpus", "profile"),
    *("tokenize", "labelled", "report"),
)
"""The stages of the pipeline whose parts go to a pool, if a few light ones do."""
SLOW = {"slow_shards": {"seconds": 0.03}}
UNTIL = [math.inf]
"""When a fault shall begin no further round, by `time.monotonic()`."""


class Figures:
    """What was done and what was wrong with it."""

    def __init__(self, mill: Mill, root: Path) -> None:
        self.mill, self.root = mill, root
        self.done = 0
        self.ended: Counter[str] = Counter()
        self.wrong: list[str] = []

    @cache  # noqa: B019 lives as long as the fault
    def alone(self, scope: str) -> Answer:
        """An undisturbed run."""
        return self.mill(self.root / f"alone-{scope}", scope=scope)

    def note(self, answer: Answer, scope: str, known: tuple[str, ...] = ()) -> bool:
        """Count how an attempt ended. Returns whether it came to its end."""
        if answer["left"]:
            self.wrong.append(f"left: {answer['left']}")
        if answer["exit"] == 0:
            self.ended["completed"] += 1
            if answer["digests"] != self.alone(scope)["digests"]:
                self.wrong.append("other digests")
            return True
        said = str(answer.get("failed", f"signal {answer['signal']}" if answer["signal"] else f"exit {answer['exit']}"))
        self.ended[said.split(":")[0]] += 1
        if known and not said.startswith(known):
            self.wrong.append(said[:300])
        return False

    def last(self, home: Path, scope: str, **request: Any) -> None:
        """The run that must end well, and what must hold after it."""
        answer = self.mill(home, scope=scope, **request)
        if not self.note(answer, scope):
            self.wrong.append(f"the last run: {answer.get('failed')}")
        self.wrong += problems(home / "store")

    def rounds(self, count: int) -> Iterator[int]:
        """So many rounds, by their numbers, or as many as there is time for; one at the least."""
        for number in range(count):
            if number and time.monotonic() > UNTIL[0]:
                return
            yield number
            self.done += 1

    def all(self, **more: Any) -> dict[str, Any]:
        """The figures."""
        return {
            **({"rounds": self.done} if self.done else {}),
            **more,
            "ended": dict(self.ended),
            "wrong": self.wrong[:20],
        }


def kills(mill: Mill, root: Path, seed: int, count: int, scope: str = "all") -> dict[str, Any]:
    """Over every stage of a scope in turn, each built anew for it."""
    figures = Figures(mill, root)
    found = killed(mill, root / "home", figures.alone(scope), seed, count, UNTIL[0], scope=scope)
    figures.wrong += [f"left: {command}" for command in found["left"]]
    figures.note(found["last"], scope)
    figures.last(root / "home", scope)  # what a fine-tuning that diverged has begun stays until the run after it
    signals = Counter(signal.Signals(number).name for _, number in found["landed"])
    stages = len({stage for stage, _ in found["landed"]})
    if found["went_on"] > 0.02 * len(found["landed"]):
        figures.wrong.append(f"{found['went_on']} killed runs came to their end")
    return figures.all(landed=dict(signals), stages=stages, went_on=found["went_on"])


def workers(mill: Mill, root: Path, seed: int, count: int) -> dict[str, Any]:
    """A worker of the pool, in every stage that has one in turn, built anew for it in a mill that is finished."""
    figures, draw = Figures(mill, root), random.Random(seed)
    pooled = {"scope": "all", "workers": 2, "faults": {"all_in_the_pool": {"seconds": 0.2}}}
    home, landed = root / "home", Counter[str]()
    seconds = mill(home, **pooled)["seconds"]
    for number in figures.rounds(count):
        stage = POOLED[number % len(POOLED)]
        forget(stage, home / "store")
        after = draw.random() * min(seconds[stage], 1.0)
        kill = {"signal": draw.choice([9, 15]), "stage": stage, "after": after, "worker": True}
        answer = mill(home, kill=kill, **pooled)
        landed[signal.Signals(kill["signal"]).name] += answer["landed"]
        figures.note(answer, "all", ("WorkerDied: the stage ",))
        figures.last(home, **pooled)
    return figures.all(landed=dict(landed), stages=min(len(POOLED), figures.done))


def twins(mill: Mill, root: Path, seed: int, count: int, scope: str = "chain") -> dict[str, Any]:
    """Three processes, one of them killed somewhere; each part of the work is done once by those that live."""
    figures, draw, landed = Figures(mill, root), random.Random(seed), 0
    stages = stages_of(figures.alone(scope))
    for number in figures.rounds(count):
        stage = draw.choice(list(stages))
        kill = {"signal": draw.choice([9, 15]), "stage": stage, "after": draw.uniform(0, max(0.1, stages[stage]))}
        home = root / f"home-{number}"
        answer = mill(home, scope=scope, twins=2, faults=SLOW, kill=kill)
        landed += answer["landed"]
        built = Counter[str]()
        for other in answer["twins"]:
            if figures.note({**other, "left": answer["left"]}, scope, ("no other end is right",)):
                built.update(label for label, state in other["states"].items() if state == "built")
        if twice := [label for label, often in built.items() if often > 1]:
            figures.wrong.append(f"built twice: {twice}")
        figures.last(home, scope)
        shutil.rmtree(home)
    return figures.all(landed=landed)


def stages_of(answer: Answer) -> dict[str, float]:
    """The stages of a run and the seconds that each took, the first time if there were several."""
    return {answer["stages"][label]: took for label, took in reversed(answer["seconds"].items())}


def machines(mill: Mill, root: Path, seed: int, count: int) -> dict[str, Any]:
    """Three machines with a shared store, one of them killed somewhere; then each of them once more."""
    figures, draw, landed = Figures(mill, root), random.Random(seed), 0
    for number in figures.rounds(count):
        stage = draw.choice(["numbers", "squares", "total"])
        kill = {"signal": draw.choice([9, 15]), "stage": stage, "after": draw.uniform(0, 0.1)}
        folder = root / f"machines-{number}"
        shared: dict[str, Any] = {"store": f"file://{folder}/shared", "apart": True}
        answer = mill(folder, scope="chain", twins=2, faults=SLOW, kill=kill, **shared)
        landed += answer["landed"]
        built = Counter[str]()
        for other in answer["twins"]:
            if figures.note({**other, "left": answer["left"]}, "chain", ("no other end is right",)):
                built.update(label for label, state in other["states"].items() if state == "built")
        figures.wrong += [f"built more than once: {label}" for label, times in built.items() if times > 1]
        again = mill(folder, scope="chain", twins=2, **shared)
        for each in (again, *again["twins"]):
            if not figures.note({**each, "left": again["left"]}, "chain"):
                figures.wrong.append(f"one more run: {each.get('failed')}")
        for machine in sorted(folder.glob("machine-*")):
            figures.wrong += problems(machine / "store")
        figures.wrong += _leases_left(store_at(folder / "machine-0" / "store", shared["store"]))
        shutil.rmtree(folder)
    return figures.all(landed=landed)


def _leases_left(store: Store) -> list[str]:
    """Leases that stay on the shared store although garbage is collected there. One that was killed while it held one
    leaves it, where the others found the artifact and had no need of it."""
    assert isinstance(store, SharedStore)
    time.sleep(LEASE_SECONDS)
    collect_remote(store.remote, find_remote_garbage(store.remote, grace_seconds=0.0), keep_runs=5, grace_seconds=0.0)
    return [f"a lease is left: {name}" for name in store.remote.objects.listing("leases")]


def disk(mill: Mill, root: Path, seed: int, count: int) -> dict[str, Any]:
    """Room for a few kilobytes more each time; the whole pipeline, so that every kind of write meets the end of it."""
    if not can_mount():
        return {"wrong": [], "skipped": "only root may mount a small disk"}
    figures, draw = Figures(mill, root), random.Random(seed)
    full, number = 0, 0
    while full < count and time.monotonic() < UNTIL[0]:
        folder = root / f"disk-{number}"
        number += 1
        with small_disk(folder, 64 * 1024) as resize:
            done = False
            while not done and full < count and time.monotonic() < UNTIL[0]:
                resize(used(folder) + draw.randint(4, 600) * 1024)
                done = figures.note(mill(folder / "home", scope="all"), "all", ("DiskFull: the disk is full",))
                full += not done
            resize(512 * 2**20)
            figures.last(folder / "home", "all")
    return figures.all(full=full, disks=number, means="tmpfs")


def store(mill: Mill, root: Path, seed: int, count: int, scope: str = "chain") -> dict[str, Any]:
    """Three machines on a store of which up to half of the operations go wrong, then on the same when it is well.

    What is slow takes some milliseconds more, some tenths of a second, or up to five seconds.
    """
    figures, draw = Figures(mill, root), random.Random(seed)
    for number in figures.rounds(count):
        folder = root / f"store-{number}"
        for rate in (draw.uniform(0.1, 0.5), draw.uniform(0.1, 0.5), 0.0):
            slowest = draw.choice([0.005, 0.1, 5.0])
            faults = {"flaky_store": {"seed": draw.randrange(2**31), "rate": rate, "slowest": slowest}}
            home = folder / f"machine-{draw.randrange(3)}"
            answer = mill(home, scope=scope, store=f"flaky://{folder}/shared", faults=faults)
            if not figures.note(answer, scope, ("ObjectError: cannot", "StoreError: ")) and not rate:
                figures.wrong.append(str(answer.get("failed")))
        figures.last(folder / "fresh", scope, store=f"file://{folder}/shared")
        shutil.rmtree(folder)
    return figures.all()


def clock(mill: Mill, root: Path, seed: int, count: int) -> dict[str, Any]:
    """Two processes on one store whose clocks jump, one of them killed, on one machine and on a shared store."""
    figures, draw = Figures(mill, root), random.Random(seed)
    for number in figures.rounds(count):
        folder = root / f"clock-{number}"
        jumps = {"clock_jumps": {"seed": draw.randrange(2**31), "largest": draw.choice([60.0, 7200.0, 200_000.0])}}
        shared = {"store": f"file://{folder}/shared"} if number % 2 else {}
        stage = draw.choice(["numbers", "squares", "total"])
        kill = {"signal": 9, "stage": stage, "after": draw.uniform(0, 0.1)}
        answer = mill(folder / "home", scope="chain", twins=1, faults={**jumps, **SLOW}, kill=kill, **shared)
        figures.note({**answer["twins"][0], "left": answer["left"]}, "chain", ("no other end is right",))
        figures.last(folder / "home", "chain", faults=jumps, **shared)
        shutil.rmtree(folder)
    return figures.all()


def bits(mill: Mill, root: Path, seed: int, count: int, scope: str = "all") -> dict[str, Any]:
    """A bit in one file of every artifact of a scope, size and time as they were."""
    figures, draw = Figures(mill, root), random.Random(seed)
    whole = Path(figures.alone(scope)["home"])
    flipped = by_verify = 0
    for number in figures.rounds(count):
        home = shutil.copytree(whole, root / f"home-{number}", symlinks=True)
        flipped += flip_in_every_artifact(home / "store", draw)
        answers, unsound = mended(mill, home, scope=scope)
        by_verify += unsound
        for answer in answers:
            figures.note(answer, scope, ("no other end is right",))
        figures.last(home, scope)  # what a fine-tuning that diverged has begun stays until the run after it
        shutil.rmtree(home)
    return figures.all(flipped=flipped, left_to_verify=by_verify)


def memory(mill: Mill, root: Path, seed: int, count: int) -> dict[str, Any]:
    """From a few megabytes of address space to enough, on one home after the other: of the process, then of the two
    workers of its pool."""
    figures, draw = Figures(mill, root), random.Random(seed)
    pooled = {"scope": "corpus", "workers": 2}
    for number in figures.rounds(count):
        home = root / f"home-{number}"
        figures.note(mill(home, scope="all", faults={"little_memory": {"megabytes": draw.randint(4, 1200)}}), "all")
        figures.last(home, "all")
        shutil.rmtree(home)
        little = {"all_in_the_pool": {}, "little_memory_in_workers": {"megabytes": draw.randint(4, 1200)}}
        figures.note(
            mill(home, faults=little, **pooled), "corpus", ("OutOfMemory: the stage ", "WorkerDied: the stage ")
        )
        figures.last(home, **pooled)
        shutil.rmtree(home)
    return figures.all()
