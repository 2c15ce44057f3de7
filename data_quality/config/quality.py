"""Configuration of signals and rules."""

from typing import Literal, Self

from pydantic import Field, model_validator

from data_quality.config.base import StrictModel


class C4LineEdits(StrictModel):
    """C4's line rules (arXiv 1910.10683, section 2.2; datatrove `C4QualityFilter`): they make the text version `c4`."""

    filter_no_terminal_punct: bool = Field(
        default=False,
        description="Remove lines that do not end in . ? ! \" or ', or end in `...`. C4 paper: true; FineWeb: false.",
    )
    min_words_per_line: int = Field(
        default=3,
        ge=0,
        description="Remove lines with fewer words, as white space parts them; a Han or Kana character is a word "
        "(C4 code: 3); 0 switches it off.",
    )
    max_word_length: int | None = Field(
        default=1000, ge=1, description="Remove lines with a longer word, in characters (C4 code: 1000); null: off."
    )
    remove_citations: bool = Field(
        default=True, description="Cut [12], [], [edit] and [citation needed] out of lines (C4 code)."
    )
    filter_javascript: bool = Field(default=True, description="Remove lines that mention javascript (C4 paper).")
    filter_policy: bool = Field(
        default=True, description="Remove lines on cookies, terms of use and privacy policy (C4 code)."
    )


class SignalsConfig(StrictModel):
    """What `compute_signals` measures. A change here recomputes signals; a change of rules or thresholds does not."""

    c4: C4LineEdits | None = Field(
        default=C4LineEdits(),
        description="Line edits of the text version `c4`, on which FineWeb's rules stand; null: no such version.",
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


class QualityConfig(StrictModel):
    """Which rules judge a document, at which thresholds, from which signals."""

    rulesets: tuple[str, ...] = Field(
        default=("gopher_repetition", "gopher_quality", "c4", "fineweb"),
        description="Rulesets in order: names of shipped ones (data_quality/rulesets/) or paths of YAML files. The "
        "first reason of a document is that of the first rule that fires; the default is FineWeb's order.",
    )
    thresholds: dict[str, float | str | tuple[str, ...]] = Field(
        default_factory=dict,
        description="Other thresholds for single rules, for instance {gopher_quality.gopher_short_doc: 30}.",
    )
    ruleset_languages: dict[str, str] = Field(
        default_factory=dict,
        description="Rulesets that judge only documents of one language, for instance {gopher_quality: en} in a corpus "
        "of several. Rules that name a language of their own keep it.",
    )
    signals: SignalsConfig = Field(default=SignalsConfig(), description="How the signals are measured.")

    @model_validator(mode="after")
    def _rules_exist(self) -> Self:
        from data_quality.rules import choose_rulesets  # rules.py builds on this module

        choose_rulesets(self)
        return self
