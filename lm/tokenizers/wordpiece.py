"""WordPiece as in BERT (Schuster and Nakajima 2012; Devlin et al. 2018; google-research/bert `tokenization.py`).

Text is cleaned, optionally lower-cased and stripped of accents, cut at whitespace, punctuation and around every
Chinese character; a word is cut greedily into the longest pieces of the vocabulary, `##` before all but the first.
A word that cannot be cut is [UNK]. The trainer of the papers was never published; as in the `tokenizers` library
pieces come from merging the most frequent pair, but from sorted counts: that library numbers its pieces in the
order of a hash table, which differs from run to run.
"""

from collections import Counter
from collections.abc import Iterable

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from lm.stop import ShouldStop
from lm.tokenizers.common import CONTINUES, Trained, by_frequency, pre_token_counts, special
from lm.tokenizers.config import WordPieceConfig
from lm.tokenizers.merges import learn_pieces

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
"""In the order of BERT's vocabularies. [SEP] ends a document, as it ends a segment in BERT."""
MAX_WORD_CHARS = 100


def train(texts: Iterable[str], config: WordPieceConfig, should_stop: ShouldStop) -> Trained:
    """Count words, keep the most frequent characters, merge pairs until the vocabulary is full."""
    tokenizer = Tokenizer(models.WordPiece(vocab={"[UNK]": 0}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(
        clean_text=True,
        handle_chinese_chars=config.chinese_characters,
        strip_accents=config.strip_accents,
        lowercase=config.lowercase,
    )
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece(prefix=CONTINUES)
    counts = pre_token_counts(tokenizer, texts)
    room = config.vocab_size - len(SPECIAL_TOKENS)
    alphabet = _alphabet(counts, config.min_frequency, max(1, int(config.character_share * room)))
    pieces = learn_pieces(counts, alphabet, room - len(alphabet), config.min_frequency, should_stop)
    vocab = {token: number for number, token in enumerate([*SPECIAL_TOKENS, *alphabet, *pieces])}
    tokenizer.model = models.WordPiece(vocab=vocab, unk_token="[UNK]", max_input_chars_per_word=MAX_WORD_CHARS)
    tokenizer.add_special_tokens(special(SPECIAL_TOKENS))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(name, vocab[name]) for name in ("[CLS]", "[SEP]")],
    )
    unknown = {w: n for w, n in counts.items() if len(w) > MAX_WORD_CHARS or not set(_symbols(w)) <= vocab.keys()}
    return Trained(tokenizer, unknown)


def _symbols(word: str) -> list[str]:
    return [word[0], *(CONTINUES + character for character in word[1:])]


def _alphabet(counts: Counter[str], min_frequency: int, limit: int) -> list[str]:
    """Characters as they begin and as they go on, the most frequent ones, sorted."""
    symbols: Counter[str] = Counter()
    for word, count in counts.items():
        for symbol in _symbols(word):
            symbols[symbol] += count
    return sorted(
        by_frequency(symbols, min_frequency, limit), key=lambda symbol: (symbol.startswith(CONTINUES), symbol)
    )
