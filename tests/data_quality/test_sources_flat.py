"""Text, JSON Lines and CSV are read in as much memory for a large file as for a small one."""

import csv
import gzip
import io
import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.data_quality.ingesting import zstd
from tests.data_quality.test_sources_streams import ref

MEBI = 1 << 20
LIMIT = 100_000
LONG = b"y" * (3 * MEBI)
"""A record that is over the limit, and is to be read past."""
DRAW = random.Random(0)
TEXTS = [f"{n} 中文 {DRAW.randbytes(200).hex()}" for n in range(2200)]
PACK = {".gz": lambda data: gzip.compress(data, 1), ".zst": zstd}


def _rows(texts: list[str]) -> bytes:
    sink = io.StringIO(newline="")
    csv.writer(sink).writerows([text, f'"quoted"\n{text[:20]}'] for text in texts)
    return sink.getvalue().encode()


LINES = "".join(f"{text}\n" for text in TEXTS).encode()
PARAGRAPHS = "".join(f"{text}\n{text[:9]}\n\n" for text in TEXTS).encode()
OBJECTS = "".join(json.dumps({"text": text, "n": 1}) + "\n" for text in TEXTS).encode()
ROWS = _rows(TEXTS)
"""Each about a megabyte."""
FORMATS = {"txt": "text", "md": "text", "jsonl": "jsonl", "csv": "csv"}
CASES: dict[str, tuple[str, bytes, dict[str, Any]]] = {
    "file": ("a.txt", LINES, {"document": "file"}),
    "line": ("a.txt", LINES, {"document": "line"}),
    "line of utf-16": ("a.txt", LINES, {"document": "line", "encoding": "utf-16-le"}),
    "line of auto": ("a.txt", LINES, {"document": "line", "encoding": "auto"}),
    "paragraph": ("a.md", PARAGRAPHS, {"document": "paragraph"}),
    "separator": ("a.txt", PARAGRAPHS, {"document": "separator", "separator": "\n\n"}),
    "jsonl": ("a.jsonl", OBJECTS, {}),
    "jsonl of zstd": ("a.jsonl.zst", OBJECTS, {}),
    "csv": ("a.csv", ROWS, {"columns": ["text", "label"], "metadata_columns": ["label"]}),
    "csv of gzip": ("a.csv.gz", ROWS, {"columns": ["text", "label"]}),
}
CODE = """
import json, os, sys
from pydantic import TypeAdapter
from data_quality.config import SourceConfig
from data_quality.ingest import read_file
from data_quality.sources.base import FileRef

def kilobytes(name):
    with open("/proc/self/status") as file:
        return int(file.read().split(name + ":")[1].split()[0])

def grown(reading):
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")  # the peak begins anew
    before = kilobytes("VmRSS")
    count = reading()
    return count, kilobytes("VmHWM") - before

for case, given, refs in json.load(sys.stdin):
    if os.fork():  # what one has freed would hide what the next takes
        os.wait()
        continue
    source = TypeAdapter(SourceConfig).validate_python(given)
    small, large = map(FileRef.model_validate, refs)
    sum(1 for _ in read_file(small, source))  # what is made once
    count, flat = grown(lambda: sum(1 for _ in read_file(large, source)))
    kept = []
    _, held = grown(lambda: kept.extend(read_file(small, source)))
    print(json.dumps([case, count, flat, held]), flush=True)
    os._exit(0)
"""


def _write(path: Path, data: bytes, blocks: int, options: dict[str, Any]) -> Path:
    encoding = options.get("encoding", "auto")
    pack = PACK.get(path.suffix, lambda data: data)
    block, last = (
        pack(each if encoding == "auto" else each.decode().encode(encoding))
        for each in (data, LONG + options.get("separator", "\n\n").encode() + data)
    )
    with path.open("wb") as file:
        file.writelines([block] * (blocks - 1) + [last])  # gzip members and zstd frames may follow one another
    return path


@pytest.mark.heavy
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="asks Linux how much was held at most")
def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    jobs = []
    for number, (case, (name, data, options)) in enumerate(CASES.items()):
        source = {"format": FORMATS[name.split(".")[1]], "paths": ["a"], "max_record_bytes": LIMIT, **options}
        refs = []
        for blocks in (4, 24):
            folder = tmp_path / str(number) / str(blocks)
            folder.mkdir(parents=True)
            refs.append(ref(_write(folder / name, data, blocks, options)).model_dump())
        jobs.append([case, source, refs])
    command = [sys.executable, "-c", CODE]
    done = subprocess.run(command, input=json.dumps(jobs), capture_output=True, text=True, check=True)
    found = {case: measured for case, *measured in map(json.loads, done.stdout.splitlines())}
    assert found.keys() == CASES.keys()
    for case, (count, flat, held) in found.items():  # kilobytes
        assert flat < 2 << 10, case
        if case == "file":
            assert count == 1  # which is over the limit
        else:
            assert count == 24 * len(TEXTS) + 1, case
            assert held > 6 << 10, case  # what a reader that keeps its records shows at a sixth of it
