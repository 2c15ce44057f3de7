"""Building n-gram models against nltk, IRSTLM and KenLM: `python -m benchmarks.ngram_build [--tokens 10_000_000]`.

The text is the English corpus below TEXTMILL_DATA, one sentence a line, words between spaces, or --text. Each system
goes from that file to a model on disk, in turn, medians of --rounds: ours to a folder that can be asked, lmplz
(--lmplz, its path) and IRSTLM's tlm (--irstlm, the folder of its programs) to an ARPA file, both on modified
Kneser-Ney (tlm calls its own msb). nltk (--nltk, an interpreter that has it) counts in memory and writes nothing, on
the first --nltk-tokens, as does ours then. Ours prints its peak of anonymous memory too, sampled: what is held, other
than pages of files that the kernel may take back; and every n-gram of lmplz's file is compared with ours.
"""

import argparse
import itertools
import json
import math
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.documents import read_documents
from lm.interop.arpa import write_arpa
from lm.ngram.build import build_word_ngram
from lm.ngram.config import NgramConfig
from lm.ngram.model import load_ngram

NLTK = """
import sys, time
from nltk.lm import MLE
from nltk.lm.preprocessing import padded_everygram_pipeline
path, order = sys.argv[1], int(sys.argv[2])
start = time.perf_counter()
sentences = [line.split() for line in open(path, encoding="utf-8")]
train, vocabulary = padded_everygram_pipeline(order, sentences)
model = MLE(order)
model.fit(train, vocabulary)
print("SECONDS", time.perf_counter() - start)
"""


def write_text(path: Path, tokens: int) -> int:
    """Write the corpus as lines of words until there are so many; returns how many there are."""
    written = 0
    with path.open("w", encoding="utf-8") as out:
        for document in read_documents("corpus_en"):
            for line in document.text.split("\n"):
                words = [word for word in line.split() if word not in ("<s>", "</s>", "<unk>")]
                if words:
                    out.write(" ".join(words) + "\n")
                    written += len(words)
                if written >= tokens:
                    return written
    return written


def first_words(source: Path, target: Path, tokens: int) -> int:
    """Copy the first lines until they have so many words; returns how many they have."""
    written = 0
    with source.open(encoding="utf-8") as lines, target.open("w", encoding="utf-8") as out:
        for line in lines:
            out.write(line)
            written += line.count(" ") + 1
            if written >= tokens:
                break
    return written


class AnonymousMemory:
    """The largest RssAnon of this process while the block runs, in MB; sampled every 20 ms."""

    def __enter__(self) -> "AnonymousMemory":
        self.peak, self._done = 0.0, threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def _watch(self) -> None:
        while not self._done.wait(0.02):
            status = Path("/proc/self/status").read_text()
            line = next(line for line in status.split("\n") if line.startswith("RssAnon"))
            self.peak = max(self.peak, int(line.split()[1]) / 1000)

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()


def ours(text: Path, order: int, work: Path, memory_limit: str, threads: int) -> float:
    """Seconds from the text to a model folder."""
    start = time.perf_counter()
    with text.open(encoding="utf-8") as lines:
        build_word_ngram(lines, NgramConfig(order=order), work, memory_limit=memory_limit, threads=threads)
    return time.perf_counter() - start


def command_seconds(command: list[str]) -> float:
    """Seconds of a program."""
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - start


def nltk_seconds(python: str, text: Path, order: int) -> float:
    """Seconds of nltk's counting, without its import."""
    output = subprocess.run([python, "-c", NLTK, str(text), str(order)], check=True, stdout=subprocess.PIPE, text=True)
    return float(output.stdout.split("SECONDS ")[1])


def arpa_lines(path: Path) -> Iterator[tuple[list[str], float, float | None]]:
    """Words, log10 p and back-off weight of each n-gram of a file of lmplz."""
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            fields = line.rstrip("\n").split("\t")
            if len(fields) > 1:
                yield fields[1].split(" "), float(fields[0]), float(fields[2]) if len(fields) > 2 else None


