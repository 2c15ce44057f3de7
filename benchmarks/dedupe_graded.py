"""Right answers of near-dedupe on a graded corpus: `python benchmarks/dedupe_graded.py [--pairs 3000] [--peer PYTHON]`.

Real documents (the corpora of TEXTMILL_DATA, else docstrings and our own pages) and variants of them whose
true Jaccard is then computed by brute force on sets of strings: words replaced, sentences shuffled, another header,
the end cut off, and for Chinese single characters replaced; and pages that share a template of 60 % of their words.
Prints, for thresholds 0.7, 0.8, 0.9: how many of the true pairs become candidates and how many are removed, beside the
analytic S-curve; the precision; removals by chain; how many template pages stay. With --peer, an interpreter that has
datatrove 0.10.1 and xxhash < 4, the same of what datatrove removes.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import regex

from data_quality.config import DedupeConfig, NearDedupeConfig, SignatureConfig
from data_quality.dedupe.minhash import near_dedupe
from data_quality.dedupe.signatures import signature_shard

PEER = """
import sys, pathlib
from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.dedup import MinhashDedupSignature, MinhashDedupBuckets, MinhashDedupCluster, MinhashDedupFilter
from datatrove.pipeline.dedup.minhash import MinhashConfig
from datatrove.pipeline.readers import JsonlReader
from datatrove.pipeline.writers import JsonlWriter
from datatrove.utils.typeshelper import Languages
source, work, language = sys.argv[1:]
config = MinhashConfig()
language = {"en": Languages.english, "zh": "cmn_Hani"}[language]
read = lambda: JsonlReader(source, compression=None)
for name, tasks, pipeline in (
    ("sig", 1, [read(), MinhashDedupSignature(f"{work}/sig", config, language=language)]),
    ("buckets", config.num_buckets, [MinhashDedupBuckets(f"{work}/sig", f"{work}/buckets", config=config)]),
    ("cluster", 1, [MinhashDedupCluster(f"{work}/buckets", f"{work}/remove")]),
    ("filter", 1, [read(), MinhashDedupFilter(f"{work}/remove"), JsonlWriter(f"{work}/out", compression=None)]),
):
    LocalPipelineExecutor(pipeline, tasks=tasks, workers=1, logging_dir=f"{work}/log/{name}").run()
