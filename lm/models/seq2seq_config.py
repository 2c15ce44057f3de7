"""Sizes of recurrent encoder-decoders; importable without torch."""

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from lm.config import StrictModel
from lm.models.rnn_config import GATES
from lm.presets import from_preset, with_preset


class Seq2SeqConfig(StrictModel):
    """An encoder and a decoder of recurrent cells, with or without attention (Sutskever et al. 2014; Bahdanau et al.
    2015; Luong et al. 2015)."""

    kind: Literal["seq2seq"] = Field(default="seq2seq", description="Which model these settings are for.")
    preset: str | None = Field(
        default=None,
        exclude=True,
        description="One of sutskever, bahdanau, luong, cove, tiny, small; fields given beside it win. It is replaced"
        " by its values when the configuration is read. A translator's vocabularies are those of its tokenizers, not"
        " the preset's.",
    )
    cell: Literal["gru", "lstm"] = Field(default="lstm", description="What stands at each step of both sides.")
    embedding: int = Field(default=256, ge=1, description="Width of a token's vector.")
    width: int = Field(default=256, ge=1, description="Width of each layer's state; encoder: in each direction.")
    layers: int = Field(default=1, ge=1, description="Recurrent layers of the encoder, and as many of the decoder.")
    source_vocab: int = Field(default=8192, ge=1, description="Tokens of the source's tokenizer.")
    target_vocab: int = Field(default=8192, ge=1, description="Tokens of the target's tokenizer.")
    bidirectional: bool = Field(
        default=False,
        description="The encoder reads in both directions (Bahdanau et al. 2015, section 3.2); the decoder begins with"
        " what the backward one ends with, in a learned projection.",
    )
    reverse_source: bool = Field(
        default=False,
        description="The encoder reads the source from its last word to its first (Sutskever et al. 2014, section 3.3);"
        " alignments keep the order of the text.",
    )
    attention: Literal["none", "additive", "dot", "general"] = Field(
        default="none",
        description="`none`: the last state is all that the decoder knows of the source; `additive`: v'tanh(W s + U h)"
        " (Bahdanau et al.); `dot`: s'h, `general`: s'W h (Luong et al.).",
    )
    input_feeding: bool = Field(
        default=False,
        description="`dot`, `general`: what attention made of a step enters the next one (Luong et al., section 3.3),"
        " which then cannot be computed before it: slower to train.",
    )
    tied: bool = Field(default=False, description="The head is the embedding of target tokens.")
    shared_embedding: bool = Field(
        default=False, description="Source and target tokens have the same vectors: for one tokenizer of both."
    )
    dropout: float = Field(
        default=0.0, ge=0.0, lt=1.0, description="On token vectors, between layers and before the head."
    )
    initial_span: float | None = Field(
        default=None,
        gt=0.0,
        description="All initial weights are uniform in ± this (Sutskever et al.: 0.08). None: ±1/√inputs of a matrix,"
        " ±1/√width in the cells, ±0.1 in the embeddings; biases are zero.",
    )
    forget_bias: float | None = Field(
        default=1.0, description="Bias of an LSTM's forget gate at the start. None: drawn as the rest."
    )

    @model_validator(mode="before")
    @classmethod
    def _of_preset(cls, given: Any) -> Any:
        return with_preset(given, lambda: SEQ2SEQ_PRESETS)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.attention == "dot" and self.bidirectional:
            raise ValueError(
                "attention: dot needs annotations as wide as the decoder's state, and a bidirectional encoder's are"
                " twice as wide: choose general or additive"
            )
        if self.attention == "none" and self.bidirectional:
            raise ValueError(
                "bidirectional needs attention: the backward cells alone begin the decoder, and nothing else would be"
                " read of the forward ones"
            )
        if self.input_feeding and self.attention not in ("dot", "general"):
            raise ValueError(f"input_feeding is for attention dot and general, not for {self.attention}")
        if self.tied and self.attention == "none" and self.width != self.embedding:
            raise ValueError(
                f"a tied head without attention needs a width equal to the embedding: {self.width} and {self.embedding}"
            )
        if self.shared_embedding and self.source_vocab != self.target_vocab:
            raise ValueError(
                f"shared_embedding needs one vocabulary on both sides, not {self.source_vocab} and {self.target_vocab}"
            )
        return self

    @property
    def directions(self) -> int:
        return 2 if self.bidirectional else 1

    @property
    def memory(self) -> int:
        """Width of what the encoder says of each source token (an annotation)."""
        return self.directions * self.width

    @property
    def readout(self) -> int:
        """Width of what the head reads: the embedding's if tied; Bahdanau's maxout halves its width of 1000."""
        if self.tied:
            return self.embedding
        return max(1, self.width // 2) if self.attention == "additive" else self.width

    @property
    def decoder_inputs(self) -> int:
        """Width of what enters the decoder's first layer at a step."""
        if self.attention == "additive":
            return self.embedding + self.memory
        return self.embedding + (self.readout if self.input_feeding else 0)

    def with_vocab(self, source: int, target: int) -> "Seq2SeqConfig":
        """The same model for other tokenizers."""
        return Seq2SeqConfig.model_validate({**self.model_dump(), "source_vocab": source, "target_vocab": target})

    def parameter_count(self) -> int:
        """Trainable numbers, shared ones counted once."""
        gates, w, e, m, r = GATES[self.cell], self.width, self.embedding, self.memory, self.readout
        vectors = e * (self.target_vocab + (0 if self.shared_embedding else self.source_vocab))
        below = (e, *(m,) * (self.layers - 1))
        encoder = sum(self.directions * gates * w * (inputs + w + 2) for inputs in below)
        above = (self.decoder_inputs, *(w,) * (self.layers - 1))
        decoder = sum(gates * w * (inputs + w + 2) for inputs in above)
        states = 2 if self.cell == "lstm" else 1
        bridge = self.layers * states * (w * w + w) if self.bidirectional else 0
        score = {"none": 0, "dot": 0, "general": w * m, "additive": w * w + m * w + w + w}[self.attention]
        if self.attention == "additive":
            out = 2 * r * (w + m + e) + 2 * r
        else:
            out = 0 if self.attention == "none" else r * (w + m)
        head = self.target_vocab + (0 if self.tied else self.target_vocab * r)
        return vectors + encoder + decoder + bridge + score + out + head


SEQ2SEQ_PRESETS: dict[str, Seq2SeqConfig] = {
    # Sutskever et al. 2014, section 3.4
    "sutskever": Seq2SeqConfig(
        embedding=1000,
        width=1000,
        layers=4,
        source_vocab=160_000,
        target_vocab=80_000,
        reverse_source=True,
        initial_span=0.08,
        forget_bias=None,
    ),
    # Bahdanau et al. 2015, RNNsearch: appendix A and B
    "bahdanau": Seq2SeqConfig(
        cell="gru",
        embedding=620,
        width=1000,
        source_vocab=30_000,
        target_vocab=30_000,
        bidirectional=True,
        attention="additive",
    ),
    # Luong et al. 2015, section 4.1, with reversal, dropout and input feeding
    "luong": Seq2SeqConfig(
        embedding=1000,
        width=1000,
        layers=4,
        source_vocab=50_000,
        target_vocab=50_000,
        reverse_source=True,
        attention="dot",
        input_feeding=True,
        dropout=0.2,
        initial_span=0.1,
        forget_bias=None,
    ),
    # McCann et al. 2017, section 3: the MT-LSTM whose encoder gives CoVe
    "cove": Seq2SeqConfig(
        embedding=300,
        width=300,
        layers=2,
        source_vocab=50_000,
        target_vocab=50_000,
        bidirectional=True,
        attention="general",
        input_feeding=True,
        dropout=0.2,
    ),
    # Ours, for small machines.
    "tiny": Seq2SeqConfig(embedding=32, width=64, source_vocab=64, target_vocab=64, attention="dot"),
    "small": Seq2SeqConfig(
        cell="lstm",
        embedding=192,
        width=256,
        bidirectional=True,
        attention="general",
        tied=True,
        dropout=0.3,
    ),
}


def seq2seq_preset(name: str, **overrides: Any) -> Seq2SeqConfig:
    """A preset by name with fields replaced. Raises ValueError naming the nearest if there is none of that name."""
    return from_preset(SEQ2SEQ_PRESETS, name, **overrides)
