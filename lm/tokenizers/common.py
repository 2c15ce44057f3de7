"""What several kinds share: special tokens, pre-tokens and their counts, and how a huge text is cut."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from tokenizers import AddedToken, Tokenizer

END_OF_TEXT = "<|endoftext|>"
UNKNOWN = "<unk>"
CONTINUES = "##"  # before a piece of WordPiece that goes on within a word
BYTES = tuple(f"<0x{byte:02X}>" for byte in range(256))
"""Names of the tokens that stand for one byte each where characters are not in the vocabulary (SentencePiece's)."""
CHUNK_CHARS = 1_000_000
HELD_CHARS = 20_000_000
"""Text that is held as chunks while pre-tokens are counted."""

# Scripts written without spaces between words: what looks like one word is a clause, seldom seen twice.
UNSEGMENTED = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"


class Trained(NamedTuple):
    """A new tokenizer, and what its unknown token stands for in the sample (None: it has no such token)."""

    tokenizer: Tokenizer
    unknown: Mapping[str, int] | None = None


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


def special(names: Iterable[str]) -> list[AddedToken]:
    """Special tokens of these names, as `Tokenizer.add_special_tokens` takes them."""
    return [AddedToken(name, special=True, normalized=False) for name in names]


def pre_token_counts(tokenizer: Tokenizer, texts: Iterable[str]) -> Counter[str]:
    """How often each pre-token of the normalised texts occurs, exactly as encoding will cut them.

    Texts are cut before spaces, where no pre-token goes on, and a chunk that occurs often is looked at once.
    """
    counts: Counter[str] = Counter()
    chunks: Counter[str] = Counter()
    held = 0
    for text in texts:
        for piece in pieces(tokenizer, text):
            chunks.update(_SPACE.split(piece))
            held += len(piece)
        if held > HELD_CHARS:
            _add_pre_tokens(tokenizer, chunks, counts)
            chunks, held = Counter(), 0
    _add_pre_tokens(tokenizer, chunks, counts)
    return counts


def _add_pre_tokens(tokenizer: Tokenizer, chunks: Counter[str], counts: Counter[str]) -> None:
    for chunk, times in chunks.items():
        normal = tokenizer.normalizer.normalize_str(chunk) if tokenizer.normalizer else chunk
        for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(normal):
            counts[word] += times


def by_frequency(counts: Mapping[str, int], min_frequency: int, limit: int) -> list[str]:
    """The most frequent keys, those of equal frequency in the order of their characters."""
    kept = [key for key, count in counts.items() if count >= min_frequency]
    return sorted(kept, key=lambda key: (-counts[key], key))[: max(0, limit)]


def pieces(tokenizer: Tokenizer, text: str) -> Iterator[str]:
    """Cut a text of more than `CHUNK_CHARS` characters so that the pieces encode as the whole does.

    No pre-token of any kind goes on from a non-space into a space: the cut is there. Where a million characters
    have no such place, it is where the pre-tokenizer itself cuts; a tokenizer that normalises first, or puts a
    space before every text, is not asked, and the piece grows until there is one.
    """
    start = 0
    while len(text) - start > CHUNK_CHARS:
        end = start + CHUNK_CHARS
        boundary = _SPACE.search(text, start + CHUNK_CHARS // 2, end)
        cut = boundary.start() if boundary else _between_pre_tokens(tokenizer, text, start, end)
        if cut is None:
            later = _SPACE.search(text, end)
            cut = later.start() if later else len(text)
        yield text[start:cut]
        start = cut
    if start < len(text):
        yield text[start:]


_SPACE = re.compile(r"(?<=\S)(?= )")


def _between_pre_tokens(tokenizer: Tokenizer, text: str, start: int, end: int) -> int | None:
    if tokenizer.normalizer is not None:
        return None
    if tokenizer.pre_tokenizer is None:
        return end if _each_character_alone(tokenizer) else None
    if adds_a_space(tokenizer):
        return None
    # The last two may be cut by the end of the window; all before them are as in the whole text. Whitespace at the end
    # of a piece would be taken for whitespace at the end of a text.
    starts = [start + span[0] for _, span in tokenizer.pre_tokenizer.pre_tokenize_str(text[start:end])]
    return next((cut for cut in reversed(starts[1:-1]) if not text[cut - 1].isspace()), None)


def _each_character_alone(tokenizer: Tokenizer) -> bool:
    model = json.loads(tokenizer.to_str())["model"]
    return model["type"] == "BPE" and not model["merges"]


def adds_a_space(tokenizer: Tokenizer) -> bool:
    """Whether a text that begins with a word is encoded as if a space stood before it."""
    pre_tokenizer: dict[str, Any] = json.loads(tokenizer.to_str())["pre_tokenizer"] or {}
    inner = pre_tokenizer.get("pretokenizers", [pre_tokenizer])
    return any(part.get("add_prefix_space") or part.get("type") == "Metaspace" for part in inner)
