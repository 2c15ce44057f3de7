"""What the main rank tells, line by line of a file, and what is made of it where the training was started."""

import json
import logging
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lm.train.hooks import Hooks

PROGRESS_SECONDS = 0.2  # between two lines that say how far the training is

logger = logging.getLogger("lm.launch")


class Teller:
    """Hooks whose calls become lines; whole ones, also from several threads."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._told = 0.0

    def tell(self, event: str, *said: Any) -> None:
        """One line."""
        os.write(self._file, json.dumps([event, *said], ensure_ascii=False).encode() + b"\n")

    def hooks(self) -> Hooks:
        """To be given to a trainer."""
        return Hooks(
            on_metrics=lambda step, figures: self.tell("metrics", step, figures),
            on_evaluate=lambda step, figures: self.tell("evaluate", step, figures),
            on_sample=lambda step, prompt, text: self.tell("sample", step, prompt, text),
            on_mishap=lambda step, record: self.tell("mishap", step, record),
            on_progress=self._progress,
            on_checkpoint=lambda step, path: self.tell("checkpoint", step, str(path)),
        )

    def _progress(self, step: int, steps: int) -> None:
        if step == steps or time.monotonic() - self._told > PROGRESS_SECONDS:
            self._told = time.monotonic()
            self.tell("progress", step, steps)


class LogLines(logging.Handler):
    """What the library logs on the main rank, told like the rest."""

    def __init__(self, teller: Teller) -> None:
        super().__init__(logging.INFO)
        self._teller = teller

    def emit(self, record: logging.LogRecord) -> None:
        self._teller.tell("log", record.levelno, record.getMessage())


class Listener:
    """Reads what a `Teller` wrote and calls hooks with it, each line once."""

    def __init__(self, path: Path, hooks: Hooks) -> None:
        self._path, self._hooks, self._at = path, hooks, 0
        self.interrupted: str | None = None
        """Why the training stopped before its end, if it was asked to."""

    def listen(self) -> None:
        """Take note of every whole line that is new."""
        for event, *said in self._lines():
            if event == "log":
                logger.log(said[0], "%s", said[1])
            elif event == "interrupted":
                self.interrupted = said[0]
            elif event == "checkpoint":
                self._hooks.on_checkpoint(said[0], Path(said[1]))
            else:
                getattr(self._hooks, f"on_{event}")(*said)

    def _lines(self) -> Iterator[list[Any]]:
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            file.seek(self._at)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                self._at += len(line)
                yield json.loads(line)
