"""Instruction tuning: packing that nobody notices, only answers that are learned, a model that answers."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lm.artifact import described, load_torch
from lm.chat.answer import ChatModel
from lm.chat.config import ChatConfig
from lm.chat.conversations import read_talks
from lm.chat.enlarge import with_vocabulary
from lm.chat.messages import BadConversation
from lm.chat.objective import ConversationObjective, answer_nats, answers_bits_per_byte
from lm.chat.packing import PackedConversations, pack
from lm.chat.tokens import Conversation, make_chat_tokenizer
from lm.chat.train import answered, instruct, load_decoder
from lm.config import OptimizerConfig
from lm.generate import Decoder
from lm.interop.hugging_face import export_hf
from lm.labelled.folder import LabelledSet, Task, write_labelled
from lm.labelled.forms import Chat, Classification
from lm.models.gpt import GPT
from lm.models.gpt_config import GPTConfig
from lm.models.modern import Modern
from lm.models.modern_config import ModernConfig
from lm.text_model import open_model
from lm.train.hooks import Hooks
from tests.lm.chat_cases import (
    backbone_folder,
    chat_set,
    chats,
    conversation,
    pair_set,
    tokenizer_folder,
    train_config,
    turn,
)

SIZE: dict[str, Any] = {"layers": 2, "width": 16, "heads": 2, "context": 32, "vocab": 40}
DECODERS = ("gpt", "gpt1", "gpt3", "modern", "modern-tied")


def decoder(kind: str, **changes: Any) -> Decoder:
    if kind.startswith("modern"):
        model: Decoder = Modern(ModernConfig(**{**SIZE, **changes}, tied=kind.endswith("tied")), seed=1)
        with torch.no_grad():  # those that begin at zero say nothing of what they see
            for parameter in model.parameters():
                if not parameter.any():
                    parameter.normal_(0, 0.3, generator=torch.Generator().manual_seed(parameter.numel()))
        return model.eval()
    extra = {"gpt": {}, "gpt1": {"norm": "post"}, "gpt3": {"band": 3}}[kind]
    return GPT(GPTConfig(**{**SIZE, **extra, **changes}), seed=1).eval()


def drawn(count: int, seed: int, longest: int = 16) -> list[Conversation]:
    draw = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        size = int(draw.integers(3, longest + 1))
        learned = draw.random(size) < 0.5
        learned[-1], learned[0] = True, False
        found.append(
            Conversation(draw.integers(0, 40, size), learned, learned * draw.integers(0, 4, size), np.zeros(size))
        )
    return found


def test_bins_hold_everything_once_and_are_nearly_full() -> None:
    draw = np.random.default_rng(0)
    for capacity in (1, 7, 64):
        lengths = draw.integers(1, capacity + 1, 300).tolist()
        bins = pack(lengths, capacity)
        assert sorted(item for items in bins for item in items) == list(range(300))
        assert all(sum(lengths[item] for item in items) <= capacity for items in bins)
        assert [items[0] for items in bins] == sorted(items[0] for items in bins)
        assert len(bins) <= 11 / 9 * np.ceil(sum(lengths) / capacity) + 6 / 9  # Johnson 1973, of the optimum
    assert pack([3, 3, 2, 2, 2], 6) == [[0, 1], [2, 3, 4]]
    assert pack([], 5) == []
    with pytest.raises(ValueError, match="an item of 6 in bins of 5"):
        pack([2, 6], 5)


@pytest.mark.parametrize("kind", DECODERS)
def test_packed_or_alone_a_conversation_costs_the_same(kind: str) -> None:
    model, conversations = decoder(kind).double(), drawn(12, 3)
    objective = ConversationObjective()
    packed, alone = (PackedConversations(conversations, 32, packing) for packing in (True, False))
    assert len(packed) < len(alone) == 12
    found = []
    for examples in (packed, alone):
        batch = examples.batch(np.arange(len(examples)))
        model.zero_grad()
        losses = objective.losses(model, batch)
        losses.terms["answers"].total.backward()
        gradient = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
        found.append((losses, gradient, objective.counts(batch), objective.tokens(batch)))
    (a, gradient_a, *rest_a), (b, gradient_b, *rest_b) = found
    torch.testing.assert_close(a.terms["answers"].total, b.terms["answers"].total, rtol=1e-10, atol=0)
    torch.testing.assert_close(gradient_a, gradient_b, rtol=1e-8, atol=1e-10)
    assert rest_a == rest_b
    assert a.bytes == b.bytes == sum(int(each.bytes.sum()) for each in conversations)
    figures = [answers_bits_per_byte(model, each) for each in (packed, alone)]
    for name in figures[0]:
        assert figures[0][name] == pytest.approx(figures[1][name], rel=1e-9)
    assert figures[0]["nats"] == pytest.approx(float(a.nats), rel=1e-9)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", DECODERS)
def test_a_neighbour_is_not_seen(kind: str) -> None:
    """Another neighbour leaves a conversation's loss as it is, to the bit, and its gradient reaches no other tokens."""
    model = decoder(kind)
    first, second, other = drawn(1, 1, 9)[0], drawn(1, 2, 9)[0], drawn(1, 2, 9)[0]
    other = replace(other, ids=(other.ids + 7) % 40)
    losses = []
    for neighbour in (second, other):
        examples = PackedConversations([neighbour, first], 32)
        assert len(examples) == 1
        batch = examples.batch(np.array([0]))
        nats, _ = answer_nats(model, batch)
        losses.append(nats[int(neighbour.learned.sum()) :])
    assert torch.equal(losses[0], losses[1])

    seen: list[torch.Tensor] = []

    def kept(_: Any, __: Any, output: torch.Tensor) -> torch.Tensor:
        seen.append(output.detach().requires_grad_())
        return seen[-1]

    hook = model.token_embedding.register_forward_hook(kept)
    examples = PackedConversations([second, first, other], 32)
    batch = examples.batch(np.array([0]))
    nats, learned = answer_nats(model, batch)
    hook.remove()
    own = batch["conversations"] == 1
    nats[own[learned]].sum().backward()
    [gradient] = [each.grad for each in seen]
    assert gradient is not None
    assert gradient[own].any()
    assert not gradient[~own].any()


