"""Packed documents that do not see one another: a document costs what it costs alone, whatever stands beside it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor, nn

from lm.config import OptimizerConfig, TrainConfig
from lm.evaluate.perplexity import bits_per_byte
from lm.models.gpt_config import GPTConfig
from lm.models.modern_config import ModernConfig
from lm.models.nnlm import NNLM
from lm.models.nnlm_config import NNLMConfig
from lm.objectives.causal import IGNORE, CausalObjective
from lm.packing import PackedSequences, document_places
from lm.pretrain import pretrain
from lm.pretraining import GPTPretraining, ModernPretraining, Pretraining
from lm.recipes.recipe import Given
from lm.stop import Interrupted
from lm.text_model import open_model
from lm.texts.decoder import DecoderText
from lm.tokenizer import load_tokenizer, token_byte_lengths
from lm.tokenizers.spelling import Spelling
from lm.tokens import TokenIndex, build_index
from lm.train.identity import ResumeError
from tests.lm.small_decoders import DECODERS, jittered

END, VOCAB = 0, 30


def document(length: int, seed: int) -> list[int]:
    """Text tokens, no end among them."""
    return torch.randint(1, VOCAB, (length,), generator=torch.Generator().manual_seed(seed)).tolist()


def batch_of(documents: list[list[int]], scored: int, apart: bool = True) -> dict[str, Tensor]:
    """Documents in one sequence, behind an end token each and with one at the end; only the tokens of one of them, and
    the end behind it, are targets."""
    tokens = [token for each in documents for token in [END, *each]] + [END]
    begin = sum(1 + len(each) for each in documents[:scored])
    targets = torch.full((1, len(tokens) - 1), IGNORE)
    here = slice(begin, begin + len(documents[scored]) + 1)
    targets[0, here] = torch.tensor(tokens[1:])[here]
    batch = {"tokens": torch.tensor([tokens]), "targets": targets}
    if apart:
        ids, positions = document_places(np.array([tokens]), END)
        batch |= {"documents": torch.from_numpy(ids), "positions": torch.from_numpy(positions)}
    return batch


def loss(model: nn.Module, documents: list[list[int]], scored: int, apart: bool = True) -> Tensor:
    """-ln p of one document, through the objective."""
    batch = batch_of(documents, scored, apart)
    objective = CausalObjective()
    (term,) = objective.losses(model, batch).terms.values()
    assert term.count == objective.counts(batch)["causal"] == len(documents[scored]) + 1
    return term.total


def test_places_are_those_of_the_documents() -> None:
    tokens = np.array([[5, 6, 0, 7, 8, 0, 0, 9], [0, 1, 2, 3, 0, 4, 5, 6]])
    ids, positions = document_places(tokens, END)
    for row, of in enumerate(tokens.tolist()):
        place = -1
        for t, token in enumerate(of):
            place = 0 if token == END else place + 1
            assert positions[row, t] == place
            for other in range(t + 1):
                assert (ids[row, t] == ids[row, other]) == (END not in of[other + 1 : t + 1])
    assert ids.dtype == positions.dtype == np.int64


@pytest.mark.parametrize("name", DECODERS)
def test_the_loss_of_a_packed_document_is_that_of_the_document_alone(name: str) -> None:
    """Whatever its neighbours say, and however long they are."""
    model, text = jittered(DECODERS[name]), document(9, 0)
    alone = loss(model, [text], 0)
    for before, after in ((7, 5), (1, 20), (20, 1), (0, 9)):
        packed = [document(before, before), text, document(after, after)]
        assert torch.allclose(loss(model, packed, 1), alone, rtol=1e-12, atol=0)
        assert not torch.allclose(loss(model, packed, 1, apart=False), alone, rtol=1e-3)


@pytest.mark.parametrize("name", DECODERS)
def test_no_gradient_reaches_a_neighbour(name: str) -> None:
    """Of a document's loss, with respect to every vector that the model reads."""
    model = jittered(DECODERS[name])
    states: list[Tensor] = []

    def keep(_module: object, _inputs: object, output: Tensor) -> None:
        output.retain_grad()
        states.append(output)

    model.token_embedding.register_forward_hook(keep)
    documents = [document(6, 1), document(9, 2), document(5, 3)]
    for scored in range(3):
        states.clear()
        loss(model, documents, scored).backward()
        assert states[0].grad is not None
        reached = (states[0].grad[0] != 0).any(-1).tolist()
        assert reached == [owner == scored for owner, each in enumerate(documents) for _ in (END, *each)]


