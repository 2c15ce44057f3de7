"""A store that misbehaves by a seeded plan: errors, time-outs, slowness, torn uploads and downloads, lost answers."""

import random
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import fsspec
from fsspec.spec import AbstractFileSystem

PLAN: dict[str, Any] = {"draw": random.Random(0), "rate": 0.0, "slowest": 0.0, "troubles": 0}
"""Of this process: what the next operation does is drawn from it, and how many have gone wrong."""


class Passing(OSError):
    """What a store answers when it cannot just now."""


def register(seed: int, rate: float, slowest: float) -> None:
    """Make `flaky:///folder` a store below that folder, of which a share of the operations go wrong.

    Those that are slow take up to `slowest` seconds more, most of them far less.
    """
    PLAN.update(draw=random.Random(seed), rate=rate, slowest=slowest)
    fsspec.register_implementation("flaky", FlakyFileSystem, clobber=True)


class FlakyFileSystem(AbstractFileSystem):
    """A folder as an object store: whole objects, a conditional put, no rename, and trouble."""

    protocol = "flaky"
    cachable = False

    def cat_file(self, path: str, start: Any = None, end: Any = None, **options: Any) -> bytes:
        """An object's content."""
        return bytes(self._done("read", lambda: _at(path).read_bytes()))

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **options: Any) -> None:
        """Write an object; with mode `create` only if it is not there."""

        def write(content: bytes) -> None:
            _at(path).parent.mkdir(parents=True, exist_ok=True)
            with _at(path).open("xb" if mode == "create" else "wb") as handle:
                handle.write(content)

        self._done("write", lambda: write(value), torn=lambda: write(value[: len(value) // 2]))

    def put_file(self, lpath: str, rpath: str, **options: Any) -> None:
        """Upload a file."""

        def write(content: bytes) -> None:
            _at(rpath).parent.mkdir(parents=True, exist_ok=True)
            _at(rpath).write_bytes(content)

        content = Path(lpath).read_bytes()
        self._done("write", lambda: write(content), torn=lambda: write(content[: len(content) // 2]))

    def get_file(self, rpath: str, lpath: str, **options: Any) -> None:
        """Download a file; a torn one looks whole to who asked for it."""
        content = _at(rpath).read_bytes()
        if self._done("download", lambda: content) and PLAN["draw"].random() < PLAN["rate"] / 4:
            content = content[: len(content) // 2]
        Path(lpath).write_bytes(content)

    def rm_file(self, path: str) -> None:
        """Remove an object."""
        self._done("remove", lambda: _at(path).unlink())

    def info(self, path: str, **options: Any) -> dict[str, Any]:
        """Size and time of an object."""
        found = _at(path).stat()
        written = datetime.fromtimestamp(found.st_mtime, UTC)
        return {"name": path, "size": found.st_size, "type": "file", "LastModified": written}

    def find(
        self, path: str, maxdepth: Any = None, withdirs: bool = False, detail: bool = False, **options: Any
    ) -> Any:
        """Every object below a prefix."""

        def listed() -> dict[str, Any]:
            names = (str(p) for p in sorted(_at(path).rglob("*")) if p.is_file())
            return {name: self.info(name) for name in names}

        found = self._done("list", listed)
        return found if detail else list(found)

    def _done(self, what: str, do: Callable[[], Any], torn: Callable[[], Any] | None = None) -> Any:
        """Do it as the plan says: well, late, not at all, by half, or without an answer."""
        draw = PLAN["draw"]
        if draw.random() >= PLAN["rate"]:
            return do()
        PLAN["troubles"] += 1
        trouble = draw.choice(("slow", "error", "time-out", "torn", "lost"))
        if trouble == "slow":
            time.sleep(PLAN["slowest"] * draw.random() ** 4)  # a few by far the slowest, as it is with networks
            return do()
        if trouble == "torn" and torn is not None:
            torn()
        elif trouble == "lost":
            do()
        if trouble == "time-out":
            raise TimeoutError(f"no answer to {what} within a minute")
        raise Passing(f"503: {what} failed ({trouble})")


def _at(path: str) -> Path:
    return Path("/" + path.lstrip("/"))
