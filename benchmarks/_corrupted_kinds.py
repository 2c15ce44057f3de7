"""What is damaged and who reads it: small sound files of every kind, and for each the door by which it is read.

`sealed` kinds carry hashes of their files: whatever is changed must be found. The others are read as a stranger's would
be, hashes made to fit where there are any (`reseal`): a changed number may be read as another number, and that is all.
"""

import hashlib
import json
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from data_quality.classifier import Classifier, load_classifier, save_classifier
from data_quality.documents import Document, ShardWriter, iter_documents, read_shard
from lm.artifact import load_model, load_torch, save_model
from lm.interop.gpt2 import export_gpt2
from lm.models.gpt import GPT
from lm.models.gpt_config import GPTConfig
from lm.models.modern import Modern
from lm.models.modern_config import ModernConfig
from lm.models.rnn import RNNLM
from lm.models.rnn_config import RNNConfig
from lm.ngram.build import build_ngram
from lm.ngram.config import NgramConfig
from lm.ngram.model import load_ngram
from lm.tokenizer import encode_documents, load_tokenizer, token_byte_lengths, train_tokenizer
from lm.tokenizers.config import ByteBPEConfig, WordPieceConfig
from lm.tokenizers.spelling import Spelling
from lm.tokens import build_index, shard_documents, tokenize_shard
from lm.train.checkpoint import load_checkpoint, save_checkpoint
from lm.train.checkpoint_files import STATE, checkpoint_path, entry, files_of
from lm.train.shards import piece, publish, write_part
from lm.vectors.artifact import VECTORS, load_vectors, save_vectors
from lm.vectors.vocabulary import Vocabulary
from tasks.storage.integrity import checksum_of
from tasks.store import Store

WORDS = [
    "the",
    "a",
    "harbour",
    "boat",
    "captain",
    "letter",
    "apple",
    "garden",
    "rose",
    "lemon",
    "stone",
    "wall",
    "evening",
    "weather",
    "week",
    "salt",
    "wine",
    "town",
]
RANKS = 2
STAGE, KEY = "corpus", "0123456789abcdef0123456789abcdef"


@dataclass(frozen=True)
class Kind:
    """`files`: what is damaged, below the folder; `read`: gives what was read, as something that can be compared."""

    name: str
    folder: Path
    files: tuple[str, ...]
    read: Callable[[Path], Any]
    sealed: bool = False
    reseal: Callable[[Path], None] | None = None


def make_kinds(root: Path) -> list[Kind]:
    """Write the files below `root`; takes a few seconds, the same bytes each time."""
    draw = random.Random(0)
    texts = [" ".join(draw.choices(WORDS, k=draw.randint(20, 60))).capitalize() + "." for _ in range(60)]
    documents, tokens = root / "documents", root / "tokens"
    with ShardWriter(documents) as writer:
        for number, text in enumerate(texts):
            writer.add(Document(f"d{number}", text, "mill", "en", {"n": number}))
    bpe, pieces = root / "bpe", root / "pieces"
    train_tokenizer(texts, ByteBPEConfig(vocab_size=300), bpe)
    train_tokenizer(texts, WordPieceConfig(kind="wordpiece", vocab_size=90), pieces)
    tokens.mkdir()
    tokenize_shard(documents / "00000.parquet", tokens / "00000", pieces)
    models = _models(root, bpe, texts)
    sound = _checkpoint(root / "checkpoint")
    sharded = _sharded_checkpoint(root / "sharded")
    store = _artifact(root / "store", documents, tokens, pieces)
    inside = f"artifacts/{STAGE}/{KEY}"
    held = ("00000.parquet", "tokens.bin", "tokens.parquet", "tokens.json", "tokenizer.json", "spelling.json")
    shard = ("00000.bin", "00000.parquet", "00000.json", "00000.spans.parquet")
    checkpoint = ("model.safetensors", "optim.safetensors", "state.json", "manifest.json")
    parts = (*(name for rank in range(RANKS) for name in files_of(rank, RANKS)), STATE)
    return [
        Kind("checkpoint, sealed", sound, checkpoint, _read_checkpoint, sealed=True),
        Kind("checkpoint, sharded, sealed", sharded, (*parts, "manifest.json"), _read_checkpoint, sealed=True),
        Kind("artifact, sealed", store, tuple(f"{inside}/{n}" for n in (*held, "manifest.json")), _read_store, True),
        Kind("checkpoint", sound, checkpoint[:3], _read_checkpoint, reseal=_reseal_checkpoint),
        Kind("checkpoint, sharded", sharded, parts, _read_checkpoint, reseal=_reseal_sharded),
        Kind("manifest", store, (f"{inside}/manifest.json",), _read_store, reseal=_reseal_manifest),
        Kind("documents shard", documents, ("00000.parquet",), _read_documents),
        Kind("token shard", tokens, shard, _read_tokens),
        Kind("vocabulary", pieces, ("tokenizer.json", "spelling.json", "tokenizer_config.json"), _read_tokenizer),
        Kind("byte vocabulary", bpe, ("tokenizer.json",), _read_tokenizer),
        *models,
    ]


