"""ELMo as its users see it."""

from collections.abc import Sequence
from typing import Unpack

import numpy as np
import torch

from lm.characters import bare, boundary_characters, character_ids
from lm.generate_stepwise import ForwardStep, continue_text
from lm.models.elmo import FORWARD, ELMo
from lm.objectives.causal import token_nats
from lm.sampling import Sampling
from lm.stop import ShouldStop, check, never
from lm.texts.base import TorchText
from lm.tokenizer import end_of_text_id

SEGMENT = 1024  # words read together


class ELMoText(TorchText[ELMo]):
    """ELMo. Its forward model scores each word behind the whole text before it, and continues texts; both together
    say what words mean where they stand."""

    kind = "elmo"

    def token_nats(self, sequences: Sequence[np.ndarray], should_stop: ShouldStop = never) -> list[np.ndarray]:
        end = end_of_text_id(self.tokenizer)
        return [self._nats([end, *ids], should_stop) for ids in sequences]

    def _nats(self, ids: Sequence[int], should_stop: ShouldStop) -> np.ndarray:
        """-ln p of all but the first by the forward model, its state carried from segment to segment."""
        tokens = torch.as_tensor(np.asarray(ids))
        states, nats = None, [np.empty(0)]
        for start in range(0, len(tokens) - 1, SEGMENT):
            check(should_stop, "scoring")
            part = tokens[None, start : start + SEGMENT + 1].to(self.model.softmax.weight.device)
            with torch.no_grad():
                outputs, states = self.model.read(self.model.token_vectors(part[:, :-1]), FORWARD, states)
                nats.append(token_nats(self.model.logits(outputs[-1]), part[:, 1:])[0].double().cpu().numpy())
        return np.concatenate(nats)

    def generate(self, prompt: str, max_new_tokens: int, **sampling: Unpack[Sampling]) -> str:
        return continue_text(ForwardStep(self.model), self.tokenizer, prompt, max_new_tokens, **sampling)

    def embed(self, words: Sequence[str]) -> np.ndarray:
        """The words of one sentence as vectors of every layer, float32 [layers + 1, words, 2 * width].

        Any word has one, from its characters, whether it is in the vocabulary or not. The same sentence always has
        the same vectors. Raises ValueError for a sentence without words or an empty word.
        """
        if not words or not all(words):
            raise ValueError("a sentence needs at least one word, and no word may be empty")
        found: np.ndarray = self._layers(words).cpu().numpy()
        return found

    def words(self, text: str) -> list[str]:
        """The words of a text as the model reads them: as its tokenizer cuts them, each without the space before it;
        a line end and other blanks that belong to no word are words of white space."""
        return [bare(word) for word, _ in self.tokenizer.pre_tokenizer.pre_tokenize_str(text)]

    def embed_texts(
        self, texts: Sequence[str], layer: int | None = None, should_stop: ShouldStop = never
    ) -> tuple[np.ndarray, list[int]]:
        """The mean over the words of each text, float32 [texts, 2 * width], of a layer (0: the word alone) or of the
        mean of all layers; and how many words each has, white space not counted. A text without any is zeros; one of
        more than `SEGMENT` words is read in pieces. Raises ValueError if there is no such layer."""
        layers = self.model.config.layers
        if layer is not None and not 0 <= layer <= layers:
            raise ValueError(f"there is no layer {layer}: 0 is the word alone, 1 to {layers} read its sentence")
        vectors = np.zeros((len(texts), 2 * self.model.config.width), dtype=np.float32)
        counts = []
        for row, text in zip(vectors, texts, strict=True):
            words = self.words(text)
            real = torch.tensor([not word.isspace() for word in words], dtype=torch.bool)
            total = torch.zeros(len(row), dtype=torch.float64)
            for start in range(0, len(words), SEGMENT):
                check(should_stop, "embedding")
                read = self._layers(words[start : start + SEGMENT]).cpu().double()
                chosen = read.mean(0) if layer is None else read[layer]
                total += chosen[real[start : start + SEGMENT]].sum(0)
            counts.append(int(real.sum()))
            row[:] = (total / max(1, counts[-1])).numpy()
        return vectors, counts

    def _layers(self, words: Sequence[str]) -> torch.Tensor:
        """What `embed` gives, as a tensor on the model's device."""
        length = self.model.config.characters
        edge = boundary_characters(length)[None]
        rows = torch.from_numpy(np.concatenate([edge, character_ids(words, length), edge]))[None]
        with torch.no_grad():
            x = self.model.word_vectors(rows.to(self.model.softmax.weight.device))
            return self.model.contextual(x)[:, 0, 1:-1].float()
