"""Chat templates: Jinja that writes a conversation as the text a model reads (the `chat_template` of Hugging Face's
tokenizer_config.json). Torch-free.

What is rendered is told apart to the character: special tokens that the template writes (a message that happens to
hold the characters `<|user|>` gets no token), text, and which of both is the assistant's: what stands between
`{% generation %}` and `{% endgeneration %}`, as transformers marks it.
"""

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, NoReturn, cast

from jinja2 import TemplateError
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension, loopcontrols
from jinja2.filters import do_indent
from jinja2.nodes import CallBlock, Node
from jinja2.parser import Parser
from jinja2.runtime import Context, Macro
from jinja2.sandbox import ImmutableSandboxedEnvironment

from lm.chat.messages import Messages

TURN_TOKENS = ("<|system|>", "<|user|>", "<|assistant|>", "<|end|>")
"""What our template writes before the text of each role, and behind every text."""
LONGEST = 1 << 17
LARGEST = 64
WIDENING = ("format", "format_map", "center", "ljust", "rjust", "zfill", "expandtabs")
"""Methods of strings that make one of any length out of a number; as the filters `center` and `format` do."""


def turns_template(begin: str) -> str:
    """Our template: `begin` (the token every document begins behind), then each turn between its role and `<|end|>`."""
    return (
        f"{begin}"
        "{% for message in messages %}"
        "{% if message['role'] not in ['system', 'user', 'assistant'] %}"
        "{{ raise_exception('unknown role: ' ~ message['role']) }}"
        "{% endif %}"
        "{% if message['role'] == 'assistant' %}"
        "<|assistant|>{% generation %}{{ message['content'] }}<|end|>{% endgeneration %}"
        "{% else %}"
        "{{ '<|' ~ message['role'] ~ '|>' ~ message['content'] ~ '<|end|>' }}"
        "{% endif %}"
        "{% endfor %}"
        "{% if add_generation_prompt %}<|assistant|>{% endif %}"
    )


class Piece(NamedTuple):
    """A part of a written conversation: a special token by name, or text between two of them."""

    text: str
    special: bool
    learned: bool
    """Whether it is the assistant's."""


class _Marks(NamedTuple):
    """Strings that stand in no message: around what is the assistant's, and inside what only looks like a token."""

    begin: str
    end: str
    guard: str


class _Generation(Extension):
    """The `{% generation %}` block: what it renders, between marks."""

    tags = {"generation"}  # noqa: RUF012  as Jinja declares it

    def parse(self, parser: Parser) -> Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return CallBlock(self.call_method("_marked"), [], [], body).set_lineno(line)

    def _marked(self, caller: Macro) -> str:
        marks = cast(_Marks, self.environment.globals["generation_marks"])
        return f"{marks.begin}{caller()}{marks.end}"


class _Sandbox(ImmutableSandboxedEnvironment):
    """Jinja's sandbox, in which an expression makes nothing huge, either: `'x' * 10 ** 12`, `'%999999999d' % 1`."""

    intercepted_binops = frozenset({"*", "**", "%"})

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        numbers = isinstance(left, int | float) and isinstance(right, int | float)
        if not numbers or (operator == "**" and (abs(left) > LARGEST or abs(right) > LARGEST)):
            raise SecurityError(f"{type(left).__name__} {operator} {type(right).__name__}")
        return super().call_binop(context, operator, left, right)

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        widens = isinstance(obj, str) and attr in WIDENING
        return not widens and super().is_safe_attribute(obj, attr, value)


class ChatTemplate:
    """A template, compiled in Jinja's sandbox (it may come from anywhere), with the special tokens of a tokenizer.

    `special`: names of all special tokens. Raises ValueError for what is no template.
    """

    def __init__(self, source: str, special: Sequence[str]) -> None:
        self.source, self.special = source, tuple(special)
        environment = _Sandbox(trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols])
        for name in ("center", "format"):
            del environment.filters[name]
        environment.filters["indent"] = _indented
        environment.filters["tojson"] = _to_json
        environment.globals["raise_exception"] = _raise
        self._globals = environment.globals
        if len(source) > LONGEST:
            raise ValueError(f"the chat template has {len(source):,} characters; {LONGEST:,} are more than any needs")
        try:
            self._template = environment.from_string(source)
        except (TemplateError, RecursionError, MemoryError, SyntaxError) as error:
            raise ValueError(f"the chat template is no Jinja: {error}") from error
        self._names = sorted((name for name in self.special if name), key=len, reverse=True)

    def pieces(self, messages: Messages, add_generation_prompt: bool = False) -> list[Piece]:
        """The conversation in pieces; with `add_generation_prompt` also the begin of the answer that is to come.

        Raises ValueError for what the template refuses, and for one under which the assistant's part does not stand
        between special tokens: which tokens are whose would then depend on what stands beside them.
        """
        marks = _marks("".join(message["content"] for message in messages))
        guarded = [{**message, "content": self._guarded(message["content"], marks.guard)} for message in messages]
        text = self._rendered(guarded, marks, add_generation_prompt)
        return list(self._cut(text, marks))

    def text(self, messages: Messages, add_generation_prompt: bool = False) -> str:
        """The conversation as the template writes it."""
        return "".join(piece.text for piece in self.pieces(messages, add_generation_prompt))

    def _rendered(self, messages: list[dict[str, str]], marks: _Marks, prompt: bool) -> str:
        self._globals["generation_marks"] = marks
        try:
            return self._template.render(messages=messages, add_generation_prompt=prompt)
        except SecurityError as error:
            raise ValueError(f"the chat template wants what the sandbox does not allow: {error}") from error
        except (TemplateError, TypeError, ValueError, OverflowError, LookupError, RecursionError, MemoryError) as error:
            raise ValueError(f"the chat template refuses: {error}") from error

    def _guarded(self, text: str, guard: str) -> str:
        """The text with the guard inside whatever looks like a special token."""
        for name in self._names:
            text = text.replace(name, name[0] + guard + name[1:])
        return text

    def _cut(self, text: str, marks: _Marks) -> Iterator[Piece]:
        names = [marks.begin, marks.end, *self._names]
        learned, after_special = False, False
        for part in re.split(f"({'|'.join(map(re.escape, names))})", text):
            if part in (marks.begin, marks.end):
                if not after_special:
                    raise ValueError(
                        "in the chat template a generation block must begin behind a special token and end with one:"
                        " else the tokens at its edges depend on what stands beside them"
                    )
                learned = part == marks.begin
            elif part in self._names:
                yield Piece(part, True, learned)
                after_special = True
            elif part:
                yield Piece(part.replace(marks.guard, ""), False, learned)
                after_special = False


def _marks(text: str) -> _Marks:
    """Marks of Unicode's noncharacters, numbered until none of them stands in the text."""
    number = 0
    while True:
        marks = _Marks(*(f"\ufdd0{number + place}\ufdd1" for place in range(3)))
        if not any(mark in text for mark in marks):
            return marks
        number += 3


def _indented(text: str, width: int | str = 4, first: bool = False, blank: bool = False) -> str:
    return do_indent(text, _bounded(width), first, blank)


def _bounded(width: Any) -> Any:
    if isinstance(width, int) and width > LARGEST:
        raise SecurityError(f"an indent of {width}")
    return width


def _to_json(value: Any, indent: Any = None, **options: Any) -> str:
    options["indent"] = _bounded(indent)
    return json.dumps(value, ensure_ascii=False, **options)


def _raise(message: str) -> NoReturn:
    raise TemplateError(message)
