"""Bits per byte where ids do not say what their tokens stand for: all bytes count, and unknown words pay."""

import json
import math
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from torch import nn

from lm.artifact import load_model
from lm.config import OptimizerConfig, TrainConfig
from lm.evaluate.perplexity import bits_per_byte, unigram_bits_per_byte
from lm.models.gpt_config import GPTConfig
from lm.objectives.causal import CausalObjective
from lm.packing import PackedSequences
from lm.pretrain import pretrain
from lm.pretraining import GPTPretraining
from lm.recipes.recipe import Given
from lm.tokenizer import load_tokenizer, token_byte_lengths, train_tokenizer, unknown_id
from lm.tokenizers.config import CharacterConfig, TokenizerConfig, WordConfig, WordPieceConfig
from lm.tokenizers.spans import encode_spans, utf8_offsets
from lm.tokenizers.spelling import Spelling
from lm.tokens import TokenIndex, build_index, tokenize_shard
from tests.lm.corpus import make_documents, write_documents

KINDS: dict[str, TokenizerConfig] = {
    "word": WordConfig(kind="word", vocab_size=14),
    "word-separate": WordConfig(kind="word", vocab_size=14, spaces="separate"),
    "character": CharacterConfig(kind="character", vocab_size=12, unknown="unk"),
    "wordpiece": WordPieceConfig(kind="wordpiece", vocab_size=25),
}


class Uniform(nn.Module):
    def __init__(self, vocab: int) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(vocab))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.logits.expand(*tokens.shape, -1)


