"""Words of a closed vocabulary, the most frequent ones of the sample; any other word is `<unk>`.

The rule, in this order: a Chinese, Japanese, Thai, Lao, Khmer or Burmese character is a word; so are a run of
other letters and marks with apostrophes inside (don't), a run of digits with points and commas inside (3.14), any
other single sign, a line end, and a run of other whitespace. Every byte of a text belongs to one word: with
`spaces: attached` one space belongs to the word behind it (" the"; not to a Chinese character, which has none), with
`separate` to a word of whitespace.
So only what became `<unk>` is lost, and `lm.tokenizers.spelling` pays for it.
"""

from collections.abc import Iterable

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers

from lm.stop import ShouldStop
from lm.tokenizers.common import (
    END_OF_TEXT,
    UNKNOWN,
    UNSEGMENTED,
    Trained,
    by_frequency,
    pre_token_counts,
    special,
)
from lm.tokenizers.config import WordConfig

SPACE_RUN = 16


def word_pattern(spaces: str, max_length: int) -> str:
    """The rule as a regular expression (Oniguruma): leftmost, first alternative."""
    letters = rf"[[\p{{L}}\p{{M}}]&&[^{UNSEGMENTED}]]"
    before = " ?" if spaces == "attached" else ""
    blank = rf"[^\S\n]{{1,{SPACE_RUN}}}"
    words = [
        rf"{letters}{{1,{max_length}}}(?:['’]{letters}{{1,{max_length}}})*",
        rf"\p{{N}}{{1,{max_length}}}(?:[.,]\p{{N}}{{1,{max_length}}})*",
        r"[^\s\p{L}\p{M}\p{N}]",
    ]
    # Of several spaces before a word, the last one is left to it.
    spaced = [before + word for word in words]
    return "|".join([rf"[{UNSEGMENTED}]", *spaced, r"\n", *([blank + r"(?!\S)"] if before else []), blank])


def train(texts: Iterable[str], config: WordConfig, should_stop: ShouldStop) -> Trained:
    """Count words and keep the most frequent ones, in that order."""
    tokenizer = Tokenizer(models.WordLevel(vocab={UNKNOWN: 0}, unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(
        Regex(word_pattern(config.spaces, config.max_word_length)), "isolated"
    )
    tokenizer.decoder = decoders.Fuse()
    counts = pre_token_counts(tokenizer, texts)
    first = [END_OF_TEXT, UNKNOWN]
    words = by_frequency(counts, config.min_frequency, config.vocab_size - len(first))
    vocab = {token: number for number, token in enumerate([*first, *words])}
    tokenizer.model = models.WordLevel(vocab=vocab, unk_token=UNKNOWN)
    tokenizer.add_special_tokens(special(first))
    return Trained(tokenizer, {word: count for word, count in counts.items() if word not in vocab})
