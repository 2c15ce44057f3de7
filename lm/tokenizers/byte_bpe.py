"""Byte-level BPE (Sennrich et al. 2016; GPT-2 paper, section 2.2) with the `tokenizers` library.

The vocabulary depends on the multiset of texts only: words are counted and pairs with equal counts are merged
in a fixed order, so neither the order of documents nor the number of threads shows in the result (tested).
"""

from collections.abc import Iterable

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from lm.stop import ShouldStop
from lm.tokenizers.common import END_OF_TEXT, Trained, pre_token_pattern
from lm.tokenizers.config import ByteBPEConfig

ROBERTA = ("<s>", "<pad>", "</s>", "<mask>")
"""RoBERTa's special tokens; its `<unk>`, which bytes never need, is left out."""


def train(texts: Iterable[str], config: ByteBPEConfig, should_stop: ShouldStop) -> Trained:
    """Learn merges with the library's own trainer, which is deterministic for bytes: their order is fixed."""
    tokenizer = Tokenizer(models.BPE())
    split = pre_tokenizers.Split(
        Regex(pre_token_pattern(config.max_word_length, config.max_unsegmented_length)), "isolated"
    )
    to_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, to_bytes])
    tokenizer.decoder = decoders.ByteLevel()
    special: list[AddedToken | str] = [END_OF_TEXT]
    if config.special_tokens == "roberta":
        # A space before <mask> is the token's, so that "a <mask> b" has no token of a lone space (as RoBERTa's).
        special = [AddedToken(name, special=True, normalized=False, lstrip=name == "<mask>") for name in ROBERTA]
    trainer = trainers.BpeTrainer(
        vocab_size=config.vocab_size,
        min_frequency=config.min_frequency,
        special_tokens=special,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    if config.special_tokens == "roberta":
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<s> $A </s>",
            pair="<s> $A </s> </s> $B </s>",
            special_tokens=[(name, tokenizer.token_to_id(name)) for name in ("<s>", "</s>")],
        )
    return Trained(tokenizer)
