"""A trained encoder-decoder as its users see it: texts in, texts out. Its folder:

config.json (with "kind")  model.safetensors  source/ and target/: a tokenizer each

translator = load_translator(folder)
translator.translate(["A man sleeps."])
"""

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer

from lm.abilities import cannot
from lm.beam import beam_search, greedy
from lm.damaged import read_object, validated
from lm.evaluating import evaluating
from lm.models.seq2seq import Seq2Seq
from lm.models.seq2seq_config import Seq2SeqConfig
from lm.models.transformer import Transformer
from lm.models.transformer_config import TransformerConfig
from lm.padding import padded
from lm.stop import ShouldStop, check, never
from lm.tokenizer import copy_tokenizer, encode_documents, end_of_text_id, load_tokenizer
from lm.translator_config import SearchConfig
from lm.weights import check_size, load_weights, read_weights

SOURCE, TARGET = "source", "target"
Model = Seq2Seq | Transformer


class Translator:
    """A model with the tokenizers of both sides."""

    def __init__(self, model: Model, source: Tokenizer, target: Tokenizer) -> None:
        self.model, self.source, self.target = model, source, target
        self.source_end, self.end = end_of_text_id(source), end_of_text_id(target)

    def sources(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Tokens of each text and the end token, int64."""
        return [np.append(ids, self.source_end) for ids in encode_documents(self.source, list(texts))]

    def translate(
        self,
        texts: Sequence[str],
        search: SearchConfig | None = None,
        should_stop: ShouldStop = never,
        progress: Callable[[int], None] = lambda _: None,
    ) -> list[str]:
        """The best target found for each text; `progress` advances by texts. Texts of like length go together."""
        search = search or SearchConfig()
        encoded = self.sources(texts)
        found = [""] * len(texts)
        device = next(self.model.parameters()).device
        with evaluating(self.model):
            by_length = sorted(range(len(texts)), key=lambda i: len(encoded[i]))
            for start in range(0, len(texts), search.batch):
                check(should_stop, "translating")
                chosen = by_length[start : start + search.batch]
                rows = [encoded[i] for i in chosen]
                tokens = torch.from_numpy(padded(rows, self.source_end))
                lengths = torch.tensor([len(row) for row in rows])
                ids = self._search(tokens.to(device), lengths.to(device), search, should_stop)
                for i, target in zip(chosen, ids, strict=True):
                    found[i] = str(self.target.decode(target, skip_special_tokens=False))
                progress(len(chosen))
        return found

    def _search(
        self, source: torch.Tensor, lengths: torch.Tensor, search: SearchConfig, should_stop: ShouldStop
    ) -> list[list[int]]:
        if search.beam == 1:
            return greedy(self.model, source, lengths, self.end, search.extra, should_stop)
        found = beam_search(
            self.model,
            source,
            lengths,
            self.end,
            beam=search.beam,
            alpha=search.alpha,
            extra=search.extra,
            should_stop=should_stop,
        )
        return [hypotheses[0].tokens for hypotheses in found]

    @torch.no_grad()
    def align(self, source: str, target: str) -> tuple[list[str], list[str], np.ndarray]:
        """Source tokens, target tokens (the end last), and how much each target token looked at each source token,
        fp32 [target, source]. Raises ValueError for a model without attention."""
        x = self.sources([source])[0]
        y = np.append(encode_documents(self.target, [target])[0], self.end)
        inputs = np.concatenate([[self.end], y[:-1]])
        device = next(self.model.parameters()).device
        given = (torch.from_numpy(x)[None], torch.tensor([len(x)]), torch.from_numpy(inputs)[None])
        weights = self.model.eval().alignments(*(tensor.to(device) for tensor in given))
        if weights is None:
            raise ValueError("this model has no attention: it looks at nothing")
        return _shown(self.source, x), _shown(self.target, y), weights[0].float().cpu().numpy()


def _shown(tokenizer: Tokenizer, ids: np.ndarray) -> list[str]:
    return [str(tokenizer.decode([int(i)], skip_special_tokens=False)) for i in ids]


def build_model(config: Seq2SeqConfig | TransformerConfig, seed: int = 0) -> Model:
    """An untrained model of either kind."""
    return Seq2Seq(config, seed) if isinstance(config, Seq2SeqConfig) else Transformer(config, seed)


def save_translator(model: Model, source: Path, target: Path, folder: Path) -> None:
    """Write a model folder with the tokenizers of two folders."""
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / "model.safetensors.tmp"
    tensors = {k: v.detach().cpu().contiguous() for k, v in model.state_dict().items()}
    save_file(tensors, partial)
    os.replace(partial, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(model.config.model_dump(), indent=1) + "\n")
    copy_tokenizer(source, folder / SOURCE)
    copy_tokenizer(target, folder / TARGET)


def load_translator(folder: Path, device: str = "cpu") -> Translator:
    """The translator of a folder that `save_translator` wrote, in eval mode.

    Raises FileNotFoundError or ValueError saying what is missing or does not fit.
    """
    path = folder / "config.json"
    if not path.exists():
        raise FileNotFoundError(f"{path}: no model there")
    config = read_object(path)
    kinds: dict[str, type[Seq2SeqConfig] | type[TransformerConfig]] = {
        "seq2seq": Seq2SeqConfig,
        "transformer": TransformerConfig,
    }
    if not isinstance(kind := config.get("kind", "gpt"), str) or kind not in kinds:
        raise ValueError(f"{path}: {cannot(str(kind), 'translate')}")
    settings: Seq2SeqConfig | TransformerConfig = validated(kinds[kind], config, path)
    weights = read_weights(folder / "model.safetensors")
    check_size(settings, weights, path)
    model = build_model(settings)
    load_weights(model, weights, folder / "model.safetensors")
    source, target = load_tokenizer(folder / SOURCE), load_tokenizer(folder / TARGET)
    for side, tokenizer, vocab in (
        (SOURCE, source, model.config.source_vocab),
        (TARGET, target, model.config.target_vocab),
    ):
        if tokenizer.get_vocab_size() > vocab:
            raise ValueError(
                f"{folder / side}: the tokenizer has {tokenizer.get_vocab_size()} tokens, the model {vocab}"
            )
    return Translator(model.to(device).eval(), source, target)
