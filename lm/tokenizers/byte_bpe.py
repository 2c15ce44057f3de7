"""Byte-level BPE (Sennrich et al. 2016; GPT-2 paper, section 2.2) with the `tokenizers` library.

The vocabulary depends on the multiset of texts only: words are counted and pairs with equal counts are merged
in a fixed order, so neither the order of documents nor the number of threads shows in the result (tested).
"""

from collections.abc import Iterable

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from lm.stop import ShouldStop
from lm.tokenizers.common import END_OF_TEXT, Trained, pre_token_pattern
from lm.tokenizers.config import ByteBPEConfig


def train(texts: Iterable[str], config: ByteBPEConfig, should_stop: ShouldStop) -> Trained:
    """Learn merges with the library's own trainer, which is deterministic for bytes: their order is fixed."""
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
    tokenizer.train_from_iterator(texts, trainer)
    return Trained(tokenizer)
