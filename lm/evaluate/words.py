"""How many words a text has, for a perplexity per word that does not depend on the tokenizer.

A word is what the tokenizer of words takes for one (`lm.tokenizers.word`; a Chinese character is one) but white space.
Perplexity per word is exp(nats of all of the text / words): what stands between words is paid for, not counted.
"""

import math
from collections.abc import Iterable

from tokenizers import Regex, pre_tokenizers

from lm.tokenizers.word import word_pattern

LONGEST = 1000  # letters of a word


def word_count(texts: Iterable[str]) -> int:
    """Words of all texts together."""
    splitter = pre_tokenizers.Split(Regex(word_pattern("separate", LONGEST)), "isolated")
    return sum(1 for text in texts for word, _ in splitter.pre_tokenize_str(text) if not word.isspace())


def perplexity_per_word(bits_per_byte: float, bytes_per_word: float) -> float:
    """exp(nats / words) of text that costs so many bits a byte."""
    return math.exp(bits_per_byte * math.log(2) * bytes_per_word)
