"""Tokenizers of every kind: trained, stored and loaded as the `tokenizers` library's `tokenizer.json`.

How each kind learns is a file of `lm.tokenizers`. The vocabulary depends on the multiset of texts only, never on
the order of documents or the number of threads (tested for each kind). `docs/models/tokenizers.md` compares them.
"""

import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer, decoders, models

from lm.damaged import AGAIN, VOCABULARY_BYTES, DamagedFile, naming, read_object
from lm.stop import ShouldStop, check, never
from lm.tokenizers import byte_bpe, character, unigram, word, wordpiece
from lm.tokenizers.common import BYTES, CONTINUES, END_OF_TEXT, UNKNOWN, Trained, adds_a_space, pieces
from lm.tokenizers.config import TokenizerConfig
from lm.tokenizers.panics import encoding_of, faults_named
from lm.tokenizers.spans import Encoded, encode_spans
from lm.tokenizers.spelling import SPELLING_FILE, Spelling

TOKENIZER_FILE = "tokenizer.json"
TOKENIZER_CONFIG_FILE = "tokenizer_config.json"
CHAT_TEMPLATE_FILE = "chat_template.jinja"
"""Where Hugging Face folders may have the chat template instead of in tokenizer_config.json."""
TURN_END = "<|end|>"
"""The special token behind each turn of a conversation (`lm.chat`); only tokenizers with a chat template have it."""
ENDS = (END_OF_TEXT, "</s>", "[SEP]")
"""The special token that ends a document, by name: ours and GPT-2's, RoBERTa's, BERT's."""
TRAIN: dict[str, Callable[[Iterable[str], Any, ShouldStop], Trained]] = {
    "byte_bpe": byte_bpe.train,
    "character": character.train,
    "wordpiece": wordpiece.train,
    "unigram": unigram.train,
    "word": word.train,
}
ROLES = (
    {"unk_token": "[UNK]", "pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]"},
    {"bos_token": "<s>", "pad_token": "<pad>", "cls_token": "<s>", "sep_token": "</s>", "mask_token": "<mask>"},
)
"""What special tokens are for, in the names of Hugging Face's tokenizer_config.json: WordPiece's, RoBERTa's."""


def train_tokenizer(
    texts: Iterable[str],
    config: TokenizerConfig,
    out_dir: Path,
    progress: Callable[[int], None] = lambda _: None,
    should_stop: ShouldStop = never,
) -> dict[str, int]:
    """Learn a tokenizer and write `tokenizer.json`, `tokenizer_config.json` and, if it has an unknown token,
    `spelling.json` to `out_dir`.

    Texts are read until `config.sample_bytes` is reached, and held only as counts of pre-tokens; `progress`
    advances by documents. Returns {documents, bytes, vocab_size}: the vocabulary is smaller than asked for
    where the text has not enough in it. Raises ValueError if there is no text.
    """
    counts = {"documents": 0, "bytes": 0}

    def sample() -> Iterator[str]:
        for text in texts:
            if counts["bytes"] >= config.sample_bytes:
                return
            check(should_stop, "reading text for the tokenizer")
            counts["documents"] += 1
            counts["bytes"] += len(text.encode("utf-8", "surrogatepass"))
            progress(1)
            yield text

    trained = TRAIN[config.kind](sample(), config, should_stop)
    if not counts["bytes"]:
        raise ValueError("there is no text to learn a tokenizer from")
    save_tokenizer(trained.tokenizer, out_dir)
    if trained.unknown is not None:
        # Without any unknown word in the sample, words in general are the best guess at what one looks like.
        known = {token: 1 for token in trained.tokenizer.get_vocab(with_added_tokens=False)}
        Spelling.learn(trained.unknown or known).save(out_dir)
    return {**counts, "vocab_size": trained.tokenizer.get_vocab_size()}


def save_tokenizer(tokenizer: Tokenizer, out_dir: Path, chat_template: str | None = None) -> None:
    """Write the two files that make a folder which Hugging Face's `AutoTokenizer` loads, with the Jinja of its
    `apply_chat_template` if there is one."""
    out_dir.mkdir(parents=True, exist_ok=True)
    end = tokenizer.id_to_token(end_of_text_id(tokenizer))
    vocab = tokenizer.get_vocab()
    bert, roberta = kind_of(tokenizer) == "wordpiece", "<mask>" in vocab
    described = {
        "kind": kind_of(tokenizer),
        "vocab_size": tokenizer.get_vocab_size(),
        "end_of_text": end,
        "tokenizer_class": "PreTrainedTokenizerFast",
        **({} if bert else {"bos_token": end, "eos_token": end}),
        **({"unk_token": UNKNOWN} if UNKNOWN in vocab else {}),
        **({role: name for role, name in ROLES[not bert].items() if name in vocab} if bert or roberta else {}),
        "clean_up_tokenization_spaces": False,
        **({} if chat_template is None else {"chat_template": chat_template}),
    }
    _publish(out_dir / TOKENIZER_CONFIG_FILE, json.dumps(described, indent=1, ensure_ascii=False) + "\n")
    _publish(out_dir / TOKENIZER_FILE, tokenizer.to_str(pretty=True))


