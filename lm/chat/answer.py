"""A model that answers: what a conversation's next turn is.

model = ChatModel.open(folder)
model.answer([{"role": "user", "content": "What is the capital of France?"}])
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Unpack, cast

from lm.artifact import described
from lm.chat.messages import Messages, check_messages
from lm.chat.tokens import ChatTokenizer
from lm.generate import Decoder, generate_batch
from lm.sampling import Drawing, drawn_as_text
from lm.stop import ShouldStop, never
from lm.tokenizer import end_of_text_id

BATCH = 32
LEFT = 8
"""Tokens that must be left in the context for an answer."""


class ChatModel:
    """A decoder and the tokenizer by which it was taught to converse."""

    def __init__(self, model: Decoder, tokenizer: ChatTokenizer) -> None:
        self.model, self.tokenizer = model, tokenizer

    @classmethod
    def open(cls, folder: Path, device: str = "cpu") -> "ChatModel":
        """That of a folder of ours, or of a Hugging Face GPT's.

        Raises FileNotFoundError or ValueError for a folder without a model, a model that is no decoder, and one without
        a chat template.
        """
        from lm.text_model import open_model
        from lm.texts.decoder import DecoderText

        kind = described(folder).get("kind", "gpt")
        opened = open_model(folder, device)
        if not isinstance(opened, DecoderText):
            raise ValueError(f"{folder}: a model of kind {kind!r} holds no conversation; gpt and modern do")
        return cls(opened.model, ChatTokenizer.of(folder))

    def answer(
        self, messages: Messages, max_new_tokens: int = 200, *, seed: int = 0, **drawing: Unpack[Drawing]
    ) -> str:
        """What the assistant says to the last message, the user's; the draw depends on `seed` alone.

        Of a conversation that has outgrown the context, the oldest turns are left out. Raises BadConversation for what
        is none, ValueError for a message that alone does not fit.
        """
        [found] = self.answers([messages], max_new_tokens, seed=seed, **drawing)
        return found

    def answers(
        self,
        given: Sequence[Messages],
        max_new_tokens: int = 200,
        *,
        seed: int = 0,
        should_stop: ShouldStop = never,
        progress: Callable[[int], None] = lambda _: None,
        **drawing: Unpack[Drawing],
    ) -> list[str]:
        """`answer` to each of several conversations, together. `progress` advances by conversations."""
        prompts = [self.prompt(messages, f"conversation {number}") for number, messages in enumerate(given)]
        draw = asdict(drawn_as_text(**drawing))
        found: list[str] = []
        for start in range(0, len(prompts), BATCH):
            batch = prompts[start : start + BATCH]
            news = generate_batch(
                self.model,
                batch,
                max_new_tokens,
                seed=seed,
                stop=self.tokenizer.end,
                should_stop=should_stop,
                ended=self._ended(batch),
                **draw,
            )
            found += [self.tokenizer.decode(self._before_end(new)) for new in news]
            progress(len(batch))
        return found

    def prompt(self, messages: Messages, name: str = "conversation") -> list[int]:
        """The tokens that an answer goes on from, so many of the last turns as leave room for one."""
        check_messages(messages, name, answered=False)
        room = self.model.config.context - LEFT
        first = 1 if messages[0]["role"] == "system" else 0
        kept = list(messages)
        while True:
            [tokens] = self.tokenizer.prompts([kept])
            if len(tokens) <= room:
                return cast(list[int], tokens.ids.tolist())
            if len(kept) - first < 2:
                raise ValueError(
                    f"{name}: {len(tokens)} tokens leave no room for an answer in a context of"
                    f" {self.model.config.context}: shorten the message"
                )
            del kept[first : first + 2]

    def _ended(self, prompts: Sequence[Sequence[int]]) -> Callable[[int, list[int]], bool]:
        context, end = self.model.config.context, end_of_text_id(self.tokenizer.tokenizer)
        return lambda number, new: new[-1] == end or len(prompts[number]) + len(new) >= context

    def _before_end(self, new: list[int]) -> list[int]:
        end = end_of_text_id(self.tokenizer.tokenizer)
        return new[: new.index(end)] if end in new else new
