"""What spaCy's blank English tokenizer cuts by: expressions for affixes and infixes, and special cases.

To import spaCy takes two seconds and 280 MB, which every worker that cuts words would pay for this alone. So they are
read from spaCy once and kept in a file named after its version, in the package's cache directory; where no file can be
written, each process asks spaCy.
"""

import importlib.metadata
import json
import os
import re
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from data_quality.errors import UsageError

FORMAT = 1  # raise it when `ask_spacy` gives something else


class EnglishRules(NamedTuple):
    """Compiled expressions, and the words of every special case."""

    prefix: re.Pattern[str]
    suffix: re.Pattern[str]
    infix: re.Pattern[str]
    url: re.Pattern[str]
    special: dict[str, tuple[str, ...]]


@cache
def english_rules() -> EnglishRules:
    """The rules of the spaCy that is installed."""
    path = Path(__file__).parent / "__pycache__" / f"english-{FORMAT}-spacy-{importlib.metadata.version('spacy')}.json"
    try:
        return _compiled(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, LookupError):  # not there yet, or damaged
        rules = ask_spacy()
        with suppress(OSError):  # read-only
            _write(path, rules)
        return _compiled(rules)


def _compiled(rules: dict[str, Any]) -> EnglishRules:
    prefix, suffix, infix, url = (re.compile(rules[name]) for name in ("prefix", "suffix", "infix", "url"))
    return EnglishRules(prefix, suffix, infix, url, {case: tuple(words) for case, words in rules["special"].items()})


def ask_spacy() -> dict[str, Any]:
    """The expressions, and the words of every special case, as JSON has them."""
    import spacy
    from spacy.symbols import ORTH

    tokenizer = spacy.blank("en").tokenizer
    methods = (tokenizer.prefix_search, tokenizer.suffix_search, tokenizer.infix_finditer, tokenizer.url_match)
    expressions = [method.__self__ for method in methods]
    if any(expression.flags != re.UNICODE for expression in expressions) or tokenizer.token_match is not None:
        raise UsageError(
            f"spaCy {spacy.__version__} cuts words in a way that Textmill does not know: install a version that "
            "pyproject.toml allows"
        )
    return {
        **dict(zip(("prefix", "suffix", "infix", "url"), (e.pattern for e in expressions), strict=True)),
        "special": {case: [token[ORTH] for token in tokens] for case, tokens in tokenizer.rules.items()},
    }


def _write(path: Path, rules: dict[str, Any]) -> None:
    path.parent.mkdir(exist_ok=True)
    partial = path.with_suffix(f".{os.getpid()}.tmp")
    partial.write_text(json.dumps(rules), encoding="utf-8")
    os.replace(partial, path)