def copy_tokenizer(directory: Path, folder: Path) -> None:
    """Put the tokenizer of `directory` (our own or a Hugging Face folder) into a model's folder, byte by byte."""
    save_tokenizer(load_tokenizer(directory), folder, chat_template(directory))
    for name in (TOKENIZER_FILE, SPELLING_FILE):
        if (directory / name).exists():
            shutil.copyfile(directory / name, folder / name)


def chat_template(directory: Path) -> str | None:
    """The chat template beside a tokenizer, of ours or in a Hugging Face folder; None if there is none.

    Raises ValueError for several templates none of which is called `default`.
    """
    alone, config = directory / CHAT_TEMPLATE_FILE, directory / TOKENIZER_CONFIG_FILE
    if alone.exists():
        with naming(alone):
            return alone.read_text(encoding="utf-8")
    found = read_object(config, VOCABULARY_BYTES).get("chat_template") if config.exists() else None
    if isinstance(found, list):
        with naming(config):
            named = {each["name"]: each["template"] for each in found}
        if "default" not in named:
            raise ValueError(f"{config}: several chat templates ({', '.join(named)}), none called default")
        found = named["default"]
    return None if found is None else str(found)


def load_tokenizer(directory: Path, kept: bool = False) -> Tokenizer:
    """The tokenizer of an artifact or of a Hugging Face folder with a `tokenizer.json` of a known kind.

    Text is only text to it: a document that contains the characters `<|endoftext|>` gets no special token.
    Raises FileNotFoundError or ValueError saying what is wrong.

    Args:
        kept: as of `read_tokenizer`.
    """
    path = directory / TOKENIZER_FILE
    tokenizer = read_tokenizer(path, kept)
    try:
        kind_of(tokenizer)
        end_of_text_id(tokenizer)
        _check_ids(tokenizer)
    except ValueError as error:
        raise DamagedFile(f"{path}: {error}: {AGAIN}") from error
    return tokenizer


def read_tokenizer(path: Path, kept: bool = False) -> Tokenizer:
    """A `tokenizer.json` of any kind that the library reads: enough to encode texts, as `load_tokenizer` sets it up.

    Args:
        kept: give the one that this process has read before from the same file, for work on shard after shard; it must
            not be changed. What has encoded a text leaves some megabytes behind when it goes (tokenizers 0.23.3;
            huggingface/tokenizers#1495).
    """
    if not path.exists():
        raise FileNotFoundError(f"{path}: no tokenizer there")
    if kept:
        status = path.stat()
        return _read_once(path, status.st_mtime_ns, status.st_size)
    return _read(path)


@lru_cache(maxsize=8)
def _read_once(path: Path, modified: int, size: int) -> Tokenizer:
    return _read(path)


def _read(path: Path) -> Tokenizer:
    if (size := path.stat().st_size) > VOCABULARY_BYTES:
        raise DamagedFile(f"{path}: {size:,} bytes, which no tokenizer has: {AGAIN}")
    try:
        with faults_named("no tokenizer"):
            tokenizer = Tokenizer.from_file(str(path))
    except ValueError as error:
        raise DamagedFile(f"{path}: {error}: {AGAIN}") from error
    tokenizer.encode_special_tokens = True
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _check_ids(tokenizer: Tokenizer) -> None:
    ids = tokenizer.get_vocab().values()
    if (largest := max(ids, default=-1)) >= len(ids):
        raise ValueError(f"its {len(ids)} tokens have ids up to {largest}, not one each from 0 on")


def kind_of(tokenizer: Tokenizer) -> str:
    """Which kind a tokenizer is, from its model and decoder. Raises ValueError if it is none of ours."""
    for model, kind in ((models.WordPiece, "wordpiece"), (models.WordLevel, "word"), (models.Unigram, "unigram")):
        if isinstance(tokenizer.model, model):
            return kind
    if isinstance(tokenizer.decoder, decoders.ByteLevel):
        return "byte_bpe"
    if _has_no_merges(tokenizer):
        return "character"
    raise ValueError(
        "a BPE tokenizer that is not byte-level (its decoder is "
        f"{type(tokenizer.decoder).__name__}): known kinds are {', '.join(TRAIN)}"
    )


def _has_no_merges(tokenizer: Tokenizer) -> bool:
    return not json.loads(tokenizer.to_str())["model"]["merges"]


def end_of_text_id(tokenizer: Tokenizer) -> int:
    """The id of the token that stands between documents and begins every generation: `<|endoftext|>`, or what
    plays its part in vocabularies of others (`</s>`) and in WordPiece ([SEP], which ends a segment in BERT)."""
    for name in ENDS:
        token = tokenizer.token_to_id(name)
        if token is not None:
            return int(token)
    raise ValueError(f"the tokenizer has no {END_OF_TEXT} token, nor {' nor '.join(ENDS[1:])}")


