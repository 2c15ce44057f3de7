"""Want of memory is said with the stage and with what to do, whoever says it; other errors stay themselves."""

import errno
import os

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from data_quality.damaged import DamagedFile
from tasks.running.memory import OutOfMemory, enough_memory
from tasks.running.pool import WorkerDied

WANTING = [
    MemoryError(),
    pa.ArrowMemoryError("malloc of size 8589934592 failed"),
    OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)),
    duckdb.OutOfMemoryException("Out of Memory Error: could not allocate block of size 256.0 KiB"),
    RuntimeError("can't start new thread"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory: you tried"),
    RuntimeError("std::bad_alloc"),
    ImportError("libarrow.so.2300: failed to map segment from shared object"),
]


@pytest.mark.parametrize("error", WANTING, ids=lambda error: f"{type(error).__name__} {error}"[:40])
def test_want_of_memory_names_the_stage_and_says_what_to_do(error: Exception) -> None:
    said = r"^the stage dedupe has too little memory \(.+\)\. What is finished is kept"
    # an input that is made again inside another stage
    with pytest.raises(OutOfMemory, match=said), enough_memory("report"), enough_memory("dedupe"):
        raise error


def test_it_is_found_behind_what_was_made_of_it() -> None:
    error = ValueError("a.parquet: it could not be read")
    error.__cause__ = MemoryError()
    said = r"\(a\.parquet: it could not be read: MemoryError\).*--set resources\.workers=1"
    with pytest.raises(OutOfMemory, match=said), enough_memory("signals"):
        raise error


def test_a_worker_sends_no_more_than_the_text_of_what_led_to_it() -> None:
    with pytest.raises(OutOfMemory, match=r"\(a\.parquet: malloc of size 64 failed: copy it"), enough_memory("signals"):
        raise DamagedFile("a.parquet: malloc of size 64 failed: copy it anew")
    error = ValueError("no kernel")
    error.__cause__ = ImportError('"""\nTraceback (most recent call last):\nOSError: Cannot allocate memory\n"""')
    with pytest.raises(OutOfMemory, match=r"\(no kernel: OSError: Cannot allocate memory\)"), enough_memory("signals"):
        raise error


OF_A_GPU = (
    *("CUDA out of memory. Tried to allocate", "CUDA error: out of memory", "HIP out of memory. Tried"),
    *("HIP error: out of memory", "XPU out of memory. Tried", "MPS backend out of memory (MPS allocated: 1 GB)"),
)


@pytest.mark.parametrize(
    "error",
    [ValueError("no memory of that"), OSError(errno.ENOSPC, "full"), *(RuntimeError(said) for said in OF_A_GPU)],
    ids=str,
)
def test_other_errors_stay_themselves(error: Exception) -> None:
    with pytest.raises(type(error)) as raised, enough_memory("dedupe"):
        raise error
    assert raised.value is error


def test_a_killed_worker_is_said_with_its_stage_once() -> None:
    said = r"^the stage ingest: a worker process was killed$"
    with pytest.raises(WorkerDied, match=said), enough_memory("report"), enough_memory("ingest"):
        raise WorkerDied("a worker process was killed")


def test_what_numpy_cannot_have() -> None:
    with pytest.raises(OutOfMemory, match="Unable to allocate"), enough_memory("bands"):
        np.zeros(1 << 50)