def test_only_answers_are_learned_and_positions_start_anew() -> None:
    a = Conversation(np.arange(5), np.array([0, 0, 1, 0, 1], bool), np.array([0, 9, 2, 9, 0]), np.zeros(5))
    b = Conversation(np.arange(10, 13), np.array([0, 1, 1], bool), np.array([0, 3, 0]), np.array([0.0, 0.5, 0.0]))
    batch = PackedConversations([a, b], 6).batch(np.array([0]))
    said = {name: tensor[0].tolist() for name, tensor in batch.items()}
    assert said == {
        "tokens": [0, 1, 2, 3, 10, 11],
        "targets": [-100, 2, -100, 4, 11, 12],
        "conversations": [0, 0, 0, 0, 1, 1],
        "positions": [0, 1, 2, 3, 0, 1],
        "bytes": [0, 2, 0, 0, 3, 0],
        "spelling_nats": [0.0, 0.0, 0.0, 0.0, 0.5, 0.0],
    }
    assert PackedConversations([a, b], 6).fingerprint != PackedConversations([b, a], 6).fingerprint
    changed = replace(b, learned=np.array([0, 0, 1], bool))
    assert PackedConversations([a, b], 6).fingerprint != PackedConversations([a, changed], 6).fingerprint


@pytest.mark.parametrize("kind", DECODERS)
def test_new_tokens_get_rows_drawn_from_the_seed_and_nothing_else_changes(kind: str) -> None:
    model = decoder(kind)
    larger, again, other = (with_vocabulary(model, 38, 44, seed, 0.1) for seed in (5, 5, 6))
    assert larger.config.vocab == 44
    before = model.state_dict()
    for name, tensor in larger.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name])
        if name in ("token_embedding.weight", "head.weight"):
            assert torch.equal(tensor[:38], before[name][:38])
            assert name == "head.weight" or not torch.equal(tensor[38:], other.state_dict()[name][38:])
            assert name == "head.weight" or not torch.equal(tensor[38:40], before[name][38:])  # spare rows, too
        else:
            assert torch.equal(tensor, before[name])
    tokens = torch.arange(12)[None]
    torch.testing.assert_close(larger(tokens)[..., :38], model(tokens)[..., :38])
    if kind == "gpt":
        assert larger.config.dropout == 0.1
        assert 0.01 < float(larger.token_embedding.weight.detach()[40:].std()) < 0.03


@pytest.fixture
def chat_tokenizer(tmp_path: Path) -> Any:
    return make_chat_tokenizer(tokenizer_folder(tmp_path / "plain"), tmp_path / "chat")


def the_set(folder: Path, *messages: list[dict[str, str]]) -> LabelledSet:
    rows = [{"id": f"e{n}", "messages": each} for n, each in enumerate(messages)]
    write_labelled(folder, Task(name="t", ask=Chat(), metrics=("x",)), {"train": rows, "valid": rows})
    return LabelledSet(folder)