def end_of_turn_id(tokenizer: Tokenizer) -> int | None:
    """The id of the token that ends a turn of a conversation; None for a tokenizer without conversations."""
    added = tokenizer.get_added_tokens_decoder()
    return next((int(i) for i, token in added.items() if token.special and token.content == TURN_END), None)


def unknown_id(tokenizer: Tokenizer) -> int | None:
    """The id of the token that stands for what is not in the vocabulary; None if every string has an encoding."""
    model: dict[str, Any] = json.loads(tokenizer.to_str())["model"]
    if kind_of(tokenizer) == "byte_bpe" or model.get("byte_fallback"):
        return None
    if "unk_id" in model:
        return None if model["unk_id"] is None else int(model["unk_id"])
    return None if model["unk_token"] is None else tokenizer.token_to_id(model["unk_token"])


def has_fixed_bytes(tokenizer: Tokenizer) -> bool:
    """Whether each token stands for `token_byte_lengths` bytes wherever it occurs, so that nothing is lost.

    Otherwise `lm.tokenizers.spans.encode_spans` says what a token stands for where it stands.
    """
    if unknown_id(tokenizer) is not None or tokenizer.normalizer is not None:
        return False
    if adds_a_space(tokenizer):
        return False
    return kind_of(tokenizer) == "byte_bpe" or _decodes_by_joining(tokenizer)


def _decodes_by_joining(tokenizer: Tokenizer) -> bool:
    decoder: dict[str, Any] = json.loads(tokenizer.to_str())["decoder"] or {"type": None}
    return {part["type"] for part in decoder.get("decoders", [decoder])} <= {"ByteFallback", "Fuse"}


def token_byte_lengths(tokenizer: Tokenizer) -> np.ndarray:
    """The UTF-8 bytes that each token stands for, int64 [vocab]; 0 for special tokens, which are no text.

    A character of a byte-level token's name is one byte. The unknown token is text: it counts as 1 here, and what
    it stands for is found beside the token shards, as for all tokens of a kind without fixed bytes.
    """
    special = {i for i, token in tokenizer.get_added_tokens_decoder().items() if token.special}
    unknown = unknown_id(tokenizer)
    kind = kind_of(tokenizer)
    single = set(BYTES) if kind in ("character", "unigram") else set()
    prefix = CONTINUES if kind == "wordpiece" else ""
    lengths = np.zeros(tokenizer.get_vocab_size(), dtype=np.int64)
    for name, token in tokenizer.get_vocab().items():
        if token == unknown or name in single:
            lengths[token] = 1
        elif token not in special:
            lengths[token] = len(name) if kind == "byte_bpe" else len(name.removeprefix(prefix).encode())
    return lengths


def joined(tokenizer: Tokenizer | None, prompt: str, text: str) -> str:
    """A prompt and what a model wrote behind it, decoded alone, as one text.

    WordPiece has no spaces: when it decodes, one stands before each word but the first, and the piece that goes on with
    a word keeps its ## where it is the first.
    """
    if not prompt or not text or prompt[-1].isspace() or tokenizer is None or kind_of(tokenizer) != "wordpiece":
        return prompt + text
    if text.startswith(CONTINUES):
        return prompt + text.removeprefix(CONTINUES)
    return prompt + (" " if text[0].isalnum() else "") + text


def encode_documents(tokenizer: Tokenizer, texts: list[str]) -> list[np.ndarray]:
    """Token ids (int64) of each text, without special tokens. A huge text is encoded piece by piece."""
    parts, owners = [], []
    for owner, text in enumerate(texts):
        for piece in pieces(tokenizer, text):
            parts.append(piece)
            owners.append(owner)
    ids: list[list[int]] = [[] for _ in texts]
    with encoding_of(texts):
        encodings = tokenizer.encode_batch_fast(parts, add_special_tokens=False)
    for owner, encoding in zip(owners, encodings, strict=True):
        ids[owner].extend(encoding.ids)
    return [np.array(i, dtype=np.int64) for i in ids]


class TextEncoder:
    """Texts in tokens, with the bytes that these stand for and the nats that spelling unknown ones costs."""

    def __init__(self, tokenizer: Tokenizer, spelling: Spelling) -> None:
        self.tokenizer, self.spelling = tokenizer, spelling
        self._fixed, self._unknown = has_fixed_bytes(tokenizer), unknown_id(tokenizer)
        self._lengths = token_byte_lengths(tokenizer)

    def __call__(self, texts: Sequence[str]) -> list[Encoded]:
        if not self._fixed:
            return encode_spans(self.tokenizer, list(texts), self._unknown, self.spelling)
        encoded = encode_documents(self.tokenizer, list(texts))
        return [Encoded(ids, self._lengths[ids], np.zeros(len(ids))) for ids in encoded]


def _publish(path: Path, content: str) -> None:
    partial = path.with_name(path.name + ".tmp")
    partial.write_text(content, encoding="utf-8")
    os.replace(partial, path)
