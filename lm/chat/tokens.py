"""Conversations in tokens: which of them are the assistant's, and the bytes that these stand for. Torch-free."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from lm.chat.messages import Messages
from lm.chat.template import TURN_TOKENS, ChatTemplate, Piece, turns_template
from lm.special_tokens import special_ids
from lm.tokenizer import TextEncoder, chat_template, end_of_text_id, load_tokenizer, save_tokenizer
from lm.tokenizers.common import special
from lm.tokenizers.spelling import SPELLING_FILE, Spelling

PROBE = ({"role": "user", "content": "a"}, {"role": "assistant", "content": "b"})


@dataclass(frozen=True, eq=False)
class Conversation:
    """A conversation in tokens; all arrays are [tokens]."""

    ids: np.ndarray  # int64
    learned: np.ndarray  # bool: the assistant's
    bytes: np.ndarray  # int64: of UTF-8 that each token stands for, 0 for special tokens
    spelling_nats: np.ndarray  # float64: what spelling an unknown one costs

    def __len__(self) -> int:
        return len(self.ids)


class ChatTokenizer:
    """A tokenizer that writes conversations by a template. Each text is encoded by itself, between special tokens: the
    ids are those of `apply_chat_template` in transformers, but for messages that hold a special token's characters,
    which are text here.

    Raises ValueError for a template that does not mark the assistant's part or writes no token to end it.
    """

    def __init__(self, tokenizer: Tokenizer, template: str, spelling: Spelling) -> None:
        self.tokenizer = tokenizer
        self._encode = TextEncoder(tokenizer, spelling)
        self._ids = {str(tokenizer.id_to_token(i)): i for i in sorted(special_ids(tokenizer))}
        self.template = ChatTemplate(template, list(self._ids))
        learned = [piece for piece in self.template.pieces(PROBE) if piece.learned]
        if not learned:
            raise ValueError(
                "the chat template does not say what the assistant's part is: put {% generation %} before it and"
                " {% endgeneration %} behind"
            )
        self.end = int(self._ids[learned[-1].text])
        """The token that ends the assistant's turn."""

    @classmethod
    def of(cls, folder: Path) -> "ChatTokenizer":
        """That of a folder of ours or a Hugging Face one. Raises ValueError if it has no chat template."""
        template = chat_template(folder)
        if template is None:
            raise ValueError(f"{folder}: it has no chat template: `textmill instruct` makes a model with one")
        try:
            return cls(load_tokenizer(folder), template, Spelling.load(folder))
        except ValueError as error:
            raise ValueError(f"{folder}: {error}") from error

    def conversations(self, given: Sequence[Messages]) -> list[Conversation]:
        """Whole conversations."""
        return self._encoded([self.template.pieces(messages) for messages in given])

    def prompts(self, given: Sequence[Messages]) -> list[Conversation]:
        """Conversations up to where the assistant's answer to the last message is to begin."""
        return self._encoded([self.template.pieces(messages, add_generation_prompt=True) for messages in given])

    def _encoded(self, written: Sequence[Sequence[Piece]]) -> list[Conversation]:
        texts = iter(self._encode([piece.text for pieces in written for piece in pieces if not piece.special]))
        found = []
        for pieces in written:
            ids, learned, size, nats = [], [], [], []
            for piece in pieces:
                if piece.special:
                    one = np.array([self._ids[piece.text]], np.int64)
                    parts = (one, np.zeros(1, np.int64), np.zeros(1))
                else:
                    parts = next(texts)
                ids.append(parts[0])
                size.append(parts[1])
                nats.append(parts[2])
                learned.append(np.full(len(parts[0]), piece.learned))
            found.append(Conversation(*(np.concatenate(each) for each in (ids, learned, size, nats))))
        return found

    def decode(self, ids: Sequence[int]) -> str:
        """The text of an answer: what stands before the end of its turn."""
        shown = list(ids)
        if self.end in shown:
            shown = shown[: shown.index(self.end)]
        return str(self.tokenizer.decode(shown, skip_special_tokens=True))


def make_chat_tokenizer(source: Path, folder: Path) -> ChatTokenizer:
    """Write the tokenizer of `source` to `folder` with our template, whose tokens are appended to the vocabulary; one
    that has a template already is written as it is."""
    tokenizer, template = load_tokenizer(source), chat_template(source)
    if template is None:
        begin = tokenizer.id_to_token(end_of_text_id(tokenizer))
        tokenizer.add_special_tokens(special(TURN_TOKENS))
        template = turns_template(str(begin))
    save_tokenizer(tokenizer, folder, template)
    if (source / SPELLING_FILE).exists():
        shutil.copyfile(source / SPELLING_FILE, folder / SPELLING_FILE)
    return ChatTokenizer.of(folder)