def test_what_does_not_fit_is_cut_at_a_turn_and_counted(tmp_path: Path, chat_tokenizer: Any) -> None:
    long = "grass " * 40
    given = the_set(
        tmp_path / "set",
        conversation("snow", "white"),
        conversation("snow", "white", "sky", "blue", long, "green"),
        conversation(long, "green", "snow", "white"),
    )
    read = read_talks(given, "train", chat_tokenizer, ChatConfig(), 40)
    assert read.counts == {"given": 3, "cut": 1, "left_out": 1}
    assert [(talk.id, len(talk.messages)) for talk in read.kept] == [("e0", 2), ("e1", 4)]
    assert all(len(talk.tokens) <= 41 for talk in read.kept)
    exact = len(read.kept[1].tokens) - 1
    assert len(read_talks(given, "train", chat_tokenizer, ChatConfig(), exact).kept[1].messages) == 4
    assert len(read_talks(given, "train", chat_tokenizer, ChatConfig(), exact - 1).kept[1].messages) == 2
    with pytest.raises(
        BadConversation, match=r"(?s)e1: .* tokens do not fit a context of 40, 'assistant' speaking.*e2: "
    ):
        read_talks(given, "train", chat_tokenizer, ChatConfig(too_long="refuse"), 40)
    with pytest.raises(BadConversation, match="train: no conversation is left: of 3 none fits a context of 4 tokens"):
        read_talks(given, "train", chat_tokenizer, ChatConfig(), 4)
    with_system = read_talks(given, "train", chat_tokenizer, ChatConfig(system="Be brief."), 64).kept[0].messages
    assert with_system[0] == turn("system", "Be brief.")


def test_bad_conversations_are_named_together(tmp_path: Path, chat_tokenizer: Any) -> None:
    twice = [*conversation("x", "y"), turn("assistant", "z")]
    given = the_set(tmp_path / "set", conversation("x", ""), conversation("x", "y"), twice, *[[turn("robot", "a")]] * 5)
    with pytest.raises(BadConversation, match=r"(?s)e0: message 1.*empty.*e2: message 2.*two assistant.*and 2 more"):
        read_talks(given, "train", chat_tokenizer, ChatConfig(), 40)
    task = Task(name="t", ask=Classification(classes=("a", "b")), metrics=("accuracy",))
    write_labelled(tmp_path / "labels", task, {"train": [{"id": "1", "text": "x", "text_b": None, "label": 0}]})
    with pytest.raises(ValueError, match="'classification'; conversations are made of chat and generation"):
        read_talks(LabelledSet(tmp_path / "labels"), "train", chat_tokenizer, ChatConfig(), 40)


def test_pairs_become_conversations_and_long_sources_lose_their_end(tmp_path: Path, chat_tokenizer: Any) -> None:
    rows = [("snow", "white"), ("草 grass " * 30, "green"), ("sky", "blue " * 60)]
    given = LabelledSet(pair_set(tmp_path / "set", rows))
    config = ChatConfig(prompt="What colour is {source}? {source}!")
    read = read_talks(given, "train", chat_tokenizer, config, 60)
    assert read.counts == {"given": 3, "cut": 1, "left_out": 1}
    first, second = (talk.messages for talk in read.kept)
    assert first == conversation("What colour is snow? snow!", "white")
    asked = second[0]["content"].removeprefix("What colour is ").partition("?")[0]
    assert rows[1][0].startswith(asked)
    assert 8 < len(asked) < len(rows[1][0])
    assert second[1]["content"] == "green"
    assert len(read.kept[1].tokens) <= 61
    with pytest.raises(ValueError, match=r"prompt 'Say it' has no \{source\}"):
        ChatConfig(prompt="Say it")


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any], list[tuple[int, str, str]]]:
    """A small model that has learned the colours by heart."""
    root = tmp_path_factory.mktemp("taught")
    samples: list[tuple[int, str, str]] = []
    result = instruct(
        chat_set(root / "set", train=96),
        backbone_folder(root / "backbone", width=48),
        ChatConfig(dropout=0.0, samples=2, answer_tokens=12),
        train_config(
            steps=140,
            micro_batch=4,
            optimizer=OptimizerConfig(learning_rate=0.005),
            eval_interval=70,
            sample_interval=140,
            checkpoint_interval=0,
            select="best",
        ),
        root / "checkpoints",
        root / "model",
        hooks=Hooks(on_sample=lambda step, prompt, text: samples.append((step, prompt, text))),
    )
    return root / "model", result, samples


