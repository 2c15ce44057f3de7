"""What a conversation is: messages with a role and a text, in an order that a model can learn from. Torch-free."""

from collections.abc import Mapping, Sequence

ROLES = ("system", "user", "assistant")
Messages = Sequence[Mapping[str, str]]
"""Each with `role` and `content`."""


class BadConversation(ValueError):
    """A conversation that cannot be used; the message names the example, the message and its role."""


def check_messages(messages: Messages, name: str, answered: bool = True) -> None:
    """Refuse what is no conversation: perhaps the system's words first, then the user and the assistant in turn.

    `answered`: whether it ends with the assistant, to be learned from, or with the user, to be answered.

    Raises BadConversation naming the example (`name`) and what is wrong with which message.
    """

    def refuse(number: int, problem: str) -> BadConversation:
        return BadConversation(f"{name}: message {number} ({messages[number].get('role')!r}): {problem}")

    if not messages:
        raise BadConversation(f"{name}: a conversation without messages")
    for number, message in enumerate(messages):
        role, before = message.get("role"), messages[number - 1].get("role") if number else None
        if role not in ROLES:
            raise refuse(number, f"an unknown role; there are {', '.join(ROLES)}")
        if not isinstance(message.get("content"), str):
            raise refuse(number, "its content is no text")
        if role == "system" and number:
            raise refuse(number, "the system speaks first or not at all")
        if role == "assistant" and before != "user":
            raise refuse(number, _out_of_turn(before, role))
        if role == "user" and before == "user":
            raise refuse(number, _out_of_turn(before, role))
        if role == "assistant" and not message["content"].strip():
            raise refuse(number, "an empty response: there is nothing to learn")
    last = "assistant" if answered else "user"
    if messages[-1]["role"] != last:
        why = "there is no response to learn" if answered else "there is nothing to answer"
        raise refuse(len(messages) - 1, f"the last message is not the {last}'s: {why}")


def _out_of_turn(before: str | None, role: str) -> str:
    if before == role:
        return f"two {role} turns in a row: join them, or put the other's between them"
    return "the assistant answers a user, and no user has spoken"
