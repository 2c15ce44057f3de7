"""Text is never a template, and a template of another's making runs in a sandbox."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from data_quality.rules import load_ruleset
from flows.config.pipeline import load_config
from lm.chat.template import ChatTemplate, turns_template
from lm.evaluate.prompts import filled, load_template

ASKED = [{"role": "user", "content": "{{ 7 * 7 }}{% for x in y %}"}]

CODE = [
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ cycler.__init__.__globals__.os.system('true') }}",
    "{{ lipsum.__globals__['os'].popen('id').read() }}",
    "{{ messages.__init__.__globals__ }}",
    "{{ self._TemplateReference__context }}",
    "{{ raise_exception.__globals__ }}",
    "{{ messages.append(1) }}",
    "{{ messages.__class__ }}",
    "{{ (1).__class__.__base__ }}",
    "{{ 'x' | attr('__class__') }}",
    "{% import 'os' as os %}{{ os }}",
    "{% include '/etc/passwd' %}",
    "{% extends '/etc/passwd' %}",
]
HUGE = [
    "{{ 'x' * 10 ** 12 }}",
    "{{ [0] * 10 ** 12 }}",
    "{{ 10 ** 10 ** 10 }}",
    "{{ '%999999999999d' % 1 }}",
    "{{ '{:>999999999999}'.format(1) }}",
    "{{ 'x'.ljust(10 * 1000 * 1000 * 1000 * 1000) }}",
    "{{ 'x' | center(999999999999) }}",
    "{{ '%999999999999d' | format(1) }}",
    "{{ 'x\\ny' | indent(999999999999) }}",
    "{{ [1] | tojson(indent=999999999999) }}",
    "{% for i in range(10 * 1000 * 1000 * 1000) %}x{% endfor %}",
    "{" * 200_000,
    "{{ " + "(" * 20_000 + ")" * 20_000 + " }}",
    "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
]


@pytest.mark.parametrize("source", [*CODE, *HUGE])
def test_a_template_runs_no_code_and_makes_nothing_huge(source: str) -> None:
    """It is refused, or (Jinja's answer to what is unsafe but only looked at) writes nothing."""
    try:
        said = ChatTemplate(source, []).text(ASKED)
    except ValueError as error:
        assert str(error).startswith("the chat template")  # noqa: PT017  either way is right
    else:
        assert len(said) < 300_000
        assert not any(word in said for word in ("class", "uid=", "root:", "module", "{'"))


def test_templates_that_are_in_use_still_work() -> None:
    source = (
        "{% for m in messages %}{% if loop.index0 % 2 == 0 %}<u>{{ m.content | trim }}{% else %}"
        "<a>{{ m['content'].strip().split('\\n')[-1] }}{% endif %}{% endfor %}{{ 2 * 3 }}{{ messages | length * 2 }}"
    )
    messages = [{"role": "user", "content": " hello "}, {"role": "assistant", "content": "a\nb"}]
    assert ChatTemplate(source, ["<u>", "<a>"]).text(messages) == "<u>hello<a>b64"


def test_what_people_write_is_not_run() -> None:
    written = ChatTemplate(turns_template("<s>"), ["<s>", "<|user|>", "<|assistant|>", "<|end|>"]).text(ASKED)
    assert "<|user|>{{ 7 * 7 }}{% for x in y %}<|end|>" in written


STRANGE = ["{text}", "{answer}", "{0.__class__}", "{{ 7 * 7 }}", "%(x)s", "$text", "{text.__init__.__globals__}"]


@pytest.mark.parametrize("text", STRANGE)
def test_a_prompt_is_filled_in_once(text: str) -> None:
    """Few-shot templates have names in braces; an example that holds braces stays what it is."""
    assert filled("Review: {text}\nSentiment:", text=text) == f"Review: {text}\nSentiment:"
    assert filled("{text} {text_b}", text="{text_b}", text_b=text) == f"{{text_b}} {text}"


TAGS = ["!!python/object/apply:os.system ['true']", "!!python/name:os.system", "!!python/module:os"]


@pytest.mark.parametrize("tag", TAGS)
def test_yaml_makes_no_objects(tag: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(f"name: {tag}\n")
    for read in (load_ruleset, load_config, load_template):
        with pytest.raises(ValueError, match=r"mine\.yaml.*could not determine a constructor for the tag"):
            read(path)


@pytest.mark.parametrize("read", [load_ruleset, load_config])
def test_yaml_that_unfolds_to_a_billion(read: Callable[[Path], Any], tmp_path: Path) -> None:
    lines = ["a: &a [lol, lol, lol, lol, lol, lol, lol, lol, lol]"]
    lines += [f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]" for a, b in pairwise("abcdefghi")]
    path = tmp_path / "mine.yaml"
    path.write_text("\n".join([*lines, "extends: *i", "name: *i"]))
    with pytest.raises(ValueError, match=r"mine\.yaml.*aliases that unfold to more than"):
        read(path)