"""
SHARES = (0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.08, 0.1, 0.13)
"""Shares of words (or characters) that are changed: word-5 Jaccard from about 0.95 down to 0.3."""
THRESHOLDS = (0.7, 0.8, 0.9)
UNSPACED = regex.compile(r"[\p{Han}\p{Hiragana}\p{Katakana}]")


@dataclass(frozen=True)
class Pair:
    """Two texts made from one document, of true Jaccard `similarity`."""

    kind: str
    left: str
    right: str
    similarity: float


def words_of(text: str) -> list[str]:
    """Words of a text that was made of lower-case words and spaces; a Han or Kana character is one."""
    return UNSPACED.sub(lambda match: f" {match.group()} ", text).split()


@lru_cache(maxsize=100_000)
def shingles(text: str, size: int = 5) -> frozenset[tuple[str, ...]]:
    """The sets of `size` consecutive words, as tuples of strings."""
    words = words_of(text)
    return frozenset(tuple(words[i : i + size]) for i in range(max(1, len(words) - size + 1)))


def jaccard(left: str, right: str) -> float:
    """True Jaccard similarity."""
    return len(shingles(left) & shingles(right)) / len(shingles(left) | shingles(right))


def sentences_of(texts: Iterator[str], chinese: bool) -> Iterator[list[list[str]]]:
    """Documents as sentences of plain lower-case words, so that brute force needs no rule for punctuation or digits."""
    keep = r"\p{Han}" if chinese else r"[a-z]+"
    seen = set()
    for text in texts:
        cut = regex.split(r"[.!?。！？\n]+", text.lower())
        sentences = [found for found in (regex.findall(keep, sentence) for sentence in cut) if len(found) >= 3]
        words = [word for sentence in sentences for word in sentence][:400]
        if len(words) >= 120 and tuple(words[:40]) not in seen:
            seen.add(tuple(words[:40]))
            yield sentences


def real_texts(language: str) -> Iterator[str]:
    """Texts of TEXTMILL_DATA; without it, docstrings of the standard library and our own pages in Chinese."""
    data = os.environ.get("TEXTMILL_DATA")
    if data is None:
        yield from docstrings() if language == "en" else pages()
        return
    for path in sorted((Path(data) / f"corpus_{language}").glob("*.jsonl.zst")):
        with pa.input_stream(str(path), compression="zstd") as stream:
            for line in stream.read().split(b"\n"):
                if line:
                    yield json.loads(line)["text"]


def docstrings() -> Iterator[str]:
    """Long runs of documentation of installed modules."""
    for path in sorted(Path(os.__file__).parent.glob("*.py")):
        source = path.read_text(encoding="utf-8", errors="replace")
        yield "\n".join(regex.findall(r'"""(.*?)"""', source, regex.DOTALL))


def pages() -> Iterator[str]:
    """The documentation in Chinese."""
    for path in sorted(Path(__file__).parents[1].glob("docs/**/*.zh.md")):
        yield path.read_text(encoding="utf-8")


def changed(sentences: list[list[str]], kind: str, share: float, vocabulary: Sequence[str], rng: random.Random) -> str:
    """A variant of a document."""
    words = [word for sentence in sentences for word in sentence]
    count = max(1, round(share * len(words)))
    if kind in ("words", "characters"):
        for place in rng.sample(range(len(words)), count):
            words[place] = rng.choice(vocabulary)
    elif kind == "sentences":
        order = list(sentences)
        for _ in range(max(1, round(share * len(order) * 2))):
            one, other = rng.randrange(len(order)), rng.randrange(len(order))
            order[one], order[other] = order[other], order[one]
        words = [word for sentence in order for word in sentence]
    elif kind == "header":
        words[: 5 * count] = [rng.choice(vocabulary) for _ in range(5 * count)]
    else:
        words = words[: len(words) - 5 * count]
    return " ".join(words) if kind != "characters" else "".join(words)


def graded_pairs(language: str, count: int, seed: int = 0) -> list[Pair]:
    """`count` pairs of every kind and share in turn, from as many real documents as there are, again and again."""
    rng = random.Random(seed)
    chinese = language == "zh"
    documents = [shortened(one, 300) for one in sentences_of(real_texts(language), chinese)]
    rng.shuffle(documents)
    vocabulary = sorted({word for one in documents[:2000] for sentence in one for word in sentence})
    kinds = ("characters",) if chinese else ("words", "sentences", "header", "truncated")
    pairs = []
    for number in range(count):
        sentences = documents[number % len(documents)]
        if number >= len(documents):  # a document used before: its words in another order are another document
            words = [word for sentence in sentences for word in sentence]
            rng.shuffle(words)
            sentences = [words[i : i + 12] for i in range(0, len(words), 12)]
        kind = kinds[number % len(kinds)]
        joint = "" if chinese else " "
        left = joint.join(word for sentence in sentences for word in sentence)
        right = changed(sentences, kind, SHARES[number // len(kinds) % len(SHARES)], vocabulary, rng)
        pairs.append(Pair(kind, left, right, jaccard(left, right)))
    return pairs


def shortened(sentences: list[list[str]], words: int) -> list[list[str]]:
    """The first sentences, of so many words together."""
    out: list[list[str]] = []
    for sentence in sentences:
        room = words - sum(map(len, out))
        if room <= 0:
            break
        out.append(sentence[:room])
    return out


def template_pages(count: int, seed: int = 0) -> list[str]:
    """Pages of which 60 % of the words, in three runs, are the same."""
    rng = random.Random(seed)
    letters = "abcdefghijklmnopqrstuvwxyz"
    vocabulary = ["".join(rng.choices(letters, k=rng.randrange(2, 9))) for _ in range(5000)]
    runs = [rng.choices(vocabulary, k=60) for _ in range(3)]
    pages = []
    for _ in range(count):
        own = [rng.choices(vocabulary, k=40) for _ in range(3)]
        pages.append(" ".join(word for run, mine in zip(runs, own, strict=True) for word in [*run, *mine]))
    return pages


def s_curve(similarity: float, config: SignatureConfig) -> float:
    """The chance that two sets of this Jaccard similarity share a band."""
    return float(1 - (1 - similarity**config.rows) ** config.bands)


Remover = Callable[[list[str], list[str], float], dict[str, str | None]]
"""(ids, texts, threshold) -> {removed: kept, or None where that is not known}"""


def ours(config: SignatureConfig) -> Remover:
    """near_dedupe on these texts."""

    def remove(ids: list[str], texts: list[str], threshold: float) -> dict[str, str | None]:
        with tempfile.TemporaryDirectory() as name:
            work = Path(name)
            documents = _documents(work, ids, texts)
            signature_shard(documents, work / "signatures.parquet", config)
            settings = DedupeConfig(near=NearDedupeConfig(threshold=threshold))
            out = work / "duplicates.parquet"
            near_dedupe([work / "signatures.parquet"], out, settings, temp_directory=work)
            rows = pq.read_table(out).to_pylist()
            return {row["dropped"]: row["kept"] for row in rows}

    return remove


def peer(python: str, language: str) -> Remover:
    """datatrove's four steps on these texts; it knows no threshold."""

    def remove(ids: list[str], texts: list[str], threshold: float) -> dict[str, str | None]:
        with tempfile.TemporaryDirectory() as name:
            work = Path(name)
            (work / "in").mkdir()
            lines = [json.dumps({"id": id_, "text": text}) for id_, text in zip(ids, texts, strict=True)]
            (work / "in" / "documents.jsonl").write_text("\n".join(lines) + "\n")
            command = [python, "-c", PEER, str(work / "in"), str(work), language]
            subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
            written = [path.read_text() for path in (work / "out").glob("*.jsonl")]
            return dict.fromkeys(set(ids) - {json.loads(line)["id"] for text in written for line in text.splitlines()})

    return remove


