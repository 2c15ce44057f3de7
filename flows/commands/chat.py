"""`textmill chat`: a conversation with a model that was taught to hold one."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from flows.config.loading import ConfigError

if TYPE_CHECKING:
    from lm.sampling import Drawing


class Chat:
    """A conversation, turn by turn. The n-th answer is drawn with the seed + n: the same words, the same answers."""

    def __init__(self, folder: Path, system: str | None, tokens: int, seed: int, **drawing: "Unpack[Drawing]") -> None:
        from lm.chat.answer import ChatModel

        try:
            self._model: ChatModel = ChatModel.open(folder)
        except (FileNotFoundError, ValueError) as error:
            raise ConfigError(str(error)) from error
        self.messages = [] if system is None else [{"role": "system", "content": system}]
        self._tokens, self._seed, self._drawing = tokens, seed, drawing

    def say(self, text: str) -> str:
        """The answer to what the user says. Raises ConfigError for a text that does not fit the model's context."""
        asked = [*self.messages, {"role": "user", "content": text}]
        turn = sum(message["role"] == "user" for message in self.messages)
        try:
            answer = self._model.answer(asked, self._tokens, seed=self._seed + turn, **self._drawing)
        except ValueError as error:
            raise ConfigError(str(error)) from error
        # an empty answer is no turn that a model has learned to go on from
        self.messages = [*asked, {"role": "assistant", "content": answer}] if answer.strip() else self.messages
        return answer


def talk(chat: Chat, ask: Callable[[], str], show: Callable[[str], None]) -> None:
    """Ask and answer until `ask` raises EOFError or gives an empty line; what does not fit is said, and left out."""
    while True:
        try:
            text = ask()
        except EOFError:
            return
        if not text.strip():
            return
        try:
            show(chat.say(text))
        except ConfigError as error:
            show(f"({error})")
