"""Rulesets for the languages that were seen in documents, where nobody has named any."""

from collections.abc import Collection, Sequence
from typing import Any

OTHERS = {"ja": ("fineweb2_ja",), "ko": ("fineweb2_ko",), "yue": ("fineweb2_yue",), "zh": ("fineweb2_zh",)}
LANGUAGES = ("en", *OTHERS)
"""Those that have rulesets; all but yue are told by `survey.guess_language`."""


def rules_for(languages: Collection[str | None], english: Sequence[str]) -> dict[str, Any]:
    """The section `rules`: rulesets of every language that was seen. None judges a text in another language, or one
    whose language cannot be told.

    Args:
        english: rulesets that name no language themselves, for English text.
    """
    seen = [language for language in LANGUAGES if language in languages]
    by_language = {"en": english, **OTHERS}
    rules: dict[str, Any] = {"rulesets": [ruleset for language in seen for ruleset in by_language[language]]}
    if "en" in languages and len(languages) > 1:
        rules["ruleset_languages"] = dict.fromkeys(english, "en")
    return rules