def _documents(work: Path, ids: list[str], texts: list[str]) -> Path:
    (work / "documents").mkdir()
    table = {"id": ids, "source": ["s"] * len(ids), "text": texts, "text_hash": ids}
    pq.write_table(pa.table(table), work / "documents" / "documents.parquet")
    return work / "documents" / "documents.parquet"


def candidate_share(pairs: list[Pair], threshold: float, config: SignatureConfig) -> dict[str, float]:
    """Of the pairs at or above a threshold: how many share a band, and what the S-curve says."""
    true = [pair for pair in pairs if pair.similarity >= threshold]
    with tempfile.TemporaryDirectory() as name:
        texts = [text for pair in true for text in (pair.left, pair.right)]
        documents = _documents(Path(name), [str(i) for i in range(len(texts))], texts)
        signature_shard(documents, Path(name) / "signatures.parquet", config)
        table = pq.read_table(Path(name) / "signatures.parquet")
    bands = list(zip(*(table[f"b{band}"].to_pylist() for band in range(config.bands)), strict=True))
    met = sum(any(map(int.__eq__, *both)) for both in zip(bands[::2], bands[1::2], strict=True))
    expected = sum(s_curve(pair.similarity, config) for pair in true)
    return {"pairs": len(true), "found": met / max(1, len(true)), "s_curve": expected / max(1, len(true))}


