"""Examples of a masked language model: segments of a `TokenIndex`, framed, masked and padded.

[CLS] A [SEP] B [SEP], or [CLS] A [SEP]. An example's content is a function of (seed, epoch, number): the trainer gives
epoch * examples + number (`lm.order.numbered_by_epoch`).
"""

import hashlib
from functools import partial

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor

from lm.masking import Masked, Masking
from lm.masking_config import MaskingConfig, SegmentsConfig
from lm.memo import Remembered
from lm.objectives.causal import IGNORE
from lm.order import draw_seed
from lm.sentence_pairs import plan
from lm.sentences import find_sentences
from lm.similar_words import SimilarWords
from lm.special_tokens import special_ids, special_tokens
from lm.tokens import TokenIndex, named_documents
from lm.words_in_tokens import Segment, WordStarts


class MaskedExamples:
    """What `MaskedObjective` trains on (`Examples` protocol).

    `segment` cuts Chinese into words where `masking.chinese_words` asks for them. `similar`: what may stand for a
    hidden word, which `hidden_by: similar` needs. Raises ValueError if that lacks, the tokenizer has no mask token or
    there is too little text.
    """

    def __init__(
        self,
        index: TokenIndex,
        tokenizer: Tokenizer,
        masking: MaskingConfig,
        segments: SegmentsConfig,
        seed: int,
        segment: Segment | None = None,
        similar: SimilarWords | None = None,
    ) -> None:
        if masking.chinese_words and segment is None:
            raise ValueError("chinese_words needs a function that cuts Chinese into words")
        self.index, self.masking, self.segments, self.seed = index, masking, segments, seed
        self.special = special_tokens(tokenizer)
        self.sentences = find_sentences(index, tokenizer, segments.length - 3)
        if not len(self.sentences.low):
            raise ValueError(f"{len(index)} documents hold no text: there is nothing to mask")
        self.words = WordStarts(tokenizer, segment if masking.chinese_words else None)
        self.ordinary = np.array(sorted(set(range(tokenizer.get_vocab_size())) - special_ids(tokenizer)))
        self.mask = Masking(masking, self.special.mask, self.ordinary, similar)
        self._shards = index.open()
        self._plan = Remembered(partial(plan, self.sentences, segments, seed))
        self.passes = 1 if segments.pairs == "none" else segments.passes
        # Every pass has as many examples as the longest one: the others begin again.
        self._count = max(len(self._plan(number)) for number in range(self.passes))
        alike = b"" if similar is None else similar.fingerprint.encode()
        settings = f"{masking.model_dump_json()}{segments.model_dump_json()}{seed}".encode() + alike
        self.fingerprint = f"{index.fingerprint}/{hashlib.blake2b(settings, digest_size=8).hexdigest()}"

    def __len__(self) -> int:
        return self._count

    def where(self, number: int) -> str:
        """The documents that an example is made from: for messages."""
        a_low, _, b_low, b_high, _ = self._row(number)[1].tolist()
        lows = [a_low, *([b_low] if b_high > b_low else [])]
        found = np.searchsorted(self.sentences.begin, lows, side="right") - 1
        return named_documents(self.index, np.unique(found).tolist())

    def _row(self, number: int) -> tuple[int, np.ndarray]:
        """The pass over the text that an example is in, and what it consists of (`lm.sentence_pairs.plan`)."""
        epoch, place = divmod(int(number), self._count)
        rows = self._plan(epoch % self.passes)
        return epoch, rows[place % len(rows)]

    def example(self, number: int) -> tuple[Masked, int, int]:
        """Example `number`, over the epochs: what is seen and asked, where segment B begins, the pair's class."""
        epoch, row = self._row(number)
        a_low, a_high, b_low, b_high, label = row.tolist()
        special = self.special
        end = np.array([special.sep])
        parts = [np.array([special.cls]), self.read(a_low, a_high), end]
        second = a_high - a_low + 2
        if b_high > b_low:
            parts += [self.read(b_low, b_high), end]
        ids = np.concatenate(parts).astype(np.int64)
        text = np.ones(len(ids), dtype=bool)
        text[[0, second - 1, len(ids) - 1]] = False
        text &= ids != special.sep  # between documents
        starts = self.words(ids) if self.masking.unit == "word" else np.ones(len(ids), dtype=bool)
        times = epoch if self.masking.dynamic else epoch % self.segments.passes
        draw = np.random.Generator(np.random.PCG64(draw_seed(self.seed, "mask", times, int(number) % self._count)))
        return self.mask(ids, text, starts, draw), second, label

    def read(self, low: int, high: int) -> np.ndarray:
        """Tokens low .. high - 1 of the stream of documents, the separator between them included."""
        begin = self.sentences.begin
        document = int(np.searchsorted(begin, low, side="right")) - 1
        parts = []
        while low < high:
            end = int(begin[document + 1]) - 1
            stop, offset = min(high, end), int(self.index.start[document]) - int(begin[document])
            parts.append(self._shards[self.index.shard[document]][offset + low : offset + stop])
            if stop < high:
                parts.append(np.array([self.special.sep]))
            low, document = stop + 1, document + 1
        return np.concatenate(parts)

    def batch(self, indices: np.ndarray) -> dict[str, Tensor]:
        """What is seen, [batch, longest of them]: "tokens", "segments" (int64) and "real" (bool). What is asked,
        [batch, most predictions of them]: "positions", "targets" (`IGNORE` fills up), with `boundary` "span_low" and
        "span_high". "pair": int64 [batch]."""
        examples = [self.example(int(number)) for number in indices]
        time = max(len(masked.tokens) for masked, _, _ in examples)
        asked = max(len(masked.positions) for masked, _, _ in examples)
        shape, wide = (len(examples), time), (len(examples), asked)
        tokens, segments = np.full(shape, self.special.pad), np.zeros(shape, dtype=np.int64)
        real = np.zeros(shape, dtype=bool)
        positions, targets = np.zeros(wide, dtype=np.int64), np.full(wide, IGNORE)
        low, high = np.zeros(wide, dtype=np.int64), np.zeros(wide, dtype=np.int64)
        for row, (masked, second, _) in enumerate(examples):
            length, count = len(masked.tokens), len(masked.positions)
            tokens[row, :length], real[row, :length] = masked.tokens, True
            segments[row, second:length] = 1
            positions[row, :count], targets[row, :count] = masked.positions, masked.targets
            low[row, :count], high[row, :count] = masked.span_low, masked.span_high
        arrays = {"tokens": tokens, "segments": segments, "real": real, "positions": positions, "targets": targets}
        arrays["pair"] = np.array([label for _, _, label in examples])
        if self.masking.boundary:
            arrays |= {"span_low": low, "span_high": high}
        return {name: torch.from_numpy(array) for name, array in arrays.items()}