def _models(root: Path, bpe: Path, texts: list[str]) -> list[Kind]:
    tokenizer = load_tokenizer(bpe)
    vocab = tokenizer.get_vocab_size()
    gpt = GPT(GPTConfig(layers=1, width=16, heads=2, context=32, vocab=vocab), 1)
    modern = Modern(ModernConfig(layers=1, width=16, heads=2, context=32, vocab=vocab), 1)
    rnn = RNNLM(RNNConfig(cell="gru", embedding=8, width=12, vocab=vocab), seed=1)
    for model, name in ((gpt, "gpt"), (modern, "modern"), (rnn, "rnn")):
        save_model(model, bpe, root / name)
    export_gpt2(gpt, bpe, root / "hugging-face")
    build_ngram(encode_documents(tokenizer, texts), bpe, NgramConfig(order=3), root / "ngram")
    draw = np.random.default_rng(0)
    words = Vocabulary(tuple(WORDS), np.arange(len(WORDS), 0, -1))
    vectors = {VECTORS: draw.normal(size=(len(WORDS), 8)).astype(np.float32)}
    save_vectors(
        words,
        vectors,
        {"kind": "word2vec", "unit": "word", "words": len(WORDS), "dimensions": 8},
        None,
        root / "vectors",
    )
    (root / "classifier").mkdir()
    save_classifier(
        Classifier(draw.normal(size=256).astype(np.float32), 0.1, 1.0, 0.0, 8, 2), {"auc": 0.9}, root / "classifier"
    )
    parts = ("config.json", "model.safetensors")
    whole = (*parts, "tokenizer.json", "tokenizer_config.json")
    arrays = tuple(f"{name}.npy" for name in ("words", "probs", "links", "backoffs", "children"))
    return [
        Kind("model gpt", root / "gpt", whole, lambda folder: _weights(load_model(folder)[0])),
        Kind("model modern", root / "modern", parts, lambda folder: _weights(load_torch(folder, Modern)[0])),
        Kind("model rnn", root / "rnn", parts, lambda folder: _weights(load_torch(folder, RNNLM)[0])),
        Kind("model of Hugging Face", root / "hugging-face", whole, lambda folder: _weights(load_model(folder)[0])),
        Kind("model n-gram", root / "ngram", ("config.json", *arrays), _read_ngram),
        Kind("word vectors", root / "vectors", ("config.json", "words.json", "vectors.safetensors"), _read_vectors),
        Kind("classifier", root / "classifier", ("classifier.json", "classifier.safetensors"), _read_classifier),
    ]


# --- made --------------------------------------------------------------------------------------------------------


WEIGHTS = {"a.weight": torch.arange(60.0).reshape(6, 10), "b": torch.ones(3, dtype=torch.bfloat16)}
MOMENTS = {"a.weight.exp_avg": torch.zeros(6, 10), "step": torch.tensor(3.0)}
STEP_STATE = {"step": 3, "seed": 1, "curve": [[0, 3.5], [1, 3.1]], "identity": {"model.width": 16}}


def _checkpoint(folder: Path) -> Path:
    return save_checkpoint(folder, 3, WEIGHTS, MOMENTS, STEP_STATE)


def _sharded_checkpoint(folder: Path) -> Path:
    """Of two ranks, safetensors and JSON of each, as training under FSDP2 and DDP writes it."""
    partial, final = folder / ".tmp-step-00000003-1", checkpoint_path(folder, 3)
    for rank in range(RANKS):
        cut = [{name: piece(t, rank, RANKS) for name, t in tensors.items()} for tensors in (WEIGHTS, MOMENTS)]
        write_part(partial, rank, RANKS, *cut)
    publish(partial, final, RANKS, STEP_STATE)
    return final


