"""Which signals a configuration needs: those that its rules name, and no other optional ones."""

from importlib.util import find_spec
from pathlib import Path

from data_quality.config import (
    BadWordsConfig,
    C4LineEdits,
    ListFile,
    QualityConfig,
    RefinedWebLineEdits,
    SignalsConfig,
    UrlLists,
)
from data_quality.errors import UsageError
from data_quality.rules import choose_rulesets
from data_quality.signal_catalogue import GROUPS, RAW

DCLM_C4 = C4LineEdits(filter_no_terminal_punct=True, min_words_per_line=5)
"""C4's line edits with DCLM's values (mlfoundations/dclm, baselines_configs/c4.yaml)."""


def resolve_signals(config: QualityConfig) -> SignalsConfig:
    """The signals of `config` with the optional groups and text versions that its rulesets name, and no lists,
    text versions but those in use. Lists are read and hashed: the result is what enters a key.

    Raises ValueError for a list that cannot be read, and for traditional characters without a table.
    """
    signals = config.signals
    named = {(ruleset.text_of(rule), rule.signal) for ruleset in choose_rulesets(config) for rule in ruleset.rules}
    texts = {text for text, _ in named}
    raw = {signal for text, signal in named if text == RAW}
    groups = tuple(group for group, names in GROUPS.items() if group in signals.groups or raw & names.keys())
    return SignalsConfig(
        c4=signals.c4,
        c4_dclm=(signals.c4_dclm or DCLM_C4) if "c4_dclm" in texts else None,
        refinedweb=(signals.refinedweb or RefinedWebLineEdits()) if "refinedweb" in texts else None,
        groups=groups,
        short_line_length=signals.short_line_length,
        words=signals.words,
        url=_url_lists(signals.url) if "url" in groups else None,
        traditional=(signals.traditional or _opencc_table()).resolved() if "traditional" in groups else None,
        bad_words=_bad_words(signals.bad_words) if "bad_words" in groups else None,
        custom=signals.custom,
    )


def _url_lists(lists: UrlLists | None) -> UrlLists:
    given = {name: file.resolved() for name, file in lists or () if file is not None}
    if not given:
        raise UsageError("rules.signals.url: give at least one list, or no signals of the group url are needed")
    return UrlLists(**given)


def _bad_words(config: BadWordsConfig | None) -> BadWordsConfig:
    if config is None or not config.lists:
        raise UsageError("rules.signals.bad_words: give the list of a language, or no signals of the group are needed")
    lists = {
        language: listed.model_copy(update={"file": listed.file.resolved()})
        for language, listed in config.lists.items()
    }
    return config.model_copy(update={"lists": lists})


def _opencc_table() -> ListFile:
    package = find_spec("opencc")
    if package is not None and package.origin is not None:
        table = Path(package.origin).with_name("dictionary") / "TSCharacters.txt"
        if table.is_file():
            return ListFile(path=str(table))
    raise UsageError(
        "the signal traditional_ratio needs a table of characters: install opencc-python-reimplemented (the extra "
        "`chinese`), or give rules.signals.traditional"
    )
