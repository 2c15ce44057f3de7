"""A frozen model of words as a backbone: words in, the vectors of each of its layers out. Nothing of it learns.

ELMo gives all its layers (Peters et al. 2018), a table of word vectors (word2vec, GloVe) one, and so does the encoder
of a translator, its vectors beside the words' own (CoVe; McCann et al. 2017, equation 6).
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lm.artifact import described, load_torch
from lm.config import StrictModel
from lm.finetune.backbone import Backbone
from lm.finetune.features.settings import WordTableConfig
from lm.finetune.features.words import CharacterWords, TableWords, TokenWords, Words
from lm.finetune.kinds import context_of, kind_of, width_of
from lm.models.cove import CoVe
from lm.models.elmo import BACKWARD, FORWARD, ELMo
from lm.models.elmo_config import ELMoConfig
from lm.models.seq2seq import Seq2Seq
from lm.models.seq2seq_config import Seq2SeqConfig
from lm.tokenizer import load_tokenizer
from lm.translator import load_translator
from lm.vectors.artifact import VECTORS, VECTORS_FILE
from lm.vectors.neighbours import WordVectors
from lm.vectors.vocabulary import Vocabulary
from lm.weights import arrays_of


class WordTable(nn.Module):
    """A vector for each word and a row of zeros behind them, float32 [words + 1, dimensions]. `seed` decides those of a
    table that is not filled: N(0, 1)."""

    def __init__(self, config: WordTableConfig, seed: int = 0) -> None:
        super().__init__()
        self.config = config
        generator = torch.Generator().manual_seed(seed)
        drawn = torch.empty(config.vocab, config.dimensions).normal_(generator=generator)
        drawn[-1] = 0
        self.vectors = nn.Parameter(drawn, requires_grad=False)


class Features(Backbone):
    """A frozen model and how it cuts texts. Padding is on the right."""

    def __init__(self, model: nn.Module, settings: StrictModel, words: Words) -> None:
        nn.Module.__init__(self)
        self.model, self.settings, self.words = model.eval().requires_grad_(False), settings, words
        self.kind = kind_of(settings)
        self.width, self.context = width_of(settings), context_of(settings)

    @property
    def vocab(self) -> int:
        """Words that it was trained on."""
        return int(self.settings.source_vocab if isinstance(self.settings, Seq2SeqConfig) else self.settings.vocab)  # type: ignore[attr-defined]

    @property
    def depth(self) -> int:
        """How many layers it gives."""
        return self.settings.layers + 1 if isinstance(self.settings, ELMoConfig) else 1

    @torch.no_grad()
    def forward(self, tokens: Tensor, segments: Tensor | None = None, real: Tensor | None = None) -> Tensor:
        """The vectors of each layer, [depth, batch, time, width], zeros at padding; they have no gradient.

        `tokens`: ids of `words`, int64 [batch, time]; `real`: bool [batch, time], False for padding.
        """
        if real is None:
            real = torch.ones_like(tokens, dtype=torch.bool)
        lengths = real.sum(1)
        if isinstance(self.model, ELMo):
            found = elmo_layers(self.model, self.words, tokens, lengths)
        elif isinstance(self.model, CoVe):
            assert isinstance(self.words, TokenWords)
            room = torch.cat([tokens, tokens[:, :1]], 1)
            at_end = torch.arange(room.shape[1], device=room.device) >= lengths[:, None]
            found = self.model(room.masked_fill(at_end, self.words.edge), lengths + 1)[None, :, :-1]
        else:
            assert isinstance(self.model, WordTable)
            found = self.model.vectors[tokens][None]
        return found * real[..., None]

    def layers(self) -> list[list[nn.Parameter]]:
        """None: nothing of it learns."""
        return []


def elmo_layers(model: ELMo, words: Words, tokens: Tensor, lengths: Tensor) -> Tensor:
    """What `ELMo.contextual` says of each text between its marks, [layers + 1, batch, time, 2 width], padding not read.

    The backward model reads each row from its own last word.
    """
    assert isinstance(words, CharacterWords)
    rows, time = tokens.shape
    place = torch.arange(time + 2, device=tokens.device)
    framed = tokens.new_full((rows, time + 2), words.edge)
    framed[:, 1:-1] = tokens
    framed.masked_fill_(place > lengths[:, None], words.edge)
    different, places = framed.unique(return_inverse=True)
    x = nn.functional.embedding(places, model.words(words.characters(different)))
    forwards, _ = model.read(x, FORWARD)
    backwards, _ = model.read(reversed_rows(x, lengths + 2), BACKWARD)
    turned = [reversed_rows(layer, lengths + 2) for layer in backwards]
    pairs = [(x, x), *zip(forwards, turned, strict=True)]
    return torch.stack([torch.cat(pair, -1)[:, 1:-1] for pair in pairs])


def reversed_rows(x: Tensor, lengths: Tensor) -> Tensor:
    """Each row's first `lengths` steps from the last to the first, padding where it is: [batch, time, width]."""
    place = torch.arange(x.shape[1], device=x.device).expand(x.shape[:2])
    order = torch.where(place < lengths[:, None], lengths[:, None] - 1 - place, place)
    return x.gather(1, order[..., None].expand_as(x))


def open_features(folder: Path) -> tuple[Features, Words]:
    """The model of a folder of ours (ELMo, word vectors, a translator) and how it cuts texts.

    Raises FileNotFoundError or ValueError saying what is missing or does not fit.
    """
    config = described(folder)
    if config["kind"] == "seq2seq":
        translator = load_translator(folder)
        assert isinstance(translator.model, Seq2Seq)
        words: Words = TokenWords(translator.source)
        return Features(CoVe(translator.model), translator.model.config, words), words
    if config["kind"] == "elmo":
        elmo, tokenizer = load_torch(folder, ELMo)
        words = CharacterWords(tokenizer, elmo.config.characters)
        return Features(elmo, elmo.config, words), words
    settings = WordTableConfig.of(config)
    words = words_of(settings, folder)
    table = WordTable(settings)
    with torch.no_grad():
        table.vectors[:-1] = torch.from_numpy(arrays_of(folder / VECTORS_FILE, VECTORS)[0])
    return Features(table, settings, words), words


def words_of(settings: StrictModel, folder: Path) -> Words:
    """How a model with these settings cuts texts, from the folder of a fine-tuned one or, but for CoVe, its own."""
    if isinstance(settings, WordTableConfig):
        vocabulary = Vocabulary.load(folder)
        tokenizer = load_tokenizer(folder) if settings.unit == "token" else None
        # the vectors themselves are the model's affair
        return TableWords(WordVectors(vocabulary, [None] * len(vocabulary), {}, tokenizer))  # type: ignore[arg-type]
    if isinstance(settings, ELMoConfig):
        return CharacterWords(load_tokenizer(folder), settings.characters)
    return TokenWords(load_tokenizer(folder))


def new_features(settings: StrictModel, words: Words, seed: int = 0) -> Features:
    """Random weights of that size."""
    made: dict[type, Any] = {
        WordTableConfig: lambda c: WordTable(c, seed),
        ELMoConfig: lambda c: ELMo(c, seed, torch.from_numpy(words.own)),  # type: ignore[attr-defined]
        Seq2SeqConfig: lambda c: CoVe(Seq2Seq(c, seed)),
    }
    return Features(made[type(settings)](settings), settings, words)
