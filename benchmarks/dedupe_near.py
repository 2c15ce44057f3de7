"""Near-dedupe speed of one worker, end to end: `python benchmarks/dedupe_near.py [--datatrove PYTHON] [--rounds 3]`.

Parquet documents in, duplicates table out, reading and writing included, one worker and one thread: signatures, then
matching with its state (what a refresh goes on from). Without --documents it reads the English corpus below
TEXTMILL_DATA, or the first --megabytes of it. With --datatrove, the path of an interpreter that has datatrove 0.10.1
and xxhash < 4, the four MinHash steps of datatrove run on the same documents, one task, in turn with ours. It reads and
writes them as plain JSON lines, its usual form, without compression. Its last step reads the documents again and writes
those that stay, which ours does not, so its time is given with and without.
Medians of the rounds are printed, and how the two sets of removed documents overlap.
"""

import argparse
import hashlib
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from bisect import bisect
from itertools import accumulate
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from data_quality.config import DedupeConfig, NearDedupeConfig, SignatureConfig
from data_quality.dedupe.minhash import near_dedupe
from data_quality.dedupe.signatures import signature_shard

DATATROVE = """
import sys, time, json
from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.dedup import MinhashDedupSignature, MinhashDedupBuckets, MinhashDedupCluster, MinhashDedupFilter
from datatrove.pipeline.dedup.minhash import MinhashConfig
from datatrove.pipeline.readers import JsonlReader
from datatrove.pipeline.writers import JsonlWriter
if __name__ != "__main__":
    sys.exit()
source, work = sys.argv[1:]
config = MinhashConfig()
read = lambda: JsonlReader(source, compression=None)
steps = {
    "signatures": [read(), MinhashDedupSignature(f"{work}/sig", config)],
    "buckets": [MinhashDedupBuckets(f"{work}/sig", f"{work}/buckets", config=config)],
    "cluster": [MinhashDedupCluster(f"{work}/buckets", f"{work}/remove")],
    "filter": [read(), MinhashDedupFilter(f"{work}/remove"), JsonlWriter(f"{work}/out", compression=None)],
}
seconds = {}
for name, pipeline in steps.items():
    tasks = config.num_buckets if name == "buckets" else 1
    start = time.perf_counter()
    LocalPipelineExecutor(pipeline, tasks=tasks, workers=1, logging_dir=f"{work}/log/{name}").run()
    seconds[name] = time.perf_counter() - start
print("SECONDS " + json.dumps(seconds))
"""


def corpus_shards(directory: Path, megabytes: float = float("inf")) -> list[Path]:
    """The English corpus of TEXTMILL_DATA, or the first megabytes of every file of it, as documents shards."""
    if "TEXTMILL_DATA" not in os.environ:
        sys.exit("give --documents, or set TEXTMILL_DATA to the folder that holds corpus_en")
    paths = []
    sources = sorted((Path(os.environ["TEXTMILL_DATA"]) / "corpus_en").glob("*.jsonl.zst"))
    for number, source in enumerate(sources):
        with pa.input_stream(str(source), compression="zstd") as stream:
            records = [json.loads(line) for line in stream.read().split(b"\n") if line]
        sizes = list(accumulate(len(record["text"].encode()) for record in records))
        records = records[: bisect(sizes, megabytes * 1e6 / len(sources))]
        table = {name: [record[name] for record in records] for name in ("id", "source", "text")}
        table["text_hash"] = [hashlib.blake2b(text.encode(), digest_size=16).hexdigest() for text in table["text"]]
        paths.append(directory / f"{number:05d}.parquet")
        pq.write_table(pa.table(table), paths[-1], row_group_size=2_000, compression="zstd")
    return paths


def measure(documents: list[Path], work: Path, config: DedupeConfig) -> tuple[dict[str, float], set[str]]:
    """Seconds of one run of ours, and the removed documents."""
    signature_paths = [work / f"signatures-{path.name}" for path in documents]
    start = time.perf_counter()
    for source, target in zip(documents, signature_paths, strict=True):
        signature_shard(source, target, SignatureConfig())
    signed = time.perf_counter()
    out = work / "duplicates.parquet"
    near_dedupe(signature_paths, out, config, keep_state=True, temp_directory=work)
    done = time.perf_counter()
    seconds = {"signatures": signed - start, "match": done - signed, "total": done - start}
    return seconds, set(pq.read_table(out)["dropped"].to_pylist())


