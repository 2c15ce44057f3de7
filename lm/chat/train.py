"""Instruction tuning: a pretrained decoder, conversations, the one trainer, and what is written at the end."""

import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from lm.artifact import described, load_model, load_torch, save_model
from lm.chat.answer import LEFT, ChatModel
from lm.chat.config import ChatConfig
from lm.chat.conversations import Talk, Talks, read_talks
from lm.chat.enlarge import with_vocabulary
from lm.chat.messages import Messages
from lm.chat.objective import ConversationObjective, answers_bits_per_byte
from lm.chat.packing import PackedConversations
from lm.chat.tokens import ChatTokenizer, make_chat_tokenizer
from lm.config import TrainConfig
from lm.evaluate.rouge import corpus_rouge_l
from lm.evaluate.translation import corpus_scores
from lm.generate import Decoder
from lm.labelled.folder import SPLITS, LabelledSet
from lm.memory import keep_freed_memory
from lm.models.modern import Modern
from lm.order import draw_seed
from lm.stop import ShouldStop, never
from lm.tokenizer import load_tokenizer
from lm.train.hooks import Hooks
from lm.train.trainer import Trainer

ANSWERS = "answers.jsonl"
KINDS = ("gpt", "modern")


def instruct(
    examples: Path,
    backbone: Path,
    settings: ChatConfig,
    config: TrainConfig,
    checkpoints: Path,
    out_dir: Path,
    *,
    hooks: Hooks | None = None,
    should_stop: ShouldStop = never,
) -> dict[str, Any]:
    """Teach the model of the folder `backbone` the answers of the labelled set in `examples`; write a model folder to
    `out_dir`, with the chat template in its tokenizer_config.json and the answers to held-out prompts (answers.jsonl).

    Goes on from the newest good checkpoint in `checkpoints`, to the same bits. A model without a chat template gets
    ours, and embeddings of its four tokens, drawn from the seed. Dev is watched by the bits per byte of its answers;
    samples are answers to its first prompts (`settings.samples`), the first of them by the model before any update.

    Returns counts and figures: how the run ended (`TrainResult`), `parameters`, `train` (conversations, cut, left out,
    sequences, tokens), `valid` and, where the set has one, `test` (the same, figures of the final weights, and what
    `answered` says of the answers), and `untrained`: figures of valid before any update. Raises as `Trainer.run` and
    `read_talks` do, and ValueError for a model that is no decoder.
    """
    keep_freed_memory()
    labelled = LabelledSet(examples)
    pretrained = load_decoder(backbone)
    context = pretrained.config.context
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tokenizer = make_chat_tokenizer(backbone, folder)
        known = load_tokenizer(backbone).get_vocab_size()
        vocab = tokenizer.tokenizer.get_vocab_size()
        seed = draw_seed(config.seed, "turn tokens")

        def first() -> Decoder:
            return with_vocabulary(pretrained, min(known, pretrained.config.vocab), vocab, seed, settings.dropout)

        model = first()
        config = config.resolve_for(model.config.width, model.config.vocab, context)
        read = {
            split: read_talks(labelled, split, tokenizer, settings, context, should_stop)
            for split in SPLITS
            if split in ("train", "valid") or labelled.has(split)
        }
        packed = {
            split: PackedConversations([talk.tokens for talk in talks.kept], context, settings.packing)
            for split, talks in read.items()
        }
        asked = {split: _prompts(talks.kept, tokenizer, context) for split, talks in read.items() if split != "train"}
        shown = {_flat(messages): messages for messages, _ in asked["valid"][: settings.samples]}
        config = config.model_copy(update={"sample_prompts": tuple(shown), "sample_tokens": settings.answer_tokens})

        def evaluate(current: nn.Module) -> dict[str, float]:
            return answers_bits_per_byte(current, packed["valid"], config.eval_sequences, should_stop=should_stop)

        def sample(current: nn.Module, prompt: str, seed: int) -> str:
            talker = ChatModel(cast(Decoder, current), tokenizer)
            return talker.answer(shown[prompt], settings.answer_tokens, temperature=0.0)

        trainer = Trainer(
            model,
            ConversationObjective(),
            packed["train"],
            config,
            config.total_steps(len(packed["train"]), context),
            checkpoints,
            evaluate=evaluate,
            sample=sample if shown else None,
            hooks=hooks or Hooks(),
            should_stop=should_stop,
        )
        result = trainer.run()
        with torch.autocast(trainer.device.type, torch.bfloat16, config.precision == "bf16"):
            untrained = answers_bits_per_byte(first().to(trainer.device), packed["valid"], should_stop=should_stop)
            final, rows = {}, []
            for split, pairs in asked.items():
                figures = answers_bits_per_byte(model, packed[split], should_stop=should_stop)
                wanted = [answer for _, answer in pairs[: settings.answers]]
                prompts = [messages for messages, _ in pairs[: settings.answers]]
                found = ChatModel(model, tokenizer).answers(
                    prompts, settings.answer_tokens, temperature=0.0, should_stop=should_stop
                )
                final[split] = {**figures, **answered(found, wanted, settings.bleu_tokenizer)}
                rows += [
                    {"split": split, "messages": list(messages), "wanted": true, "answer": answer}
                    for messages, true, answer in zip(prompts, wanted, found, strict=True)
                ]
        save_model(model, folder, out_dir)
    _write_answers(out_dir / ANSWERS, rows)
    return {
        **result.figures(),
        "checkpoint": result.checkpoint.name,
        "parameters": sum(p.numel() for p in model.parameters()),
        "train": _counts(read["train"], packed["train"]),
        **{split: {**_counts(read[split], packed[split]), **figures} for split, figures in final.items()},
        "untrained": untrained,
    }