@pytest.fixture(params=list(KINDS))
def made(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[TokenIndex, Path, dict[str, str]]:
    """(index, tokenizer folder, documents) of a kind whose tokens have no fixed bytes; three shards."""
    documents = {i: t for i, t in make_documents(60).items() if t.strip()}
    train_tokenizer(documents.values(), KINDS[request.param], tmp_path / "tokenizer")
    items, stems = list(documents.items()), []
    for n, part in enumerate((items[:7], items[7:30], items[30:])):
        source = write_documents(tmp_path / f"documents/{n}.parquet", dict(part))
        stems.append(tmp_path / f"tokens/{n}")
        tokenize_shard(source, stems[-1], tmp_path / "tokenizer")
    return build_index(stems), tmp_path / "tokenizer", documents


def spelled(folder: Path, documents: dict[str, str]) -> float:
    """Nats that all unknown words of the documents cost, from the text alone."""
    tokenizer = load_tokenizer(folder)
    spelling, unknown = Spelling.load(folder), unknown_id(tokenizer)
    total = 0.0
    for text in documents.values():
        encoding = tokenizer.encode(text, add_special_tokens=False)
        for token, (start, end) in zip(encoding.ids, encoding.offsets, strict=True):
            total += spelling.bits(text[start:end]) * math.log(2) if token == unknown else 0.0
    return total


def test_all_bytes_and_the_spelling_are_counted(made: tuple[TokenIndex, Path, dict[str, str]]) -> None:
    index, folder, documents = made
    token_bytes = token_byte_lengths(load_tokenizer(folder))
    packed = PackedSequences(index, 1)  # no tail is lost: every token of every document is scored
    got = bits_per_byte(Uniform(index.vocab), packed, token_bytes, batch=500)
    size, extra = sum(len(t.encode()) for t in documents.values()), spelled(folder, documents)
    assert extra > 0
    assert got["bytes"] == size == index.bytes.sum()
    assert got["tokens"] == index.tokens
    assert got["spelling_nats"] == pytest.approx(extra)
    assert got["nats"] == pytest.approx(index.tokens * math.log(index.vocab) + extra, rel=1e-6)
    assert got["bits_per_byte"] == pytest.approx(got["nats"] / math.log(2) / size)
    assert got["perplexity_per_token"] == pytest.approx(index.vocab, rel=1e-5)
    baseline = unigram_bits_per_byte(np.zeros(index.vocab), packed, token_bytes)
    assert baseline["nats"] == pytest.approx(got["nats"], rel=1e-6)
    assert baseline["bytes"] == size


def test_windows_cut_documents_anywhere_and_lose_nothing(made: tuple[TokenIndex, Path, dict[str, str]]) -> None:
    index, folder, _ = made
    token_bytes = token_byte_lengths(load_tokenizer(folder))
    one, seven = PackedSequences(index, 1), PackedSequences(index, 7)
    alone = [one.spans(i) for i in range(len(seven) * 7)]
    together = [seven.spans(i) for i in range(len(seven))]
    assert np.concatenate([b[1:] for b, _ in together]).tolist() == [int(b[1]) for b, _ in alone]
    assert np.concatenate([n[1:] for _, n in together]).tolist() == [float(n[1]) for _, n in alone]
    batch = seven.batch(np.arange(len(seven)))
    losses = CausalObjective(token_bytes).losses(Uniform(index.vocab), batch)
    figures = bits_per_byte(Uniform(index.vocab), seven, token_bytes)
    assert losses.bytes == figures["bytes"]
    assert float(losses.nats or 0) == pytest.approx(figures["nats"], rel=1e-6)
    assert losses.terms["causal"].count == batch["tokens"][:, 1:].numel()


def test_only_tokens_that_differ_are_stored(made: tuple[TokenIndex, Path, dict[str, str]]) -> None:
    index, folder, _ = made
    tokenizer = load_tokenizer(folder)
    for shard in index.shards:
        table = pq.read_table(shard.with_name(shard.name + ".spans.parquet"))
        tokens = np.fromfile(shard.with_name(shard.name + ".bin"), index.dtype)[table["position"].to_numpy()]
        unknown = tokens == unknown_id(tokenizer)
        assert ((table["spelling_nats"].to_numpy() > 0) == unknown).all()
        assert (unknown | (table["bytes"].to_numpy() != token_byte_lengths(tokenizer)[tokens])).all()
        if "wordpiece" not in json.loads((folder / "tokenizer_config.json").read_text())["kind"]:
            assert unknown.all()


def test_tokenizers_with_fixed_bytes_store_nothing_beside(shards: list[Path]) -> None:
    index = build_index(shards)
    assert index.spans() is None
    assert set(PackedSequences(index, 4).batch(np.arange(2))) == {"tokens"}
    assert not list(shards[0].parent.glob("*spans*"))


def test_pretraining_counts_the_spelling(tmp_path: Path, made: tuple[TokenIndex, Path, dict[str, str]]) -> None:
    index, folder, _ = made
    model = GPTConfig(layers=1, width=16, heads=2, context=8, vocab=index.vocab)
    config = TrainConfig(steps=3, batch=4, precision="fp32", optimizer=OptimizerConfig(learning_rate=0.01))
    settings = GPTPretraining(model=model)
    given = Given(settings, settings.resolve(config), index, index, folder)
    result = pretrain(given, tmp_path / "checkpoints", tmp_path / "model")
    spelling = {name: result[name]["spelling_nats"] for name in ("valid", "untrained", "unigram")}
    assert spelling["valid"] > 0
    assert spelling == pytest.approx(dict.fromkeys(spelling, spelling["valid"]))
    assert (tmp_path / "model" / "spelling.json").read_bytes() == (folder / "spelling.json").read_bytes()
    _, tokenizer = load_model(tmp_path / "model")
    assert tokenizer.get_vocab() == load_tokenizer(folder).get_vocab()


def test_attribution_by_hand(tmp_path: Path) -> None:
    train_tokenizer(["the cat sat"] * 3, WordPieceConfig(kind="wordpiece", vocab_size=60), tmp_path / "wordpiece")
    tokenizer = load_tokenizer(tmp_path / "wordpiece")
    spelling = Spelling.load(tmp_path / "wordpiece")
    (encoded,) = encode_spans(tokenizer, [" Thé  模 CAT \n"], unknown_id(tokenizer), spelling)
    assert [tokenizer.id_to_token(i) for i in encoded.ids] == ["the", "[UNK]", "cat"]
    assert encoded.bytes.tolist() == [1 + 4, 2 + 3, 1 + 3 + 2]
    assert encoded.spelling_nats.tolist() == pytest.approx([0, spelling.bits("模") * math.log(2), 0])


def test_utf8_offsets() -> None:
    text = "aé模😀\n"
    assert utf8_offsets(text).tolist() == [len(text[:i].encode()) for i in range(len(text) + 1)]