@pytest.mark.parametrize("name", ["gpt2", "modern"])
def test_a_packed_corpus_costs_what_its_texts_cost_one_by_one(
    name: str, shards: list[Path], tokenizer_dir: Path, documents: dict[str, str]
) -> None:
    few = sorted(documents)[:9]
    index = build_index(shards, lambda ids: np.isin(ids.to_pylist(), few))
    whole = index.tokens + len(index) - 1  # one sequence
    model = jittered(DECODERS[name].model_copy(update={"vocab": index.vocab, "context": whole}))
    tokenizer = load_tokenizer(tokenizer_dir)
    scores = DecoderText(model, tokenizer, Spelling.load(tokenizer_dir)).score([documents[id] for id in few])
    lengths = token_byte_lengths(tokenizer)
    apart = bits_per_byte(model, PackedSequences(index, whole, document_mask=True), lengths)
    assert apart["bytes"] == sum(score.bytes for score in scores) == sum(len(documents[id].encode()) for id in few)
    assert apart["nats"] == pytest.approx(sum(score.nats for score in scores), rel=1e-9)
    together = bits_per_byte(model, PackedSequences(index, whole), lengths)
    assert together["bytes"] == apart["bytes"]
    assert together["nats"] != pytest.approx(apart["nats"], rel=1e-3)


def given(index: TokenIndex, tokenizer_dir: Path, kind: str = "gpt", **more: Any) -> Given:
    of = {"gpt": (GPTPretraining, GPTConfig), "modern": (ModernPretraining, ModernConfig)}[kind]
    size = of[1](layers=1, width=16, heads=2, context=24, vocab=index.vocab)
    settings = of[0](model=size, **more)
    train = TrainConfig(
        steps=6,
        batch=4,
        micro_batch=2,
        precision="fp32",
        optimizer=OptimizerConfig(learning_rate=0.01),
        eval_interval=2,
        eval_sequences=8,
        sample_interval=0,
        checkpoint_interval=2,
    )
    return Given(settings, settings.resolve(train), index, index, tokenizer_dir)


def stop_at(poll: int) -> Any:
    polls = iter(range(1, poll))
    return lambda: next(polls, None) is None


@pytest.mark.parametrize("kind", ["gpt", "modern"])
def test_it_is_trained_watched_and_gone_on_with_under_the_mask(
    kind: str, tmp_path: Path, shards: list[Path], tokenizer_dir: Path
) -> None:
    index = build_index(shards)
    masked = given(index, tokenizer_dir, kind, document_mask=True)
    result = pretrain(masked, tmp_path / "c", tmp_path / "m")
    with pytest.raises(Interrupted):
        pretrain(replace(masked, should_stop=stop_at(6)), tmp_path / "c2", tmp_path / "m2")
    pretrain(masked, tmp_path / "c2", tmp_path / "m2")
    weights = (tmp_path / "m/model.safetensors").read_bytes()
    assert (tmp_path / "m2/model.safetensors").read_bytes() == weights
    pretrain(given(index, tokenizer_dir, kind), tmp_path / "c3", tmp_path / "m3")
    assert (tmp_path / "m3/model.safetensors").read_bytes() != weights
    model = open_model(tmp_path / "m")
    apart, together = (
        model.bits_per_byte(PackedSequences(index, 24, document_mask), 8)["nats"] for document_mask in (True, False)
    )
    assert result["valid"]["nats"] == pytest.approx(apart, rel=1e-6)
    assert apart != pytest.approx(together, rel=1e-6)


@pytest.mark.parametrize("first", [False, True])
def test_a_checkpoint_of_the_other_way_is_refused(
    first: bool, tmp_path: Path, shards: list[Path], tokenizer_dir: Path
) -> None:
    index = build_index(shards)
    was, now = (given(index, tokenizer_dir, document_mask=mask) for mask in (first, not first))
    with pytest.raises(Interrupted):
        pretrain(replace(was, should_stop=stop_at(6)), tmp_path / "c", tmp_path / "m")
    with pytest.raises(ResumeError, match=f"document_mask was {first}, is {not first}"):
        pretrain(now, tmp_path / "c", tmp_path / "m")


def test_a_model_without_such_a_mask_is_named() -> None:
    model = NNLM(NNLMConfig(order=3, embedding=4, hidden=4, vocab=VOCAB, start_token=END))
    with pytest.raises(ValueError, match="document_mask: NNLM has no mask that keeps packed documents apart; gpt and"):
        loss(model, [document(4, 0), document(5, 1)], 1)


@pytest.mark.parametrize("kind", ["rnn", "nnlm", "elmo", "transformer_xl", "xlnet", "bert"])
def test_kinds_that_read_otherwise_have_no_such_switch(kind: str) -> None:
    settings = {"kind": kind, "model": {"kind": kind}, "document_mask": True}
    with pytest.raises(ValidationError, match=rf"{kind}\.document_mask\n  Extra inputs are not permitted"):
        TypeAdapter(Pretraining).validate_python(settings)


def test_without_the_mask_settings_are_written_as_before_there_was_one() -> None:
    for off, on in (
        (GPTPretraining(model=DECODERS["gpt2"]), GPTPretraining(model=DECODERS["gpt2"], document_mask=True)),
        (ModernPretraining(model=DECODERS["modern"]), ModernPretraining(model=DECODERS["modern"], document_mask=True)),
    ):
        before = {"kind", "model"} | ({"optimizer", "schedule"} if off.kind == "modern" else set())
        assert set(off.model_dump(mode="json")) == before
        assert on.model_dump(mode="json") == {**off.model_dump(mode="json"), "document_mask": True}
        assert TypeAdapter(Pretraining).validate_python(on.model_dump()) == on
