"""Our rules against datatrove's filters: agreement of verdict and first reason, and throughput, one process each.

    python -m benchmarks.datatrove_rules --peer /path/to/venv/bin/python $TEXTMILL_DATA/corpus_en/part-000.jsonl.zst
    python -m benchmarks.datatrove_rules --peer ... --language zh $TEXTMILL_DATA/corpus_zh/part-000.jsonl.zst

The peer's interpreter needs datatrove==0.10.1, spacy, xxhash<4, and jieba for Chinese. Both run FineWeb's four filters
in its order (en), or FineWeb-2's three with its Chinese settings (zh), on the same documents, evenly spaced in the
file, in turn; a document that a filter drops does not reach the next. Every disagreement is listed. Times are of the
process's CPU, after a warm-up document, so that another program on the machine disturbs them little.
"""

import argparse
import hashlib
import json
import os
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import pyarrow as pa

from data_quality.config import QualityConfig, SignalsConfig
from data_quality.judge import judge
from data_quality.rules import choose_rulesets, load_ruleset
from data_quality.signal_choice import resolve_signals
from data_quality.stop_words import STOP_WORDS

OURS = {
    "en": QualityConfig(),
    "zh": QualityConfig(rulesets=("fineweb2_zh",), signals=SignalsConfig(c4=None)),
}

PEER = """
import json, sys, time
from datatrove.data import Document
from datatrove.pipeline import filters

language = sys.argv[3]
if language == "en":
    stages = [
        ("gopher_repetition", filters.GopherRepetitionFilter()),
        ("gopher_quality", filters.GopherQualityFilter()),
        ("c4", filters.C4QualityFilter(filter_no_terminal_punct=False)),
        ("fineweb", filters.FineWebQualityFilter()),
    ]
else:
    t, stop_words = json.loads(sys.argv[4])
    code = "cmn_Hani"
    stages = [
        ("fineweb2_zh", filters.GopherRepetitionFilter(
            dup_para_frac=0, dup_para_char_frac=0, dup_line_char_frac=0, dup_line_frac=t["dup_line_frac"],
            top_n_grams=[(n, t[f"top_{n}_gram"]) for n in range(2, 5)],
            dup_n_grams=[(n, t[f"duplicated_{n}_n_grams"]) for n in range(5, 11)], language=code)),
        ("fineweb2_zh", filters.FineWebQualityFilter(
            short_line_thr=999, char_duplicates_ratio=t["char_dup_ratio"], line_punct_thr=t["line_punct_ratio"],
            new_line_ratio=t["list_ratio"], language=code)),
        ("fineweb2_zh", filters.GopherQualityFilter(
            min_avg_word_length=t["gopher_below_avg_threshold"], max_avg_word_length=t["gopher_above_avg_threshold"],
            max_non_alpha_words_ratio=t["gopher_below_alpha_threshold"], stop_words=stop_words, language=code)),
    ]

def first_reason(text, id):
    document = Document(text=text, id=id)
    for name, stage in stages:
        result = stage.filter(document)
        if result is not True:
            return f"{name}.{result[1]}"
    return None

documents = json.load(open(sys.argv[1]))
for _, stage in stages:
    stage.filter(Document(text="It is a word. 这是一个词。" * 100, id="warm-up"))
start = time.process_time()
reasons = {}
for id, text in documents:
    try:
        reasons[id] = first_reason(text, id)
    except ZeroDivisionError:
        reasons[id] = "error"
seconds = time.process_time() - start
json.dump({"seconds": seconds, "reasons": reasons}, open(sys.argv[2], "w"))
"""