def compare(folder: Path, arpa: Path, every: int) -> dict[str, float]:
    """The largest differences of log10 p and of weights between ours and a file of lmplz, on every so many lines."""
    model = load_ngram(folder)
    ids = {**model.names.ids, "<s>": model.boundary}  # type: ignore[union-attr]
    compared, worst_p, worst_weight = 0, 0.0, 0.0
    for words, p, weight in itertools.islice(arpa_lines(arpa), 0, None, every):
        if words == ["<s>"]:
            continue
        node = model.node([ids[word] for word in words])
        if node is None:
            raise SystemExit(f"{' '.join(words)} is in lmplz's file and not in ours")
        compared += 1
        worst_p = max(worst_p, abs(math.log10(model.arrays.probs[node]) - p))
        if weight:
            worst_weight = max(worst_weight, abs(math.log10(model.arrays.backoffs[node]) - weight))
    return {"ngrams_compared": compared, "worst_log10_p": worst_p, "worst_log10_weight": worst_weight}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=10_000_000)
    parser.add_argument("--text", type=Path, help="lines of words, instead of the corpus")
    parser.add_argument("--orders", type=int, nargs="*", default=[3, 5])
    parser.add_argument("--memory-limit", default="1GB")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--lmplz", help="KenLM's program")
    parser.add_argument("--irstlm", help="the folder of IRSTLM's programs; order 3 only")
    parser.add_argument("--nltk", help="a Python interpreter with nltk; order 3 only")
    parser.add_argument("--nltk-tokens", type=int, default=1_000_000)
    parser.add_argument("--compare", type=int, default=0, help="compare every so many n-grams with lmplz's")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        text = options.text
        if text is None:
            text = work / "text"
            print(json.dumps({"tokens": write_text(text, options.tokens), "megabytes": text.stat().st_size / 1e6}))
        few = work / "few"
        first_words(text, few, 1000)
        ours(few, 3, work / "warm", options.memory_limit, options.threads)  # the kernels are loaded
        for order in options.orders:
            measure(options, text, order, work)


def measure(options: argparse.Namespace, text: Path, order: int, work: Path) -> None:
    """All systems in turn, at one order."""
    folder, arpa = work / f"model-{order}", work / "lmplz.arpa"
    systems: dict[str, Callable[[], float]] = {
        "textmill": lambda: ours(text, order, folder, options.memory_limit, options.threads)
    }
    if options.lmplz:
        command = [options.lmplz, "-o", str(order), "-S", "2G", "-T", str(work)]
        command += ["--text", str(text), "--arpa", str(arpa)]
        systems["lmplz"] = lambda: command_seconds(command)
    if options.irstlm and order == 3:
        tlm = [f"{options.irstlm}/tlm", f"-tr={text}", "-n=3", "-lm=msb", f"-o={work / 'irstlm.arpa'}"]
        systems["irstlm"] = lambda: command_seconds(tlm)
    if options.nltk and order == 3:
        part = work / "part"
        print(json.dumps({"nltk_tokens": first_words(text, part, options.nltk_tokens)}))
        systems["nltk"] = lambda: nltk_seconds(options.nltk, part, order)
        systems["textmill, as few tokens"] = lambda: ours(
            part, order, work / "part-model", options.memory_limit, options.threads
        )
    seconds: dict[str, list[float]] = {system: [] for system in systems}
    for _ in range(options.rounds):
        for system, run in systems.items():
            with AnonymousMemory() as memory:
                seconds[system].append(run())
            if system == "textmill":
                peak = memory.peak
    for system, runs in seconds.items():
        print(json.dumps({"order": order, "by": system, "seconds": statistics.median(runs), "all": runs}))
    start = time.perf_counter()
    write_arpa(load_ngram(folder), work / "ours.arpa")
    print(json.dumps({"order": order, "write_arpa_seconds": time.perf_counter() - start}))
    size = sum(path.stat().st_size for path in folder.iterdir()) / 1e6
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    print(json.dumps({"order": order, "anonymous_mb": peak, "peak_resident_mb": largest, "model_mb": size}))
    if options.lmplz and options.compare:
        print(json.dumps({"order": order, **compare(folder, arpa, options.compare)}))


if __name__ == "__main__":
    if sys.platform != "linux":
        sys.exit("memory is read from /proc: run this on Linux")
    main()
