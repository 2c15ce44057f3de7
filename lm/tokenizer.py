"""Byte-level BPE (Sennrich et al. 2016; GPT-2 paper, section 2.2) with the `tokenizers` library.

The vocabulary depends on the multiset of texts only: words are counted and pairs with equal counts are merged
in a fixed order, so neither the order of documents nor the number of threads shows in the result (tested).
"""

import json
import os
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from lm.config import TokenizerConfig
from lm.stop import ShouldStop, check, never

END_OF_TEXT = "<|endoftext|>"
TOKENIZER_FILE = "tokenizer.json"
CHUNK_CHARS = 1_000_000


# Scripts written without spaces between words: what looks like one word is a clause, seldom seen twice.
UNSEGMENTED = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"


def pre_token_pattern(max_length: int, max_unsegmented: int) -> str:
    """GPT-2's pre-tokenisation (openai/gpt-2 `src/encoder.py`) with runs cut at `max_length` characters, those
    of scripts without spaces at `max_unsegmented`, and combining marks counted as letters."""
    run = f"{{1,{max_length}}}"
    return "|".join(
        [
            r"'(?:[sdmt]|ll|ve|re)",
            rf" ?[{UNSEGMENTED}]{{1,{max_unsegmented}}}",
            rf" ?[[\p{{L}}\p{{M}}]&&[^{UNSEGMENTED}]]{run}",
            rf" ?\p{{N}}{run}",
            rf" ?[^\s\p{{L}}\p{{M}}\p{{N}}]{run}",
            rf"\s{run}(?!\S)",
            rf"\s{run}",
        ]
    )


def train_tokenizer(
    texts: Iterable[str],
    config: TokenizerConfig,
    out_dir: Path,
    progress: Callable[[int], None] = lambda _: None,
    should_stop: ShouldStop = never,
) -> dict[str, int]:
    """Learn a tokenizer and write `tokenizer.json` and `tokenizer_config.json` to `out_dir`.

    Texts are read until `config.sample_bytes` is reached, and held only as counts of pre-tokens; `progress`
    advances by documents. Returns {documents, bytes, vocab_size}: the vocabulary is smaller than asked for
    where the text has not enough pairs. Raises ValueError if there is no text.
    """
    counts = {"documents": 0, "bytes": 0}

    def sample() -> Iterator[str]:
        for text in texts:
            if counts["bytes"] >= config.sample_bytes:
                return
            check(should_stop, "reading text for the tokenizer")
            counts["documents"] += 1
            counts["bytes"] += len(text.encode("utf-8", "surrogatepass"))
            progress(1)
            yield text

    tokenizer = Tokenizer(models.BPE())
    split = pre_tokenizers.Split(
        Regex(pre_token_pattern(config.max_word_length, config.max_unsegmented_length)), "isolated"
    )
    to_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, to_bytes])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=config.vocab_size,
        min_frequency=config.min_frequency,
        special_tokens=[END_OF_TEXT],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(sample(), trainer)
    if not counts["bytes"]:
        raise ValueError("there is no text to learn a tokenizer from")
    save_tokenizer(tokenizer, out_dir)
    return {**counts, "vocab_size": tokenizer.get_vocab_size()}


def save_tokenizer(tokenizer: Tokenizer, out_dir: Path) -> None:
    """Write the two files of a tokenizer artifact."""
    out_dir.mkdir(parents=True, exist_ok=True)
    described = {
        "kind": "byte_bpe",
        "vocab_size": tokenizer.get_vocab_size(),
        "special_tokens": {END_OF_TEXT: end_of_text_id(tokenizer)},
    }
    _publish(out_dir / "tokenizer_config.json", json.dumps(described, indent=1, ensure_ascii=False) + "\n")
    _publish(out_dir / TOKENIZER_FILE, tokenizer.to_str(pretty=True))


def load_tokenizer(directory: Path) -> Tokenizer:
    """The tokenizer of an artifact or of a Hugging Face folder with a byte-level `tokenizer.json`.

    Text is only text to it: a document that contains the characters `<|endoftext|>` gets no special token.
    Raises FileNotFoundError or ValueError saying what is wrong.
    """
    path = directory / TOKENIZER_FILE
    if not path.exists():
        raise FileNotFoundError(f"{path}: no tokenizer there")
    tokenizer = Tokenizer.from_file(str(path))
    if not isinstance(tokenizer.decoder, decoders.ByteLevel):
        raise ValueError(f"{path}: not a byte-level tokenizer (its decoder is {tokenizer.decoder})")
    tokenizer.encode_special_tokens = True
    tokenizer.no_truncation()
    tokenizer.no_padding()
    end_of_text_id(tokenizer)
    return tokenizer


def end_of_text_id(tokenizer: Tokenizer) -> int:
    """The id of `<|endoftext|>`, which stands between documents and begins every generation."""
    token = tokenizer.token_to_id(END_OF_TEXT)
    if token is None:
        raise ValueError(f"the tokenizer has no {END_OF_TEXT} token")
    return int(token)


def token_byte_lengths(tokenizer: Tokenizer) -> np.ndarray:
    """The UTF-8 bytes that each token stands for, int64 [vocab]; 0 for special tokens.

    In a byte-level vocabulary each character of a token's name is one byte.
    """
    special = {i for i, token in tokenizer.get_added_tokens_decoder().items() if token.special}
    lengths = np.zeros(tokenizer.get_vocab_size(), dtype=np.int64)
    for name, token in tokenizer.get_vocab().items():
        lengths[token] = 0 if token in special else len(name)
    return lengths


def encode_documents(tokenizer: Tokenizer, texts: list[str]) -> list[np.ndarray]:
    """Token ids (int64) of each text, without special tokens. A huge text is encoded piece by piece."""
    pieces, owners = [], []
    for owner, text in enumerate(texts):
        for piece in _pieces(text):
            pieces.append(piece)
            owners.append(owner)
    ids: list[list[int]] = [[] for _ in texts]
    for owner, encoding in zip(owners, tokenizer.encode_batch_fast(pieces, add_special_tokens=False), strict=True):
        ids[owner].extend(encoding.ids)
    return [np.array(i, dtype=np.int64) for i in ids]


def _pieces(text: str) -> Iterator[str]:
    """Cut a text of more than `CHUNK_CHARS` characters where whitespace follows something else.

    No pre-token continues from a non-space into a space, so the pieces encode as the whole does; only a text
    without any space in a million characters is cut in the middle.
    """
    start = 0
    while len(text) - start > CHUNK_CHARS:
        cut = start + CHUNK_CHARS
        if boundary := re.compile(r"(?<=\S)(?=\s)").search(text, start + CHUNK_CHARS // 2, cut):
            cut = boundary.start()
        yield text[start:cut]
        start = cut
    yield text[start:]


def _publish(path: Path, content: str) -> None:
    partial = path.with_name(path.name + ".tmp")
    partial.write_text(content, encoding="utf-8")
    os.replace(partial, path)