def load_decoder(folder: Path) -> Decoder:
    """The model of a folder, on the CPU. Raises ValueError for a kind that does not answer."""
    kind = described(folder).get("kind", "gpt")
    if kind not in KINDS:
        raise ValueError(f"{folder}: a model of kind {kind!r} cannot learn to converse; {' and '.join(KINDS)} can")
    return load_model(folder)[0] if kind == "gpt" else load_torch(folder, Modern)[0]


def answered(found: Sequence[str], wanted: Sequence[str], bleu_tokenizer: str = "13a") -> dict[str, float]:
    """How answers compare with the true ones, in percent: `exact_match` (white space at the ends aside), `rouge_l`,
    `bleu`, `chrf`; nothing for none."""
    if not wanted:
        return {}
    equal = sum(f.strip() == w.strip() for f, w in zip(found, wanted, strict=True))
    scores = corpus_scores(found, wanted, bleu_tokenizer)
    return {
        "answers": len(wanted),
        "exact_match": 100 * equal / len(wanted),
        "rouge_l": corpus_rouge_l(found, wanted),
        "bleu": scores["bleu"],
        "chrf": scores["chrf"],
    }


def _prompts(talks: Sequence[Talk], tokenizer: ChatTokenizer, context: int) -> list[tuple[Messages, str]]:
    """What comes before the last answer of each conversation, and that answer; those that leave room for one."""
    asked = [(talk.messages[:-1], talk.messages[-1]["content"]) for talk in talks]
    lengths = map(len, tokenizer.prompts([messages for messages, _ in asked]))
    return [each for each, length in zip(asked, lengths, strict=True) if length + LEFT <= context]


def _flat(messages: Messages) -> str:
    """A conversation as a reader of samples sees it."""
    return "\n".join(f"{message['role']}: {message['content']}" for message in messages)


def _counts(talks: Talks, packed: PackedConversations) -> dict[str, Any]:
    return {
        **talks.counts,
        "conversations": len(talks.kept),
        "sequences": len(packed),
        "tokens_read": packed.places,
        "learned_tokens": packed.learned,
    }


def _write_answers(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    partial = path.with_suffix(".tmp")
    partial.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    os.replace(partial, path)
