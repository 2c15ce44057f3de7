"""Characters: one token for each Unicode code point of a closed set, counted in the sample.

It is a BPE model without merges, which the `tokenizers` library runs fastest. By default any other character
becomes its UTF-8 bytes: nothing is lost, bits per byte is exact without a spelling model, and rare Chinese
characters cost three tokens instead of an embedding each that is hardly ever trained. `unknown: unk` gives the
small vocabularies of published character models (tinyshakespeare: 65 characters, <unk> and <|endoftext|>).
"""

from collections import Counter
from collections.abc import Iterable

from tokenizers import Tokenizer, decoders, models

from lm.stop import ShouldStop
from lm.tokenizers.common import BYTES, END_OF_TEXT, UNKNOWN, Trained, by_frequency, special
from lm.tokenizers.config import CharacterConfig


def train(texts: Iterable[str], config: CharacterConfig, should_stop: ShouldStop) -> Trained:
    """Count characters and keep the most frequent ones, in that order."""
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(text)
    first = [END_OF_TEXT, *(BYTES if config.unknown == "bytes" else [UNKNOWN])]
    characters = by_frequency(counts, config.min_frequency, config.vocab_size - len(first))
    vocab = {token: number for number, token in enumerate([*first, *characters])}
    if config.unknown == "bytes":
        tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=[], byte_fallback=True))
        tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()])
        tokenizer.add_special_tokens(special([END_OF_TEXT]))
        return Trained(tokenizer)
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=[], unk_token=UNKNOWN))
    tokenizer.decoder = decoders.Fuse()
    tokenizer.add_special_tokens(special([END_OF_TEXT, UNKNOWN]))
    return Trained(tokenizer, {c: n for c, n in counts.items() if c not in vocab})
