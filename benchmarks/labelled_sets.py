"""What the checks find in the labelled sets below $TEXTMILL_DATA, and whether the near-twins are all that there are.

    python -m benchmarks.labelled_sets              # one line for each of configs/tasks/local
    python -m benchmarks.labelled_sets rte cola     # these, with the findings themselves
    python -m benchmarks.labelled_sets --pairs 390000   # generated pairs of MNLI's size: seconds and memory

"All pairs" counts the training examples whose true Jaccard similarity with some held-out one reaches the threshold, by
an index of all shingles and without any hashing into bands: what the near-twins found are a part of.
"""

import argparse
import json
import os
import random
import resource
import tempfile
import time
from collections import Counter, defaultdict
from pathlib import Path

from data_quality.dedupe.shingles import shingle_text
from flows.config.loading import CONFIGS
from flows.config.task import TaskConfig, load_task
from flows.task_sets import build_task
from lm.labelled.cut import input_texts
from lm.labelled.folder import LabelledSet
from tasks.running.progress import Display
from tasks.running.run import Resources, Run, use_run
from tasks.store import Artifact, Store

HEAD = (
    "| set | train / valid | duplicates | in contradictions | leaks: exact | near (all pairs) | with another answer |"
    " valid texts seen | mended or left out | seconds |"
)


def all_pairs(config: TaskConfig, made: Artifact) -> int:
    """Near-twins of a set that nothing was removed from, exhaustively; exact ones are no near-twins."""
    form, near = config.ask, config.checks.near
    columns = tuple(name for name in form.inputs if name != "choices")
    texts = [
        ["\n".join(input_texts(form, e, columns)) for e in LabelledSet(made.path).read(split).to_pylist()]
        for split in ("train", "valid")
    ]
    held = set(texts[1])
    holders: defaultdict[int, list[int]] = defaultdict(list)
    sizes = []
    for number, text in enumerate(texts[1]):
        grams = shingle_text(text, unit=near.unit, size=near.size, numbers=near.numbers).tolist()
        sizes.append(len(grams))
        for gram in grams:
            holders[gram].append(number)
    count = 0
    for text in texts[0]:
        if text in held:
            continue
        grams = shingle_text(text, unit=near.unit, size=near.size, numbers=near.numbers).tolist()
        common = Counter(number for gram in grams for number in holders.get(gram, ()))
        count += any(k / (len(grams) + sizes[number] - k) >= near.threshold for number, k in common.items())
    return count


def line(path: Path) -> str:
    """The row of a set, read anew."""
    kept = {"checks.leaks": "report", "checks.duplicates": "report"}
    config = load_task(path, kept)
    with (
        tempfile.TemporaryDirectory() as folder,
        use_run(Run(Store(Path(folder)), Resources(workers=1, threads=1), Display(quiet=True))),
    ):
        started = time.perf_counter()
        made = build_task(config)
        seconds = time.perf_counter() - started
        found = json.loads(made.file("findings.json").read_text(encoding="utf-8"))
        exhaustive = all_pairs(config, made)
    leak = found["leaks"].get("train-valid", {"exact": 0, "near": 0, "other_answer": 0})
    sizes = " / ".join(f"{found['examples'][split]:,}" for split in ("train", "valid"))
    doubles = " / ".join(f"{found['duplicates'][split]['count']:,}" for split in ("train", "valid"))
    against = " / ".join(f"{found['contradictions'][split]['examples']:,}" for split in ("train", "valid"))
    seen = ", ".join(f"{name} {count:,}" for name, count in found["shared_texts"]["valid"].items() if count) or "0"
    noted = Counter[str]()
    for part in found["read"].values():
        noted.update(part["noted"])
    if found["empty"]["count"]:
        noted["empty_fields"] = found["empty"]["count"]
    mended = ", ".join(f"{name.replace('_', ' ')} {count:,}" for name, count in noted.items()) or "0"
    return (
        f"| {path.stem} | {sizes} | {doubles} | {against} | {leak['exact']:,} | {leak['near']:,} ({exhaustive:,}) |"
        f" {leak['other_answer']:,} | {seen} | {mended} | {seconds:.1f} |"
    )


def scale(count: int) -> str:
    """Seconds and memory of a set of `count` generated pairs, three of one premise, and 10,000 that are held out."""
    draw = random.Random(0)

    def sentence(words: int) -> str:
        return " ".join(f"w{draw.randrange(20_000)}" for _ in range(words))

    with (
        tempfile.TemporaryDirectory() as folder,
        use_run(Run(Store(Path(folder) / "store"), Resources(workers=1, threads=1), Display(quiet=True))),
    ):
        for split, number in (("train", count), ("valid", 10_000)):
            with (Path(folder) / f"{split}.jsonl").open("w") as file:
                premise = ""
                for at in range(number):
                    premise = premise if at % 3 else sentence(20)
                    pair = {"premise": premise, "hypothesis": sentence(10), "label": at % 3}
                    file.write(json.dumps(pair) + "\n")
        files = {f"{split}.files": f"[{folder}/{split}.jsonl]" for split in ("train", "valid")}
        config = load_task(CONFIGS / "tasks" / "mnli.yaml", files)
        wall, used = time.perf_counter(), time.process_time()
        build_task(config)
        wall, used = time.perf_counter() - wall, time.process_time() - used
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6  # kB on Linux
    return f"{count:,} pairs: {wall:.1f} s, {used:.1f} s of a core, {peak:.2f} GB"


def main() -> None:
    """Print the table, or the pages of the sets that are named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="*", help="names of files below configs/tasks/local; none: a line for each")
    parser.add_argument("--pairs", type=int, metavar="COUNT", help="so many generated pairs instead")
    options = parser.parse_args()
    if options.pairs:
        print(scale(options.pairs))
        return
    if "TEXTMILL_DATA" not in os.environ:
        raise SystemExit("set TEXTMILL_DATA to the folder that has labelled/")
    paths = sorted((CONFIGS / "tasks" / "local").glob("*.yaml"))
    if unknown := set(options.sets) - {path.stem for path in paths}:
        parser.error(f"no such set: {', '.join(sorted(unknown))}; there are {', '.join(path.stem for path in paths)}")
    if options.sets:
        for path in (path for path in paths if path.stem in options.sets):
            with (
                tempfile.TemporaryDirectory() as folder,
                use_run(Run(Store(Path(folder)), Resources(workers=1, threads=1), Display(quiet=True))),
            ):
                print(build_task(load_task(path)).file("findings.md").read_text(encoding="utf-8"))
        return
    print(HEAD)
    print("|" + "---|" * HEAD.count(" | ") + "---|")
    for path in paths:
        print(line(path), flush=True)


if __name__ == "__main__":
    main()
