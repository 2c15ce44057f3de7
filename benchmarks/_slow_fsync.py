"""The command line as it is, except that fsync takes a third of a second longer for files of which the path holds what
KILL_AND_RESUME_SLOW_FSYNC names. Linux only: the path of an open file is read from /proc."""

import os
import time

from benchmarks.kill_and_resume import SLOW_FSYNC

if named := os.environ.get(SLOW_FSYNC):
    fsync = os.fsync

    def slow_fsync(descriptor: int) -> None:
        """Leave a half-written file on disk for long enough to be found."""
        if named in os.readlink(f"/proc/self/fd/{descriptor}"):
            time.sleep(0.3)
        fsync(descriptor)

    os.fsync = slow_fsync  # type: ignore[assignment]

if __name__ == "__main__":
    from flows.cli.main import main

    main()
