"""Configuration of signals and rules."""

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from data_quality.config.base import StrictModel
from data_quality.config.custom import CustomSignal
from data_quality.config.line_edits import C4LineEdits, RefinedWebLineEdits
from data_quality.config.lists import BadWordsConfig, DocumentList, ListFile, UrlLists


class SignalsConfig(StrictModel):
    """What `compute_signals` measures. A change here recomputes signals; a change of rules or thresholds does not.

    Text versions but `c4` and the optional groups of signals are measured only where a chosen ruleset asks for them:
    `data_quality.signal_choice.resolve_signals` adds them.
    """

    c4: C4LineEdits | None = Field(
        default=C4LineEdits(),
        description="Line edits of the text version `c4`, on which FineWeb's rules stand; null: no such version.",
    )
    c4_dclm: C4LineEdits | None = Field(
        default=None, description="Line edits of the text version `c4_dclm`; null: DCLM's where its ruleset is chosen."
    )
    refinedweb: RefinedWebLineEdits | None = Field(
        default=None,
        description="Line edits of the text version `refinedweb`; null: RefinedWeb's where its ruleset is chosen.",
    )
    groups: tuple[str, ...] = Field(
        default=(),
        description="Optional groups of signals (data_quality/signal_catalogue.py) to measure though no rule asks.",
    )
    short_line_length: int = Field(
        default=30, ge=0, description="Longest line, in characters, that short_line_ratio counts (FineWeb: 30)."
    )
    words: Literal["spacy", "plain"] = Field(
        default="spacy",
        description="Words of scripts with spaces. spacy: as spaCy's blank English tokenizer, which published "
        "thresholds mean. plain: runs of letters and digits, and single other characters. Chinese, Japanese and "
        "Korean are cut by their own rules either way.",
    )
    url: UrlLists | None = Field(default=None, description="Lists of banned addresses, for the group `url`.")
    traditional: ListFile | None = Field(
        default=None,
        description="Table for the group `traditional`: lines of a traditional character, a tab, and its simplified "
        "forms. null: OpenCC's, from the package opencc-python-reimplemented (Apache-2.0; extra `chinese`).",
    )
    bad_words: BadWordsConfig | None = Field(default=None, description="Lists of bad words, for `bad_words`.")
    custom: tuple[CustomSignal, ...] = Field(default=(), description="Signals of your own, measured by your functions.")

    @model_validator(mode="after")
    def _known(self) -> Self:
        from data_quality.signal_catalogue import GROUPS, check_custom_names, nearest

        for group in self.groups:
            if group not in GROUPS:
                raise ValueError(f"unknown group of signals '{group}'{nearest(group, GROUPS)}")
        check_custom_names([signal.name for signal in self.custom])
        return self

    def key_material(self) -> dict[str, Any]:
        """What determines the signals: lists by their content and functions by their version, none by its path."""
        material = self.model_dump(mode="json")
        for signal in material["custom"]:
            del signal["meaning"]
            signal["function"] = signal["function"].replace("\\", "/").rpartition("/")[2]
        return _by_content(material)


class QualityConfig(StrictModel):
    """Which rules judge a document, at which thresholds, from which signals."""

    enabled: bool = Field(default=True, description="Whether rules judge; if not, every document passes.")
    rulesets: tuple[str, ...] = Field(
        default=("gopher_repetition", "gopher_quality", "c4", "fineweb"),
        description="Rulesets in order: names of shipped ones (docs/rulesets/) or paths of YAML files. The "
        "first reason of a document is that of the first rule that fires; the default is FineWeb's order.",
    )
    thresholds: dict[str, float | str | tuple[str, ...]] = Field(
        default_factory=dict,
        description="Other thresholds for single rules, for instance {gopher_quality.gopher_short_doc: 30}.",
    )
    ruleset_languages: dict[str, str] = Field(
        default_factory=dict,
        description="Rulesets that judge only documents of one language, for instance {gopher_quality: en} in a corpus "
        "of several. Rules that name a language of their own keep it; of a ruleset that is not chosen nothing is "
        "judged.",
    )
    keep: DocumentList = Field(
        default=DocumentList(), description="Documents that stay whatever rules and dedupe say: reason `list.keep`."
    )
    drop: DocumentList = Field(
        default=DocumentList(), description="Documents that go, unless `keep` names them too: reason `list.drop`."
    )
    signals: SignalsConfig = Field(default=SignalsConfig(), description="How the signals are measured.")

    @model_validator(mode="after")
    def _rules_exist(self) -> Self:
        from data_quality.rules import choose_rulesets  # rules.py builds on this module

        choose_rulesets(self)
        return self


def _by_content(value: Any) -> Any:
    """`value` with every list file as the hash of what it holds."""
    if isinstance(value, dict):
        if value.keys() == {"path", "sha256"}:
            if value["sha256"] is None:
                raise ValueError(f"the list {value['path']} was not read: pass the signals through resolve_signals")
            return value["sha256"]
        return {key: _by_content(inner) for key, inner in value.items()}
    return value
