"""How labelled files are read: one reader for each format, and which column is which field. Torch-free."""

import difflib
from collections.abc import Iterable, Sequence
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from lm.config import StrictModel
from lm.labelled.forms import AnyForm, Chat

Scheme = Literal["iob1", "iob2", "bioes", "none"]
Format = Literal["auto", "jsonl", "csv", "tsv", "parquet", "conll", "squad", "lines", "docstrings"]
TRUTHS = {
    value: tuple(form(word) for word in words for form in (str.lower, str.title, str.upper))
    for value, words in ((False, ("false", "no", "off")), (True, ("true", "yes", "on")))
}
"""How YAML writes them."""
CHAT_FIELDS = ("system", "prompt", "response")


class HubConfig(StrictModel):
    """A data set of the Hugging Face hub."""

    id: str = Field(min_length=1, description="`owner/name`, or a folder that `datasets.load_dataset` reads.")
    config: str | None = Field(default=None, description="Its configuration (subset).")
    revision: str | None = Field(
        default=None,
        description="A commit, a branch or a tag; null: the newest. A full commit is not asked for on the hub. Sets"
        " whose files are made by a script are read from the hub's own `refs/convert/parquet`.",
    )


class SplitSource(StrictModel):
    """Where the examples of one split are: in files, or else in a split of the hub's data set."""

    files: tuple[str, ...] = Field(
        default=(),
        description="Paths or globs, each also `.gz` or `.zst`; `${NAME}` is an environment variable. Files that are"
        " given are read instead of the hub.",
    )
    targets: tuple[str, ...] = Field(
        default=(), description="`lines`: files whose line n is what line n of `files` becomes."
    )
    packages: tuple[str, ...] = Field(
        default=(),
        description="Instead of files, the Python files of these installed packages, tests left out (`docstrings`).",
    )
    split: str | None = Field(default=None, description="The split on the hub.")
    data_files: tuple[str, ...] = Field(
        default=(), description="Files of the hub's repository to read instead of those that belong to the split."
    )


class ReadConfig(StrictModel):
    """How a file becomes examples."""

    format: Format = Field(
        default="auto",
        description="`auto`: as the name says (.jsonl, .csv, .tsv, .parquet, .conll, .json for SQuAD, .txt for"
        " `lines`, .py for `docstrings`: pairs of a docstring's body and its first line).",
    )
    fields: dict[str, str | tuple[str, ...]] = Field(
        default_factory=dict,
        description="Which column holds a field of the form: `{text: sentence}`. `a.b` steps into an object; a list of"
        " columns becomes the choices, or is joined by spaces where a text is wanted. A field that is not named is the"
        " column of its name. `id`: examples are named by it; without it they are numbered. Conversations: `messages`,"
        " or `prompt` and `response` (and `system`). For `conll`, `squad`, `lines` and `docstrings`, which have fields"
        " of their own, only `id` counts.",
    )
    labels: dict[str, str] = Field(
        default_factory=dict,
        description="Label as the file has it: class, tag, or number of the right choice (from 0). Labels that are not"
        " named here are names of classes, or their numbers from 0.",
    )
    header: bool = Field(default=True, description="`csv`, `tsv`: the first line names the columns.")
    columns: tuple[str, ...] = Field(
        default=(),
        description="`csv`, `tsv` without a header (`header: false`): their names. None: 0, 1, 2, ...",
    )
    delimiter: str | None = Field(
        default=None, min_length=1, max_length=1, description="`csv`, `tsv`: null: a comma, a tab."
    )
    quoting: bool | None = Field(
        default=None,
        description='`csv`, `tsv`: whether a value may stand in `"`, with `""` for one of them. null: yes in `csv`,'
        " no in `tsv`.",
    )
    separator: Literal["whitespace", "space", "tab"] = Field(
        default="whitespace",
        description="`conll`: what is between columns; `whitespace`: any number of spaces and tabs.",
    )
    word: int = Field(default=0, description="`conll`: column of the word; from 0, or from -1 backwards.")
    tag: int = Field(default=-1, description="`conll`: column of the tag.")
    comment: str | None = Field(
        default=None, min_length=1, description="`conll`: lines that begin so are left out, such as `# `."
    )
    scheme: Scheme = Field(
        default="iob2",
        description="How tags mark spans; all are turned into `iob2`. `iob1`: B- only where two spans of a kind touch"
        " (CoNLL-2003 as published); `bioes`: E- ends and S- is a span of one; `none`: tags stay as they are.",
    )

    @field_validator("fields", "labels", mode="before")
    @classmethod
    def _numbers_are_names(cls, given: Any) -> Any:
        """YAML reads `label: 1` as a number, and `no` and `false` as the same, and here they are names of columns or
        labels: a truth value stands for every spelling of it."""
        if not isinstance(given, dict):
            return given
        truths = {
            spelling: _name(value) for key, value in given.items() if isinstance(key, bool) for spelling in TRUTHS[key]
        }
        return truths | {str(key): _name(value) for key, value in given.items() if not isinstance(key, bool)}

    @model_validator(mode="after")
    def _columns_or_a_header(self) -> Self:
        if self.columns and self.header:
            raise ValueError(
                "columns: names the columns of a file without a header: set header: false; with a header, read.fields"
                " says which column is which"
            )
        return self


def _name(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return tuple(_name(item) for item in value)
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def fields_of(form: AnyForm) -> tuple[str, ...]:
    """What `fields` may name for a form."""
    return ("id", *form.columns, *(CHAT_FIELDS if isinstance(form, Chat) else ()))


def require_fields(form: AnyForm, where: str, names: Iterable[str], valid: Sequence[str]) -> None:
    """Raises ValueError, beginning with `where`, for a name that is none of the valid ones of a form."""
    for name in names:
        if name not in valid:
            near = difflib.get_close_matches(name, valid, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(valid)}"
            raise ValueError(f"{where}: a {form.form} has no {name!r}; {hint}")