def judged(remove: Remover, pairs: list[Pair], threshold: float) -> dict[str, float]:
    """Recall of pairs at or above the threshold, and precision: the removed that reach it with the text they go for.

    Where the remover does not say for which text, any text of the corpus that is not the removed one will do.
    """
    texts: dict[str, str] = {}
    for number, pair in enumerate(pairs):
        texts |= {f"{number:06d}a": pair.left, f"{number:06d}b": pair.right}
    removed = remove(list(texts), list(texts.values()), threshold)

    def right(id_: str, kept: str | None) -> bool:
        own = id_[:-1] + ("b" if id_.endswith("a") else "a")
        others = [kept] if kept else [own, *(other for other in texts if other != id_)]
        return any(jaccard(texts[id_], texts[other]) >= threshold for other in others)

    true = [number for number, pair in enumerate(pairs) if pair.similarity >= threshold]
    found = sum(f"{number:06d}a" in removed or f"{number:06d}b" in removed for number in true)
    precision = sum(right(id_, kept) for id_, kept in removed.items()) / max(1, len(removed))
    return {"removed": len(removed), "recall": found / max(1, len(true)), "precision": precision}


def chains(count: int, seed: int = 0) -> list[tuple[str, str, str]]:
    """Texts a, b, c with a~b and b~c at about 0.85 and a~c at about 0.72, longest first."""
    rng = random.Random(seed)
    out = []
    for _ in range(count):
        first = [f"w{rng.randrange(10**6)}x" for _ in range(205)]
        second, third = [*first[:203]], [*first[:201]]
        for place in rng.sample(range(5, 100, 6), 3):
            second[place] = third[place] = f"v{rng.randrange(10**6)}x"
        for place in rng.sample(range(105, 200, 6), 3):
            third[place] = f"u{rng.randrange(10**6)}x"
        texts = [
            " ".join(words).translate(str.maketrans("0123456789", "abcdefghij")) for words in (first, second, third)
        ]
        out.append((texts[0], texts[1], texts[2]))
    return out


def chained(remove: Remover, count: int, threshold: float = 0.8) -> float:
    """Share of ends of chains removed although they are below the threshold of every text that stays."""
    texts = [text for chain in chains(count) for text in chain]
    ids = [f"{number:05d}{end}" for number in range(count) for end in "abc"]
    removed = remove(ids, texts, threshold)
    by_id = dict(zip(ids, texts, strict=True))
    wrong = 0
    for id_ in removed:
        family = [id_[:-1] + end for end in "abc"]
        wrong += not any(other not in removed and jaccard(by_id[id_], by_id[other]) >= threshold for other in family)
    return wrong / count


def templates_kept(remove: Remover, count: int, threshold: float = 0.8) -> float:
    """Share of the template pages that stay."""
    return 1 - len(remove([f"{i:05d}" for i in range(count)], template_pages(count), threshold)) / count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=3000, help="per language")
    parser.add_argument("--templates", type=int, default=1000)
    parser.add_argument("--chains", type=int, default=300)
    parser.add_argument("--peer", help="a Python interpreter with datatrove==0.10.1 and xxhash<4")
    options = parser.parse_args()
    config = SignatureConfig()
    for language in ("en", "zh") if "TEXTMILL_DATA" in os.environ else ("en",):
        pairs = graded_pairs(language, options.pairs)
        removers = {"textmill": ours(config)} | ({"datatrove": peer(options.peer, language)} if options.peer else {})
        for threshold in THRESHOLDS:
            figures: dict[str, object] = {"language": language, "threshold": threshold}
            figures["candidates"] = rounded(candidate_share(pairs, threshold, config))
            for name, remove in removers.items():
                figures[name] = rounded(judged(remove, pairs, threshold))
            print(json.dumps(figures), flush=True)
        if language == "en":
            for name, remove in removers.items():
                kept = templates_kept(remove, options.templates)
                wrong = chained(remove, options.chains)
                print(
                    json.dumps({"by": name, "template_pages_kept": round(kept, 4), "chain_removals": round(wrong, 4)})
                )
                sys.stdout.flush()


def rounded(figures: dict[str, float]) -> dict[str, float]:
    """Four digits."""
    return {name: round(value, 4) for name, value in figures.items()}


if __name__ == "__main__":
    main()