def _artifact(root: Path, documents: Path, tokens: Path, tokenizer: Path) -> Path:
    store = Store(root)
    partial = store.partial_directory(STAGE, KEY)
    shutil.copy(documents / "00000.parquet", partial)
    for suffix in ("bin", "parquet", "json"):
        shutil.copy(tokens / f"00000.{suffix}", partial / f"tokens.{suffix}")
    for name in ("tokenizer.json", "spelling.json"):
        shutil.copy(tokenizer / name, partial)
    shards = [{"path": "00000.parquet", "digest": "d0", "counts": {"documents": 60}}]
    rest = {"parts": [], "shards": shards, "counts": {"documents": 60}, "config": {}, "inputs": {}, "digest": None}
    store.publish(partial, {"stage": STAGE, "key": KEY, **rest})
    return root


# --- read --------------------------------------------------------------------------------------------------------


def _read_checkpoint(folder: Path) -> Any:
    found = load_checkpoint(folder)
    return _hashed(found.model), _hashed(found.optimizer), found.state


def _read_store(root: Path) -> Any:
    found = Store(root).checked(f"{STAGE}/{KEY}")
    return found.manifest(), [shard.path.name for shard in found.shards()], found.counts()


def _read_documents(folder: Path) -> Any:
    table = read_shard(folder / "00000.parquet", ["id"])
    return table.num_rows, hashlib.sha256(repr(list(iter_documents(folder / "00000.parquet"))).encode()).hexdigest()


def _read_tokens(folder: Path) -> Any:
    index = build_index([folder / "00000"])
    spans = index.spans() or []
    read = [(id, ids.tolist()) for id, ids in shard_documents([folder / "00000"])]
    return index.token_counts().tolist(), read, [each.position.tolist() for each in spans]


def _read_tokenizer(folder: Path) -> Any:
    tokenizer, spelling = load_tokenizer(folder), Spelling.load(folder)
    [ids] = encode_documents(tokenizer, ["The captain wrote a letter, 7 apples in it. 苹果"])
    return ids.tolist(), tokenizer.decode(ids.tolist()), token_byte_lengths(tokenizer).tolist(), spelling.bits("apples")


def _read_ngram(folder: Path) -> Any:
    model = load_ngram(folder)
    ids = model.encode("The captain wrote a letter to the garden.")
    return repr(model.probs(ids, np.array([0, len(ids)])).tolist())


def _read_vectors(folder: Path) -> Any:
    found = load_vectors(folder)
    return found.vocabulary.words, found.vocabulary.counts.tolist(), found.vectors.tobytes()


def _read_classifier(folder: Path) -> Any:
    found = load_classifier(folder)
    return repr(vars(found) | {"weights": found.weights.tobytes()})


def _weights(model: torch.nn.Module) -> str:
    with torch.no_grad():
        model(torch.zeros(1, 4, dtype=torch.int64))
    return _hashed(model.state_dict())


def _hashed(tensors: dict[str, torch.Tensor]) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
        digest.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


# --- resealed ----------------------------------------------------------------------------------------------------


def _reseal_checkpoint(folder: Path) -> None:
    names = ("model.safetensors", "optim.safetensors", "state.json")
    contents = {name: (folder / name).read_bytes() for name in names}
    entries = {n: {"sha256": hashlib.sha256(c).hexdigest(), "bytes": len(c)} for n, c in contents.items()}
    (folder / "manifest.json").write_text(json.dumps(entries))


def _reseal_sharded(folder: Path) -> None:
    manifest = {STATE: entry(folder / STATE)}
    for rank in range(RANKS):
        *tensors, described = files_of(rank, RANKS)
        files = {name: entry(folder / name) for name in tensors}
        try:
            said = json.loads((folder / described).read_bytes())
            (folder / described).write_text(json.dumps({**said, "files": files}))
        except (ValueError, TypeError, RecursionError):
            pass  # no JSON object any more
        manifest |= {**files, described: entry(folder / described)}
    (folder / "manifest.json").write_text(json.dumps(manifest))


def _reseal_manifest(root: Path) -> None:
    path = root / "artifacts" / STAGE / KEY / "manifest.json"
    try:
        manifest = json.loads(path.read_bytes())
        manifest["checksum"] = checksum_of(manifest)
        path.write_text(json.dumps(manifest))
    except (ValueError, TypeError, AttributeError, RecursionError):
        pass  # no JSON object any more: nobody can seal that