def measure_refresh(documents: list[Path], work: Path, config: DedupeConfig, share: float) -> float:
    """Seconds to sign and match when this share of the documents is new and the rest has been signed and matched."""
    work.mkdir()
    old, new = [], []
    for path in documents:
        table = pq.read_table(path)
        late = np.arange(len(table)) % round(1 / share) == 0
        old.append(work / f"old-{path.name}")
        new.append(work / f"new-{path.name}")
        pq.write_table(table.filter(~late), old[-1], row_group_size=2_000, compression="zstd")
        pq.write_table(table.filter(late), new[-1], row_group_size=2_000, compression="zstd")
    measure(old, work, config)
    (work / "refreshed").mkdir()
    start = time.perf_counter()
    for path in new:
        signature_shard(path, work / f"signatures-{path.name}", SignatureConfig())
    near_dedupe(
        [work / f"signatures-{path.name}" for path in [*old, *new]],
        work / "refreshed" / "duplicates.parquet",
        config,
        keep_state=True,
        previous=work,
        temp_directory=work,
    )
    return time.perf_counter() - start


def measure_datatrove(python: str, documents: list[Path], work: Path) -> tuple[dict[str, float], set[str]]:
    """The same of datatrove; time to import it is not counted."""
    source = work / "datatrove-documents"
    source.mkdir()
    for path in documents:
        with (source / f"{path.stem}.jsonl").open("w", encoding="utf-8") as handle:
            for row in pq.read_table(path, columns=["id", "text"]).to_pylist():
                handle.write(json.dumps(row, ensure_ascii=False) + "\n")
    command = [python, "-c", DATATROVE, str(source), str(work / "datatrove")]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    seconds = json.loads(output.rsplit("SECONDS ", 1)[1])
    seconds["total"] = sum(seconds.values())
    seconds["total_without_filter"] = seconds["total"] - seconds["filter"]
    written = [path.read_text(encoding="utf-8") for path in (work / "datatrove" / "out").glob("*.jsonl")]
    kept = {json.loads(line)["id"] for text in written for line in text.split("\n") if line}
    return seconds, {id_ for path in documents for id_ in ids_of(path)} - kept


def ids_of(path: Path) -> list[str]:
    """The ids of a documents file."""
    ids: list[str] = pq.read_table(path, columns=["id"])["id"].to_pylist()
    return ids


def _warm_up(work: Path, config: DedupeConfig) -> None:
    """One tiny run, so that the time to load the compiled kernels is not counted."""
    words = [f"word{i}" for i in range(200)]
    texts = [" ".join(words), " ".join([*words[:100], "other", *words[101:]])]
    table = {"id": ["a", "b"], "source": ["s", "s"], "text": texts, "text_hash": ["0", "1"]}
    pq.write_table(pa.table(table), work / "warm.parquet")
    measure([work / "warm.parquet"], work, config)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", nargs="*", type=Path, default=[], help="documents shards (Parquet)")
    parser.add_argument("--megabytes", type=float, default=float("inf"))
    parser.add_argument("--threshold", type=float, default=0.8)
    parser.add_argument("--increment", type=float, default=0.0, help="also time a refresh with this share of new ones")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--datatrove", help="a Python interpreter with datatrove==0.10.1 and xxhash<4")
    options = parser.parse_args()
    config = DedupeConfig(near=NearDedupeConfig(threshold=options.threshold))
    pa.set_cpu_count(1)
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        (work / "documents").mkdir()
        documents = options.documents or corpus_shards(work / "documents", options.megabytes)
        _warm_up(work, config)
        rounds: dict[str, list[dict[str, float]]] = {"textmill": [], "datatrove": []}
        for number in range(options.rounds):
            (work / str(number)).mkdir()
            seconds, ours = measure(documents, work / str(number), config)
            rounds["textmill"].append(seconds)
            if options.increment:
                rounds["textmill"][-1]["refresh"] = measure_refresh(
                    documents, work / f"refresh-{number}", config, options.increment
                )
            if options.datatrove:
                seconds, theirs = measure_datatrove(options.datatrove, documents, work / str(number))
                rounds["datatrove"].append(seconds)
        texts = sum(pc.sum(pc.binary_length(pq.read_table(path)["text"])).as_py() for path in documents)
    print(json.dumps({"megabytes": texts / 1e6, "peak_resident_mib": peak_resident()}))
    for by, runs in rounds.items():
        for step in runs[0] if runs else ():
            middle = statistics.median(run[step] for run in runs)
            print(json.dumps({"by": by, "step": step, "seconds": middle, "mb_per_second": texts / 1e6 / middle}))
    if options.datatrove:
        print(json.dumps({"both": len(ours & theirs), "ours": len(ours - theirs), "theirs": len(theirs - ours)}))


def peak_resident() -> float:
    """MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
