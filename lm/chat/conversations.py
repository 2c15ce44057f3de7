"""From the examples of a labelled set to conversations in tokens that fit a model's context. Torch-free."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lm.chat.config import SOURCE, ChatConfig
from lm.chat.messages import BadConversation, Messages, check_messages
from lm.chat.tokens import ChatTokenizer, Conversation
from lm.labelled.folder import LabelledSet, Split
from lm.stop import ShouldStop, check, never
from lm.tokenizers.spans import token_starts

AT_ONCE = 1_000
ERRORS_SHOWN = 5
FORMS = ("chat", "generation")


@dataclass(frozen=True)
class Talk:
    """A conversation as it is learned: the name of its example, its messages (perhaps cut), its tokens."""

    id: str
    messages: Messages
    tokens: Conversation


@dataclass(frozen=True)
class Talks:
    """Those of a split in its order, and how many of its examples were `cut` (a later turn, or the end of a source) or
    `left_out`, since not even that fits."""

    kept: list[Talk]
    counts: Mapping[str, int]


def read_talks(
    labelled: LabelledSet,
    split: Split,
    tokenizer: ChatTokenizer,
    config: ChatConfig,
    context: int,
    should_stop: ShouldStop = never,
) -> Talks:
    """The conversations of a split: one of form `chat`, or of pairs (`generation`), the user's and the assistant's.

    A conversation of n tokens takes n - 1 places: the last one is only predicted.

    Raises BadConversation for the first few that cannot be used (with `too_long: refuse`, also for those that do not
    fit), ValueError for a set of another form.
    """
    form = labelled.task.ask.form
    if form not in FORMS:
        raise ValueError(f"{labelled.folder}: a set of form {form!r}; conversations are made of {' and '.join(FORMS)}")
    talks = _Reading(tokenizer, config, context)
    rows = labelled.read(split).to_pylist()
    for start in range(0, len(rows), AT_ONCE):
        check(should_stop, f"reading conversations of {split}")
        talks.add(rows[start : start + AT_ONCE])
    return talks.done(split)


class _Reading:
    def __init__(self, tokenizer: ChatTokenizer, config: ChatConfig, context: int) -> None:
        self.tokenizer, self.config, self.context = tokenizer, config, context
        self.kept: list[Talk] = []
        self.counts: Counter[str] = Counter()
        self.errors: list[str] = []

    def add(self, rows: Sequence[Mapping[str, Any]]) -> None:
        given = []
        for row in rows:
            self.counts["given"] += 1
            try:
                messages = self._messages(row, row.get("source"))
                check_messages(messages, row["id"])
            except BadConversation as error:
                self.errors.append(str(error))
            else:
                given.append((row, messages))
        encoded = self.tokenizer.conversations([messages for _, messages in given])
        for (row, messages), tokens in zip(given, encoded, strict=True):
            talk: Talk | None = Talk(row["id"], messages, tokens)
            if not self._fits(tokens):
                talk = self._too_long(row, messages, tokens)
            if talk is not None:
                self.kept.append(talk)

    def done(self, split: str) -> Talks:
        if self.errors:
            shown = self.errors[:ERRORS_SHOWN]
            more = [f"and {len(self.errors) - len(shown):,} more"] if len(self.errors) > len(shown) else []
            raise BadConversation("\n".join([*shown, *more]))
        if not self.kept:
            raise BadConversation(
                f"{split}: no conversation is left: of {self.counts['given']:,} none fits a context of"
                f" {self.context} tokens"
            )
        return Talks(self.kept, {name: self.counts[name] for name in ("given", "cut", "left_out")})

    def _messages(self, row: Mapping[str, Any], source: str | None) -> Messages:
        messages = row.get("messages")
        if messages is None:
            assert source is not None
            asked = self.config.prompt.replace(SOURCE, source)
            messages = [{"role": "user", "content": asked}, {"role": "assistant", "content": row["target"]}]
        if self.config.system is not None and messages and messages[0]["role"] != "system":
            messages = [{"role": "system", "content": self.config.system}, *messages]
        return messages

    def _fits(self, tokens: Conversation) -> bool:
        return len(tokens) - 1 <= self.context

    def _too_long(self, row: Mapping[str, Any], messages: Messages, tokens: Conversation) -> Talk | None:
        if self.config.too_long == "refuse":
            self.errors.append(
                f"{row['id']}: {len(tokens)} tokens do not fit a context of {self.context}, {messages[-1]['role']!r}"
                " speaking last: shorten it, or set too_long: truncate"
            )
            return None
        talk = self._with_less_source(row, tokens) if "source" in row else self._with_fewer_turns(row["id"], messages)
        self.counts["left_out" if talk is None else "cut"] += 1
        return talk

    def _with_fewer_turns(self, id: str, messages: Messages) -> Talk | None:
        """Up to the last answer that fits."""
        ends = [number for number, message in enumerate(messages, 1) if message["role"] == "assistant"]
        for end in reversed(ends[:-1]):
            [tokens] = self.tokenizer.conversations([messages[:end]])
            if self._fits(tokens):
                return Talk(id, messages[:end], tokens)
        return None

    def _with_less_source(self, row: Mapping[str, Any], tokens: Conversation) -> Talk | None:
        """A pair without the last tokens of its source."""
        source = row["source"]
        starts = token_starts(self.tokenizer.tokenizer, source)
        left, times = len(starts), self.config.prompt.count(SOURCE)
        while not self._fits(tokens):
            left -= max(1, (len(tokens) - 1 - self.context) // times)
            if left < 1:
                return None
            messages = self._messages(row, source[: starts[left]].rstrip())
            [tokens] = self.tokenizer.conversations([messages])
        return Talk(row["id"], messages, tokens)