def test_a_model_learns_to_answer(taught: tuple[Path, dict[str, Any], list[tuple[int, str, str]]]) -> None:
    folder, result, samples = taught
    assert result["valid"]["bits_per_byte"] < 0.5 < 1.5 < result["untrained"]["bits_per_byte"]
    assert result["valid"]["exact_match"] == 100.0
    assert result["valid"]["rouge_l"] == 100.0
    assert result["train"]["conversations"] == 96 > result["train"]["sequences"]
    assert [step for step, _, _ in samples] == [0, 0, 140, 140]
    assert result["test"]["exact_match"] == 100.0
    assert result["test"]["given"] == result["test"]["answers"] == 3
    rows = [json.loads(line) for line in (folder / "answers.jsonl").read_text().splitlines()]
    assert [row["split"] for row in rows] == ["valid"] * 6 + ["test"] * 3
    assert [row["answer"] for row in rows] == [row["wanted"] for row in rows]
    assert samples[2][1] == f"user: {rows[0]['messages'][0]['content']}"
    assert samples[2][2] == rows[0]["wanted"]

    model = ChatModel.open(folder)
    assert model.answer(conversation("What colour is sky?"), temperature=0.0) == "blue"
    asked = [conversation("What colour is 天空?"), conversation("What colour is sky?", "blue", "What colour is grass?")]
    assert model.answers(asked, temperature=0.0) == ["蓝色", "green"]
    many = conversation(*["What colour is sky?", "blue"] * 9, "What colour is snow?", system="x")
    prompt = model.prompt(many)  # the oldest turns are left out, the system's words stay
    assert prompt in [model.prompt([many[0], *many[-kept:]]) for kept in (1, 3, 5)]
    assert len(prompt) <= 40 < len(model.tokenizer.prompts([many])[0])
    with pytest.raises(ValueError, match="tokens leave no room for an answer in a context of 48: shorten"):
        model.answer(conversation("sky " * 60))
    with pytest.raises(BadConversation, match="the last message is not the user's: there is nothing to answer"):
        model.answer(conversation("sky", "blue"))


def test_generate_ends_with_the_turn(taught: tuple[Path, dict[str, Any], list[tuple[int, str, str]]]) -> None:
    model = open_model(taught[0])
    said = model.generate("What colour is snow?", 40, temperature=0.0)
    assert "<|end|>" not in said
    with_more = model.generate("What colour is snow?", 40, temperature=0.0, stop=["e"])
    assert with_more == said.partition("e")[0]
    assert model.score(["white"])[0].bytes == 5


def test_transformers_converses_alike(
    taught: tuple[Path, dict[str, Any], list[tuple[int, str, str]]], tmp_path: Path
) -> None:
    transformers = pytest.importorskip("transformers")
    export_hf(taught[0], tmp_path / "hf")
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "hf")
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "hf")
    ours = ChatModel.open(taught[0])
    for said in (conversation("What colour is 天空?"), conversation("sky", "blue", " What colour is snow?\n")):
        ids = tokenizer.apply_chat_template(said, add_generation_prompt=True, return_tensors="pt", return_dict=True)
        assert ids["input_ids"][0].tolist() == ours.prompt(said)
        found = model.generate(**ids, do_sample=False, max_new_tokens=20)[0, ids["input_ids"].shape[1] :]
        assert tokenizer.decode(found, skip_special_tokens=True) == ours.answer(said, 20, temperature=0.0)
        assert found[-1] == ours.tokenizer.end


def test_a_taught_model_is_taught_more(
    taught: tuple[Path, dict[str, Any], list[tuple[int, str, str]]], tmp_path: Path
) -> None:
    config = train_config(steps=2, sample_interval=0)
    result = instruct(chat_set(tmp_path / "set"), taught[0], ChatConfig(), config, tmp_path / "c", tmp_path / "m")
    assert result["untrained"]["bits_per_byte"] == pytest.approx(taught[1]["valid"]["bits_per_byte"])
    assert described(tmp_path / "m")["vocab"] == described(taught[0])["vocab"]


def test_the_modern_decoder_learns_too(tmp_path: Path) -> None:
    result = instruct(
        chat_set(tmp_path / "set"),
        backbone_folder(tmp_path / "backbone", "modern"),
        ChatConfig(answers=2, answer_tokens=4),
        train_config(sample_interval=0),
        tmp_path / "checkpoints",
        tmp_path / "model",
    )
    assert result["valid"]["bits_per_byte"] < result["untrained"]["bits_per_byte"]
    assert result["valid"]["answers"] == 2
    assert (
        load_torch(tmp_path / "model", Modern)[0].config.vocab == load_decoder(tmp_path / "backbone").config.vocab + 4
    )


def test_what_cannot_converse_is_said(tmp_path: Path) -> None:
    (tmp_path / "bert").mkdir()
    (tmp_path / "bert" / "config.json").write_text('{"kind": "bert"}')
    with pytest.raises(ValueError, match="a model of kind 'bert' cannot learn to converse; gpt and modern can"):
        load_decoder(tmp_path / "bert")
    with pytest.raises(ValueError, match="backbone: it has no chat template: `textmill instruct`"):
        ChatModel.open(backbone_folder(tmp_path / "backbone"))


def test_answers_are_compared() -> None:
    found = answered(["a b c", " x ", "y"], ["a b d", "x", "z"])
    assert found["exact_match"] == pytest.approx(100 / 3)
    assert found["rouge_l"] == pytest.approx(100 * (2 / 3 + 1 + 0) / 3)
    assert answered([], []) == {}
    assert chats(3, 1) == chats(3, 1)
