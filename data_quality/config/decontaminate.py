"""Configuration of decontamination: which benchmarks may not be trained on, and how an overlap is recognised."""

from typing import Literal, Self

from pydantic import Field, model_validator

from data_quality.config.base import StrictModel


class BenchmarkConfig(StrictModel):
    """The files of one benchmark."""

    name: str = Field(
        pattern=r"^[^\s#.]+$", description="Name in reasons and evidence: `contaminated.NAME`, `NAME#item`."
    )
    paths: tuple[str, ...] = Field(
        min_length=1,
        description="Files, directories, globs or fsspec URIs: `.jsonl`, `.json`, `.csv`, `.tsv`, `.txt` (a line is an "
        "item), `.parquet`, each but the last also `.gz` and `.zst`.",
    )
    columns: tuple[str, ...] = Field(
        default=(), description="Fields that are compared, at any depth. Empty: every field that holds text."
    )
    header: bool = Field(
        default=True,
        description="Whether the first line of `.csv` and `.tsv` names the columns; else they are 1, 2, ...",
    )


class DecontaminateConfig(StrictModel):
    """Overlap of documents with benchmark items, and what it leads to."""

    enabled: bool = Field(default=True, description="Whether documents are compared with the benchmarks named.")
    benchmarks: tuple[BenchmarkConfig, ...] = Field(default=(), description="What is kept out. Empty: nothing is done.")
    words: int = Field(
        default=13,
        ge=2,
        le=100,
        description="A document is contaminated if it shares this many words in a row with an item. 13: GPT-3 (Brown "
        "et al. 2020, appendix C). Of items that are mostly letters of Thai, Lao, Burmese, Khmer or another script "
        "without spaces, three letters count as a word, here and in `minimum`.",
    )
    characters: int = Field(
        default=13,
        ge=2,
        le=100,
        description="The same for items that are mostly Han or Kana, in characters without punctuation.",
    )
    minimum: int = Field(
        default=8,
        ge=2,
        description="A shorter row is never looked for: an item of fewer words (characters) would be found everywhere. "
        "Items from here up to `words` must occur as a whole. 8: the shortest row of GPT-3's appendix C.",
    )
    action: Literal["drop", "cut"] = Field(
        default="drop", description="drop the document, or cut the shared words out of its text."
    )

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        names = [benchmark.name for benchmark in self.benchmarks]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two benchmarks are named {', '.join(twice)}: reasons could not tell them apart")
        return self
