"""Configuration of tokenizers: one strict model per kind, told apart by `kind`; importable without torch."""

from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Field, GetJsonSchemaHandler, Tag, TypeAdapter, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from lm.config import StrictModel

DEFAULT_KIND = "byte_bpe"


class SampleConfig(StrictModel):
    """What every kind has: how much text it learns from."""

    sample_bytes: int = Field(
        default=50_000_000,
        ge=1,
        description="UTF-8 bytes of text to learn from at most. Documents are taken in the order given, until"
        " this is reached: give them in an order that does not depend on shards. It bounds the memory: about 6 MB"
        " for each MB of English, up to 50 of Chinese.",
    )


class ByteBPEConfig(SampleConfig):
    """Byte-level BPE: every string has an encoding, and decoding gives it back exactly."""

    kind: Literal["byte_bpe"] = Field(default="byte_bpe", description="Which tokenizer these settings are for.")
    vocab_size: int = Field(
        default=8192,
        ge=257,
        le=1_000_000,
        description="Tokens at most, `<|endoftext|>` and the 256 bytes included; fewer where the text has not"
        " enough pairs. Up to 65,536 a token takes two bytes on disk, beyond that four.",
    )
    min_frequency: int = Field(default=2, ge=1, description="Occurrences a pair needs to become a token.")
    max_word_length: int = Field(
        default=24,
        ge=1,
        le=256,
        description="Characters of a pre-token at most: a longer run of letters, digits, punctuation or spaces is cut.",
    )
    max_unsegmented_length: int = Field(
        default=4,
        ge=1,
        le=256,
        description="The same for Chinese, Japanese, Thai and other scripts without spaces, where a clause"
        " would otherwise count as one word: each is new, and their table outgrows the memory.",
    )
    special_tokens: Literal["gpt", "roberta"] = Field(
        default="gpt",
        description="`gpt`: `<|endoftext|>` alone. `roberta`: `<s>`, `<pad>`, `</s>` and `<mask>`, the first ids, which"
        " a masked language model needs; `</s>` then ends a document.",
    )

    @model_validator(mode="after")
    def _room_for_bytes(self) -> Self:
        if self.special_tokens == "roberta" and self.vocab_size < 260:
            raise ValueError(f"vocab_size {self.vocab_size} has no room for 256 bytes and 4 special tokens: give 260")
        return self


class CharacterConfig(SampleConfig):
    """One token for each character (Unicode code point) of a closed set."""

    kind: Literal["character"] = Field(description="Which tokenizer these settings are for.")
    vocab_size: int = Field(
        default=8192,
        ge=3,
        le=1_000_000,
        description="Tokens at most, special tokens and bytes included: the most frequent characters are kept.",
    )
    min_frequency: int = Field(default=2, ge=1, description="Occurrences a character needs to become a token.")
    unknown: Literal["bytes", "unk"] = Field(
        default="bytes",
        description="What any other character becomes. `bytes`: its UTF-8 bytes, 256 tokens of their own, so that"
        " nothing is ever lost. `unk`: the token `<unk>`, for the small vocabularies of character models as published.",
    )

    @model_validator(mode="after")
    def _room_for_characters(self) -> Self:
        if self.unknown == "bytes" and self.vocab_size < 258:
            raise ValueError(
                f"vocab_size {self.vocab_size} has no room beside 256 bytes: at least 258, or unknown: unk"
            )
        return self


class WordPieceConfig(SampleConfig):
    """BERT's WordPiece: words cut greedily into the longest pieces, `##` before all but the first."""

    kind: Literal["wordpiece"] = Field(description="Which tokenizer these settings are for.")
    vocab_size: int = Field(
        default=8192,
        ge=6,
        le=1_000_000,
        description="Tokens at most, [PAD] [UNK] [CLS] [SEP] [MASK] and single characters included.",
    )
    min_frequency: int = Field(default=2, ge=1, description="Occurrences a pair or a character needs to become one.")
    character_share: float = Field(
        default=0.7,
        gt=0.0,
        le=1.0,
        description="Share of the vocabulary that single characters may take, as first and as later ones of a word, the"
        " most frequent first; a word with any other is [UNK].",
    )
    lowercase: bool = Field(default=True, description="Lower-case the text (BERT uncased); false: BERT cased.")
    strip_accents: bool | None = Field(
        default=None, description="Drop combining marks after decomposition; null: where `lowercase` does, as BERT."
    )
    chinese_characters: bool = Field(default=True, description="Every Chinese character is a word, as in BERT.")


