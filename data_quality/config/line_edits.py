"""Configuration of the line edits that make named versions of a text."""

from pydantic import Field

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


class RefinedWebLineEdits(StrictModel):
    """RefinedWeb's line rules (arXiv 2306.01116, section G.2) in DCLM's form: they make the text version `refinedweb`.

    Blank lines stay, at most one in a row. Words are those between white space; a Han or Kana character is one.
    """

    max_uppercase_ratio: float = Field(
        default=0.5, ge=0, le=1, description="Remove lines with a larger share of upper-case characters (DCLM: 0.5)."
    )
    filter_numeric: bool = Field(default=True, description="Remove lines of digits only (RefinedWeb).")
    filter_counters: bool = Field(default=True, description="Remove lines such as `3 likes` (RefinedWeb).")
    min_words_per_line: int = Field(
        default=2, ge=0, description="Remove lines with fewer words (RefinedWeb: 2); 0 switches it off."
    )
    phrase_words: int = Field(
        default=10,
        ge=0,
        description="In lines of at most so many words, cut out `items in cart`, `Read more...` at the end and "
        "`Sign-in` at the start; the line goes if nothing else is in it (RefinedWeb: 10). 0 switches it off.",
    )
