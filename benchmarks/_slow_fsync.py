"""The command line as it is, except that every fsync takes a third of a second longer where that is asked for."""

import os
import time

from benchmarks.kill_and_resume import SLOW_FSYNC

if os.environ.get(SLOW_FSYNC):
    fsync = os.fsync

    def slow_fsync(descriptor: int) -> None:
        """Leave a half-written file on disk for long enough to be found."""
        time.sleep(0.3)
        fsync(descriptor)

    os.fsync = slow_fsync  # type: ignore[assignment]

if __name__ == "__main__":
    from flows.cli import main

    main()
