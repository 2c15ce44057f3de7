"""Thousands of damaged files, each read as its sound original would be: a typed error, and nothing else happens.

    python -m benchmarks.corrupted_files --count 10000 --seed 0

For every case a small folder (a checkpoint, an artifact, a shard, a vocabulary, a model) is damaged in one file by a
seeded generator and read in a process of its own kind: its memory is measured and bounded, and an audit hook of the
interpreter sees any code that is run, program that is started, connection that is made or file that is written outside.

What must hold, or the exit status is 1: no crash; no error but a typed one that names the file or folder; files under a
manifest are never read with other content; nothing run, started, connected or written; memory within its bound.
"""

import argparse
import json
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

MEMORY_MB = 512  # that one case may add
CASE_SECONDS = 120  # a process that says nothing for so long hangs
FORBIDDEN = {
    "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "subprocess.Popen", "pickle.find_class",
    "marshal.loads", "socket.connect", "ctypes.dlopen", "code.__new__", "os.remove", "shutil.rmtree",
}  # fmt: skip
GOOD = ("typed error", "read as before", "read as another")


def main() -> None:
    """Run and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--worker", type=int, default=None, help=argparse.SUPPRESS)  # the first case that it does
    given = parser.parse_args()
    if given.worker is not None:
        work(given.worker, given.count, given.seed)
        return
    started = time.perf_counter()
    cases = list(run(given.count, given.seed))
    failures = show(cases, time.perf_counter() - started)
    sys.exit(1 if failures else 0)


def run(count: int, seed: int) -> Iterator[dict[str, Any]]:
    """What became of each case; a process that dies costs the case that it died of, and another goes on behind it."""
    number = 0
    while number < count:
        command = [sys.executable, "-m", "benchmarks.corrupted_files", "--worker", str(number), "--count", str(count)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "RUST_BACKTRACE": "0", "PYTHONFAULTHANDLER": "1"}
        with tempfile.TemporaryFile("w+") as errors:
            worker = subprocess.Popen(
                [*command, "--seed", str(seed)], env=environment, stdout=subprocess.PIPE, stderr=errors, text=True
            )
            assert worker.stdout is not None
            for line in worker.stdout:
                case = json.loads(line)
                yield case
                number = case["number"] + 1
            if worker.wait() == 0:
                return
            errors.seek(0)
            said = errors.read()
            if number == 0 and not said:
                raise RuntimeError("the process that reads ended before its first case")
            kind, file = "?", "?"
            yield {"number": number, "kind": kind, "file": file, "how": "?", "outcome": f"crash {worker.returncode}",
                   "said": said[-2000:], "mb": 0.0, "seconds": 0.0}  # fmt: skip
            number += 1


def work(first: int, count: int, seed: int) -> None:
    """Do the cases from `first` on, a line of JSON for each."""
    from benchmarks._corrupted_kinds import make_kinds
    from benchmarks._corruption import damaged

    room = Path("/dev/shm") if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="corrupted-", dir=room) as name:
        root = Path(name)
        kinds = make_kinds(root / "sound")
        # JSON is looked at for these, and their codecs are imported then
        for wide in ("utf-16", "utf-16-be", "utf-16-le", "utf-32", "utf-32-be", "utf-32-le"):
            json.loads("[]".encode(wide))
        sound = {}
        for kind in kinds:  # also: everything is imported and compiled before the hook listens
            sound[kind.name] = kind.read(shutil.copytree(kind.folder, root / "case"))
            shutil.rmtree(root / "case")
        watch = Watch(root)
        limit = _status("VmSize") * 1024 + (4 * MEMORY_MB << 20)
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        for number in range(first, count):
            draw = random.Random(f"{seed} {number}")
            kind = kinds[number % len(kinds)]
            folder = shutil.copytree(kind.folder, root / "case")
            file = draw.choice(kind.files)
            other = (kind.folder / draw.choice(kind.files)).read_bytes()
            made, how = damaged((folder / file).read_bytes(), draw, other)
            (folder / file).write_bytes(made)
            if kind.reseal is not None:
                kind.reseal(folder)
            outcome, said, mb, seconds = watch.read(kind, folder, sound[kind.name])
            line = {"number": number, "kind": kind.name, "file": file, "how": how, "outcome": outcome, "said": said}
            print(json.dumps({**line, "mb": mb, "seconds": round(seconds, 4)}), flush=True)
            shutil.rmtree(folder)


class Watch:
    """Reads a case and says what became of it."""

    def __init__(self, root: Path) -> None:
        self.root, self.seen, self.on = str(root), [], False  # type: ignore[var-annotated]
        sys.addaudithook(self._hear)

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.on:
            return
        if event in FORBIDDEN and not str(arguments[0]).startswith(self.root):
            self.seen.append(f"{event} {arguments!r}"[:300])
        elif event == "exec" and arguments[0].co_filename.startswith("<"):
            self.seen.append(f"exec of {arguments[0].co_filename}")
        elif event == "open" and isinstance(arguments[0], str) and _writes(arguments) and not self._ours(arguments[0]):
            self.seen.append(f"write to {arguments[0]}"[:300])

    def _ours(self, path: str) -> bool:
        return os.path.realpath(path).startswith((self.root, "/dev/null", "/proc"))

    def read(self, kind: Any, folder: Path, sound: Any) -> tuple[str, str, float, float]:
        """(outcome, message, megabytes that it took, seconds)."""
        from lm.tokenizers.panics import TokenizerFault
        from lm.train.checkpoint import CorruptCheckpoint
        from tasks.store import StoreError

        self.seen.clear()
        before = _reset_peak()
        started = time.perf_counter()
        said, error = "", None
        self.on = True
        try:
            found = kind.read(folder)
        except BaseException as caught:  # noqa: BLE001  a panic of Rust is no Exception
            error = caught
        self.on = False
        seconds, mb = time.perf_counter() - started, (_status("VmHWM") - before) / 1024
        if error is None:
            outcome = "read as before" if found == sound else "READ WRONGLY" if kind.sealed else "read as another"
        else:
            said = f"{type(error).__name__}: {error}"[:400]
            named = isinstance(error, ValueError | FileNotFoundError) and str(folder) in str(error)
            known = isinstance(error, CorruptCheckpoint | StoreError | TokenizerFault)
            outcome = "typed error" if named or known else "UNTYPED ERROR"
        if self.seen:
            outcome, said = "DID SOMETHING", "; ".join(self.seen)
        elif mb > MEMORY_MB:
            outcome = "TOO MUCH MEMORY"
        return outcome, said, round(mb, 1), seconds


def show(cases: list[dict[str, Any]], seconds: float) -> int:
    """Print what became of the cases. Returns how many of them are failures."""
    kinds = sorted({case["kind"] for case in cases})
    print(f"{'':<24}{'cases':>8}{'typed':>8}{'same':>8}{'other':>8}{'failed':>8}{'peak MB':>9}{'longest s':>11}")
    for kind in [*kinds, "all"]:
        of = [case for case in cases if kind in (case["kind"], "all")]
        count = Counter(case["outcome"] for case in of)
        failed = len(of) - sum(count[good] for good in GOOD)
        figures = (len(of), *(count[good] for good in GOOD), failed)
        longest, peak = max(c["seconds"] for c in of), max(c["mb"] for c in of)
        print(f"{kind:<24}{''.join(f'{n:>8,}' for n in figures)}{peak:>9.1f}{longest:>11.2f}")
    failures = [case for case in cases if case["outcome"] not in GOOD]
    for case in failures[:20]:
        print(json.dumps(case))
    print(f"{len(cases):,} damaged files in {seconds:.0f} s, {len(failures)} failures")
    return len(failures)


def _writes(arguments: tuple[Any, ...]) -> bool:
    flags = arguments[2] if len(arguments) > 2 and isinstance(arguments[2], int) else 0
    return bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))


def _status(name: str) -> int:
    """A figure of /proc/self/status, in KiB."""
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith(f"{name}:"))


def _reset_peak() -> int:
    """Begin to measure the peak of resident memory anew. Returns what is resident now, in KiB."""
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")
    return _status("VmRSS")


if __name__ == "__main__":
    main()
