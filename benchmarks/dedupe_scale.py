"""Near-dedupe at scale on synthetic signatures: `python benchmarks/dedupe_scale.py [--documents 7200000] [--kind ...]`.

Writes signature shards as real ones are (true bands of true shingle sets), then measures grouping to kept/dropped
table in a process of its own: seconds, peak resident memory, rows. Kinds:

    mixed      15 % copies, 15 % near-duplicates (Jaccard about 0.85), 6 % on shared templates (0.43), the rest alone
    identical  one text, N times
    hot        no two similar, but all in one bucket of the first band

--grow 1 4 16 runs sizes one after the other and prints how seconds and memory grow. --increment 0.01 also measures a
refresh: that share of the documents is new, the state of the run before is given as a hint, and the tables must agree.
--as-a-stage gives it what the pipeline's stage has beside signatures: a rule's verdict on every document, of which four
in ten fail, and documents that were dropped for their address; and writes the state of a refresh.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from data_quality.config import DedupeConfig, SignatureConfig
from data_quality.dedupe.evidence import DUPLICATES_SCHEMA
from data_quality.dedupe.minhash import near_dedupe
from data_quality.dedupe.signatures import signature_batch, signature_schema, signature_writer

SHARD = 50_000
ROW_GROUP = 2_000
REASON = "gopher_quality.gopher_short_doc"
UInt64s = npt.NDArray[np.uint64]


def mix(values: UInt64s) -> UInt64s:
    """The finaliser of SplitMix64: a random-looking function of a number."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def shingle_sets(numbers: UInt64s, total: int, size: int, kind: str) -> UInt64s:
    """shingles[n, size], sorted by row, of the documents with these numbers: functions of the number alone."""
    draw = mix(numbers + np.uint64(1 << 50)).astype(np.float64) / 2.0**64
    pick = mix(numbers + np.uint64(1 << 51)).astype(np.float64) / 2.0**64
    place = np.arange(size, dtype=np.uint64)
    alone = numbers + np.uint64(1 << 40)
    if kind == "identical":
        family, changed = np.zeros_like(numbers), np.zeros((len(numbers), size), dtype=bool)
    elif kind == "hot":
        family, changed = alone, np.zeros((len(numbers), size), dtype=bool)
    else:
        skewed = (pick**2 * max(1, total // 20)).astype(np.uint64)
        template = (pick * max(1, total // 1000)).astype(np.uint64) + np.uint64(1 << 41)
        family = np.where(draw < 0.30, skewed, np.where(draw < 0.36, template, alone))
        coin = mix(numbers[:, None] * np.uint64(1 << 20) + place + np.uint64(1 << 62)).astype(np.float64) / 2.0**64
        changed = (coin < 0.04) & ((draw >= 0.15) & (draw < 0.30))[:, None]
        changed |= ((draw >= 0.30) & (draw < 0.36))[:, None] & (place >= 0.6 * size)
    shared = mix(family[:, None] * np.uint64(1 << 20) + place)
    own = mix(numbers[:, None] * np.uint64(1 << 20) + place + np.uint64(1 << 61))
    return np.sort(np.where(changed, own, shared), axis=1)


def write_shard(path: Path, numbers: UInt64s, total: int, size: int, kind: str) -> None:
    """One signature shard."""
    config = SignatureConfig()
    schema = signature_schema(config)
    with signature_writer(path, schema) as writer:
        for start in range(0, len(numbers), ROW_GROUP):
            part = numbers[start : start + ROW_GROUP]
            shingles = shingle_sets(part, total, size, kind)
            same = mix(np.bitwise_xor.reduce(shingles, axis=1))
            hashes = np.stack([same, mix(same)], axis=1).astype(">u8").tobytes().hex()
            named = [
                pa.array([document_id(number) for number in part.tolist()]),
                pa.array([f"source-{number % 7}" for number in part.tolist()]),
                pa.array([hashes[32 * i : 32 * i + 32] for i in range(len(part))]),
            ]
            chars = pa.array((same % np.uint64(900) + np.uint64(6 * size)).astype(np.int64))
            ends = np.arange(1, len(part) + 1, dtype=np.int64) * size
            batch = signature_batch(named, chars, shingles.reshape(-1), ends, config, schema)
            if kind == "hot":
                index = schema.get_field_index("b0")
                batch = batch.set_column(index, schema.field(index), pa.array(np.full(len(part), 7, np.uint64)))
            writer.write_batch(batch)


def generate(directory: Path, first: int, last: int, total: int, size: int, kind: str) -> None:
    """Signature shards of the documents first..last-1 of a corpus of `total`."""
    directory.mkdir(parents=True, exist_ok=True)
    for start in range(first, last, SHARD):
        numbers = np.arange(start, min(start + SHARD, last), dtype=np.uint64)
        write_shard(directory / f"{start:09d}.parquet", numbers, total, size, kind)


def generate_beside(directory: Path, total: int) -> None:
    """Verdicts on all documents, and what went for its address."""
    (directory / "verdicts").mkdir(parents=True)
    (directory / "addresses").mkdir()
    gone: dict[str, list[object]] = {name: [] for name in DUPLICATES_SCHEMA.names}
    for start in range(0, total, SHARD):
        numbers = np.arange(start, min(start + SHARD, total), dtype=np.uint64)
        draw = mix(numbers + np.uint64(1 << 52)).astype(np.float64) / 2.0**64
        ids = [document_id(number) for number in numbers.tolist()]
        reasons = [REASON if each < 0.4 else None for each in draw]
        verdicts = pa.table({"id": ids, "first_reason": pa.array(reasons, pa.string())})
        pq.write_table(verdicts, directory / "verdicts" / f"{start:09d}.parquet", compression="zstd")
        for at in np.flatnonzero(draw > 0.98).tolist():
            values = {"dropped": ids[at], "kept": ids[0], "kind": "url", "family_size": 2}
            for name in DUPLICATES_SCHEMA.names:
                gone[name].append(values.get(name))
    pq.write_table(pa.table(gone, schema=DUPLICATES_SCHEMA), directory / "addresses" / "duplicates.parquet")


def document_id(number: int) -> str:
    """The id of the document of a number."""
    return f"synthetic/{number:09d}.txt"


def run(options: argparse.Namespace) -> None:
    """What the measuring process does: one near_dedupe, figures as JSON on standard output."""
    paths = sorted(path for folder in options.run.split(",") for path in Path(folder).glob("*.parquet"))
    near_dedupe_warm(options)
    start = time.perf_counter()
    counts = near_dedupe(
        paths,
        options.out,
        DedupeConfig(),
        verdict_paths=sorted((options.beside / "verdicts").iterdir()) if options.beside else [],
        duplicate_paths=sorted((options.beside / "addresses").iterdir()) if options.beside else [],
        temp_directory=options.out.parent,
        memory_limit=options.memory_limit,
        threads=options.threads,
        progress=lambda n: None,
        keep_state=options.keep_state,
        previous=options.previous,
    )
    print(
        json.dumps(
            {
                "documents": counts["documents"],
                "band_rows": counts["documents"] * SignatureConfig().bands,
                "seconds": round(time.perf_counter() - start, 2),
                "peak_resident_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
                "counts": counts,
            }
        )
    )


def near_dedupe_warm(options: argparse.Namespace) -> None:
    """One tiny run first, so that the time to load compiled kernels is not counted."""
    with tempfile.TemporaryDirectory(dir=options.out.parent) as name:
        generate(Path(name) / "signatures", 0, 400, 400, 50, "mixed")
        near_dedupe(
            sorted((Path(name) / "signatures").iterdir()),
            Path(name) / "out.parquet",
            DedupeConfig(),
            temp_directory=Path(name),
        )


def measured(arguments: list[str]) -> dict[str, object]:
    """Run this script again in a process of its own and read its figures."""
    command = [sys.executable, __file__, *arguments]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return dict(json.loads(output.splitlines()[-1]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=7_200_000, help="14 band rows each")
    parser.add_argument("--shingles", type=int, default=50, help="shingles per document")
    parser.add_argument("--kind", choices=("mixed", "identical", "hot"), default="mixed")
    parser.add_argument(
        "--grow", type=int, nargs="*", default=[1], help="multiples of --documents, one after the other"
    )
    parser.add_argument("--increment", type=float, default=0.0, help="share of new documents of a refresh")
    parser.add_argument("--as-a-stage", action="store_true", help="with verdicts, drops by address and state")
    parser.add_argument("--memory-limit", default="768MiB", help="DuckDB's")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--directory", type=Path, help="where shards and tables go; default: a temporary one")
    parser.add_argument("--run", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--keep-state", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--beside", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--previous", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        return run(options)
    with tempfile.TemporaryDirectory(dir=options.directory) as name:
        for multiple in options.grow:
            scale(options, Path(name) / str(multiple), options.documents * multiple)


def scale(options: argparse.Namespace, work: Path, total: int) -> None:
    """Generate and measure one size, with its refresh if asked for."""
    new = round(options.increment * total)
    begun = time.perf_counter()
    generate(work / "old", 0, total - new, total, options.shingles, options.kind)
    if new:
        generate(work / "new", total - new, total, total, options.shingles, options.kind)
    print(f"# {total:,} documents written in {time.perf_counter() - begun:.0f} s", file=sys.stderr)
    limits = ["--memory-limit", options.memory_limit, "--threads", str(options.threads)]
    if options.as_a_stage:
        generate_beside(work / "beside", total)
        limits += ["--beside", str(work / "beside"), "--keep-state"]
    both = f"{work / 'old'},{work / 'new'}" if new else str(work / "old")
    full = ["--run", both, "--out", _table(work / "full"), *limits]
    print(json.dumps({"kind": options.kind, "run": "full", **measured(full)}), flush=True)
    if new:
        kept = ["--keep-state", *limits]
        whole = measured(["--run", both, "--out", _table(work / "whole"), *kept])
        print(json.dumps({"kind": options.kind, "run": "full with state", **whole}), flush=True)
        measured(["--run", str(work / "old"), "--out", _table(work / "earlier"), *kept])
        hint = ["--previous", str(work / "earlier")]
        refresh = measured(["--run", both, "--out", _table(work / "refresh"), *hint, *kept])
        names = ("duplicates.parquet", "index.parquet", "pairs.parquet")
        refresh["equal"] = all(
            (work / "refresh" / name).read_bytes() == (work / "whole" / name).read_bytes() for name in names
        )
        print(json.dumps({"kind": options.kind, "run": "refresh", **refresh}), flush=True)


def _table(directory: Path) -> str:
    directory.mkdir()
    return str(directory / "duplicates.parquet")


if __name__ == "__main__":
    main()
