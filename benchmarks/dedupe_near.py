"""Near-dedupe speed of one worker: `python benchmarks/dedupe_near.py [--documents SHARD ...] [--datatrove PYTHON]`.

Measures Parquet documents in, duplicates table out: signatures (MB of UTF-8 text a second) and matching. Without
--documents it reads the English corpus below TEXTMILL_DATA. With --datatrove, the path of an interpreter that has
datatrove 0.10.1 and xxhash < 4, the four MinHash steps of datatrove run on the same documents, one task, in turn.
"""

import argparse
import hashlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from data_quality.config import DedupeConfig, NearDedupeConfig, SignatureConfig
from data_quality.dedupe.minhash import near_dedupe
from data_quality.dedupe.signatures import signature_shard

DATATROVE = """
import sys, time, json
from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.dedup import MinhashDedupSignature, MinhashDedupBuckets, MinhashDedupCluster, MinhashDedupFilter
from datatrove.pipeline.dedup.minhash import MinhashConfig
from datatrove.pipeline.readers import ParquetReader
from datatrove.pipeline.writers import ParquetWriter
if __name__ != "__main__":
    sys.exit()
source, work = sys.argv[1:]
config = MinhashConfig()
read = lambda: ParquetReader(source, text_key="text", id_key="id")
steps = {
    "signatures": [read(), MinhashDedupSignature(f"{work}/sig", config)],
    "buckets": [MinhashDedupBuckets(f"{work}/sig", f"{work}/buckets", config=config)],
    "cluster": [MinhashDedupCluster(f"{work}/buckets", f"{work}/remove")],
    "filter": [read(), MinhashDedupFilter(f"{work}/remove"), ParquetWriter(f"{work}/out")],
}
seconds = {}
for name, pipeline in steps.items():
    tasks = config.num_buckets if name == "buckets" else 1
    start = time.perf_counter()
    LocalPipelineExecutor(pipeline, tasks=tasks, workers=1, logging_dir=f"{work}/log/{name}").run()
    seconds[name] = time.perf_counter() - start
print("SECONDS " + json.dumps(seconds))
"""


def corpus_shards(directory: Path) -> list[Path]:
    """The English corpus of TEXTMILL_DATA as documents shards."""
    if "TEXTMILL_DATA" not in os.environ:
        sys.exit("give --documents, or set TEXTMILL_DATA to the folder that holds corpus_en")
    paths = []
    for number, source in enumerate(sorted((Path(os.environ["TEXTMILL_DATA"]) / "corpus_en").glob("*.jsonl.zst"))):
        with pa.input_stream(str(source), compression="zstd") as stream:
            records = [json.loads(line) for line in stream.read().split(b"\n") if line]
        table = {name: [record[name] for record in records] for name in ("id", "source", "text")}
        table["text_hash"] = [hashlib.blake2b(text.encode(), digest_size=16).hexdigest() for text in table["text"]]
        paths.append(directory / f"{number:05d}.parquet")
        pq.write_table(pa.table(table), paths[-1], row_group_size=2_000, compression="zstd")
    return paths


def measure(documents: list[Path], work: Path, threshold: float) -> dict[str, float]:
    """Seconds and counts of one run of ours, after one tiny run that loads the compiled kernels."""
    config = DedupeConfig(near=NearDedupeConfig(threshold=threshold))
    signature_paths = [work / f"signatures-{path.name}" for path in documents]
    _warm_up(work, config)
    start = time.perf_counter()
    text_bytes = 0
    for source, target in zip(documents, signature_paths, strict=True):
        text_bytes += signature_shard(source, target, SignatureConfig())["bytes"]
    signed = time.perf_counter()
    counts = near_dedupe(signature_paths, work / "duplicates.parquet", config, temp_directory=work)
    done = time.perf_counter()
    return {
        "megabytes": text_bytes / 1e6,
        "signature_seconds": signed - start,
        "match_seconds": done - signed,
        "signature_mb_per_second": text_bytes / 1e6 / (signed - start),
        "total_mb_per_second": text_bytes / 1e6 / (done - start),
        "peak_resident_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        **counts,
    }


def _warm_up(work: Path, config: DedupeConfig) -> None:
    words = [f"word{i}" for i in range(200)]
    texts = [" ".join(words), " ".join([*words[:100], "other", *words[101:]])]
    table = {"id": ["a", "b"], "source": ["s", "s"], "text": texts, "text_hash": ["0", "1"]}
    pq.write_table(pa.table(table), work / "warm.parquet")
    signature_shard(work / "warm.parquet", work / "warm-signatures.parquet", SignatureConfig())
    near_dedupe([work / "warm-signatures.parquet"], work / "warm-out.parquet", config, temp_directory=work)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", nargs="*", type=Path, default=[], help="documents shards (Parquet)")
    parser.add_argument("--threshold", type=float, default=0.8)
    parser.add_argument("--datatrove", help="a Python interpreter with datatrove==0.10.1 and xxhash<4")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        (work / "documents").mkdir()
        documents = options.documents or corpus_shards(work / "documents")
        result: dict[str, object] = {"textmill": measure(documents, work, options.threshold)}
        if options.datatrove:
            folder = work / "datatrove-documents"
            folder.mkdir()
            for path in documents:
                (folder / path.name).symlink_to(path.resolve())
            command = [options.datatrove, "-c", DATATROVE, str(folder), str(work / "datatrove")]
            output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            result["datatrove_seconds"] = json.loads(output.rsplit("SECONDS ", 1)[1])
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
