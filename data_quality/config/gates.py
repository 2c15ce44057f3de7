"""Configuration of the gates between a corpus and what is built on it."""

from pydantic import Field

from data_quality.config.base import StrictModel


class GatesConfig(StrictModel):
    """How far a refreshed corpus may move from the last accepted one before somebody has to look.

    A gate that closes fails the run before anything downstream starts. Running once with `gates.enabled=false` accepts
    the corpus as it is; the next ones are compared with that. null switches one gate off.
    """

    enabled: bool = Field(True, description="Whether a corpus is compared with the last accepted one of its name.")
    kept_share: float | None = Field(
        0.1, ge=0, description="Largest change of the share of documents that are kept. 0.1: from 60 % to 70 %."
    )
    language_share: float | None = Field(
        0.1, ge=0, description="Largest change of a language's share of the kept bytes."
    )
    source_size: float | None = Field(
        0.5,
        ge=0,
        description="Largest change of a source's number of documents, relative to what it was (0.5: from 100 to 150). "
        "A source that is gone has changed by 1; a new one passes.",
    )
    source_least: int = Field(
        20, ge=0, description="A source of fewer documents than these, before and now, may change as it likes."
    )
    drop_rate: float | None = Field(
        0.1, ge=0, description="Largest change of the share of documents that are dropped for one (first) reason."
    )
