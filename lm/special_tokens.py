"""The special tokens that a masked language model needs, by what they do."""

from typing import NamedTuple

from tokenizers import Tokenizer

NAMES = (("[PAD]", "[CLS]", "[SEP]", "[MASK]"), ("<pad>", "<s>", "</s>", "<mask>"))
"""BERT's and RoBERTa's names."""


class SpecialTokens(NamedTuple):
    """Ids of the token that fills up, that begins a text, that ends a segment and that hides a token."""

    pad: int
    cls: int
    sep: int
    mask: int


def special_tokens(tokenizer: Tokenizer) -> SpecialTokens:
    """Those of a tokenizer. Raises ValueError if it has none."""
    for names in NAMES:
        ids = [token for token in map(tokenizer.token_to_id, names) if token is not None]
        if len(ids) == len(names):
            return SpecialTokens(*ids)
    raise ValueError(
        "the tokenizer has no token that hides another: a masked language model needs kind: wordpiece, or byte_bpe with"
        " special_tokens: roberta"
    )


def special_ids(tokenizer: Tokenizer) -> frozenset[int]:
    """All ids that stand for no text, which are never masked and never put in a token's place."""
    return frozenset(i for i, token in tokenizer.get_added_tokens_decoder().items() if token.special)