class UnigramConfig(SampleConfig):
    """Unigram language model over pieces: the most probable segmentation of each pre-token; bytes for the rest."""

    kind: Literal["unigram"] = Field(description="Which tokenizer these settings are for.")
    vocab_size: int = Field(
        default=8192, ge=260, le=1_000_000, description="Tokens at most, special tokens and the 256 bytes included."
    )
    character_coverage: float = Field(
        default=0.9995,
        gt=0.0,
        le=1.0,
        description="Share of the text that characters of the vocabulary cover; rarer ones become bytes.",
    )
    character_share: float = Field(
        default=0.5,
        gt=0.0,
        le=1.0,
        description="Share of the vocabulary that single characters may take, the most frequent first; Chinese ones"
        " would take all of a small one.",
    )
    max_piece_length: int = Field(default=16, ge=1, le=64, description="Characters of a piece at most.")
    max_word_length: int = Field(default=24, ge=1, le=256, description="Characters of a pre-token at most.")
    max_unsegmented_length: int = Field(
        default=16,
        ge=1,
        le=256,
        description="The same for scripts without spaces; longer than in BPE, since the model itself finds the words.",
    )
    seed_factor: int = Field(
        default=10, ge=2, le=100, description="Frequent substrings to begin with, as a multiple of `vocab_size`."
    )
    shrink: float = Field(
        default=0.75, gt=0.0, lt=1.0, description="Share of the pieces that a round of pruning keeps."
    )


class WordConfig(SampleConfig):
    """Whole words of a closed vocabulary; any other word is `<unk>`."""

    kind: Literal["word"] = Field(description="Which tokenizer these settings are for.")
    vocab_size: int = Field(
        default=16384, ge=3, le=1_000_000, description="Tokens at most, `<|endoftext|>` and `<unk>` included."
    )
    min_frequency: int = Field(default=3, ge=1, description="Occurrences a word needs to become a token.")
    spaces: Literal["attached", "separate"] = Field(
        default="attached",
        description="`attached`: one space belongs to the word behind it, as in GPT-2, and other whitespace is a token."
        " `separate`: all whitespace is a token of its own and words are bare, for word vectors.",
    )
    max_word_length: int = Field(
        default=64, ge=1, le=256, description="Characters of a word at most: a longer run is cut."
    )


def _kind(value: Any) -> Any:
    return value.get("kind", DEFAULT_KIND) if isinstance(value, dict) else getattr(value, "kind", None)


class _AnyOf:
    """Says in the JSON schema that several kinds may fit: to a reader that passes over what is required, such as
    Prefect of a deployment's parameters, settings without `kind` are settings of each."""

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        written = handler(schema)
        written["anyOf"] = written.pop("oneOf")
        return written


TokenizerConfig = Annotated[
    Annotated[ByteBPEConfig, Tag("byte_bpe")]
    | Annotated[CharacterConfig, Tag("character")]
    | Annotated[WordPieceConfig, Tag("wordpiece")]
    | Annotated[UnigramConfig, Tag("unigram")]
    | Annotated[WordConfig, Tag("word")],
    Discriminator(
        _kind,
        custom_error_type="unknown_kind",
        custom_error_message="kind must be one of byte_bpe, character, wordpiece, unigram, word",
    ),
    _AnyOf(),
]
"""The settings of any tokenizer; without `kind` they mean `byte_bpe`."""


def parse_tokenizer_config(raw: Any) -> TokenizerConfig:
    """The config that a mapping describes. Raises pydantic.ValidationError if it describes none."""
    config: TokenizerConfig = _ADAPTER.validate_python(raw)
    return config


_ADAPTER: TypeAdapter[TokenizerConfig] = TypeAdapter(TokenizerConfig)