def read_documents(paths: list[Path], count: int) -> list[tuple[str, str]]:
    """Id and text of `count` documents, evenly spaced, of some .jsonl(.zst, .gz) files."""
    lines: list[bytes] = []
    for path in paths:
        with pa.input_stream(str(path), compression="detect") as stream:
            lines += [line for line in stream.read().split(b"\n") if line]
    chosen = sorted({at * len(lines) // count for at in range(count)})
    records = [json.loads(lines[at]) for at in chosen]
    return [(record["id"], record["text"]) for record in records]


def text_hash(text: str) -> str:
    """Tells whether a text is the one that a verdict was about."""
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def run_peer(interpreter: Path, documents: Path, folder: Path, language: str) -> tuple[float, dict[str, str | None]]:
    """CPU seconds and first reasons of datatrove."""
    out = folder / "peer.json"
    thresholds = {rule.name: rule.threshold for rule in load_ruleset("fineweb2_zh").rules}
    settings = json.dumps([thresholds, STOP_WORDS["zh"]])
    subprocess.run([interpreter, "-c", PEER, str(documents), str(out), language, settings], check=True)
    result = json.loads(out.read_text())
    return result["seconds"], result["reasons"]


def run_ours(documents: Path, folder: Path, language: str) -> tuple[float, dict[str, str | None]]:
    """CPU seconds (reading and writing Parquet and the query included) and first reasons of Textmill."""
    import pyarrow.parquet as pq

    from data_quality import signals

    rows = json.loads(documents.read_text())
    languages = [language if language == "zh" else None] * len(rows)  # datatrove, too, is told that it is Chinese
    table = pa.table({"id": [row[0] for row in rows], "text": [row[1] for row in rows], "language": languages})
    config = OURS[language]
    measured = resolve_signals(config)
    pq.write_table(table, folder / "documents.parquet", row_group_size=2_000)
    pq.write_table(table.slice(0, 1), folder / "warm.parquet")
    signals._vocabulary(False).forget()  # no round knows the words of the one before
    signals.compute_signals(folder / "warm.parquet", folder / "warm_signals.parquet", measured)
    start = time.process_time()
    signals.compute_signals(folder / "documents.parquet", folder / "signals.parquet", measured)
    judge([folder / "signals.parquet"], choose_rulesets(config), folder / "verdicts.parquet")
    seconds = time.process_time() - start
    verdicts = pq.read_table(folder / "verdicts.parquet", columns=["id", "first_reason"]).to_pylist()
    return seconds, {row["id"]: row["first_reason"] for row in verdicts}


def main() -> None:
    """Print agreement, the disagreements and the median throughput of both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", type=Path, required=True, help="python of an environment with datatrove")
    parser.add_argument("--language", choices=sorted(OURS), default="en", help="whose rules")
    parser.add_argument("--documents", type=int, default=2_000, help="how many, evenly spaced")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each, in turn; the median counts")
    parser.add_argument("--verdicts", type=Path, help="write datatrove's there, with a hash of each text, for a test")
    parser.add_argument("corpus", type=Path, nargs="+", help=".jsonl or .jsonl.zst files with id and text")
    arguments = parser.parse_args()
    documents = read_documents(arguments.corpus, arguments.documents)
    megabytes = sum(len(text.encode()) for _, text in documents) / 1e6
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = folder / "documents.json"
        path.write_text(json.dumps(documents))
        ours, peers = [], []
        for _ in range(arguments.rounds):
            seconds, mine = run_ours(path, folder, arguments.language)
            ours.append(megabytes / seconds)
            seconds, theirs = run_peer(arguments.peer, path, folder, arguments.language)
            peers.append(megabytes / seconds)
    if arguments.verdicts:
        kept = (json.dumps([id, text_hash(text), theirs[id]], ensure_ascii=False) for id, text in documents)
        arguments.verdicts.write_text("".join(line + "\n" for line in kept))
    different = [id for id, _ in documents if mine[id] != theirs[id]]
    print(f"{len(documents)} documents, {megabytes:.1f} MB, {os.cpu_count()} cores, one used")
    print(f"agreement {1 - len(different) / len(documents):.4%}")
    for id in different:
        print(f"  {id}: ours {mine[id]}, datatrove {theirs[id]}")
    print(f"Textmill {statistics.median(ours):.2f} MB/s (all signals), datatrove {statistics.median(peers):.2f} MB/s")
    print(f"ratio {statistics.median(ours) / statistics.median(peers):.1f}")


if __name__ == "__main__":
    main()
