"""A corpus in the order of its making."""

from dataclasses import dataclass

from tasks.store import Artifact


@dataclass(frozen=True)
class Curated:
    """The artifacts that describe a corpus.

    `scores` are further tables of numbers that rules may name, `bands` the bands that documents share (where
    near-duplicates are looked for), `addresses` the duplicates by URL, `found` everything that takes text or documents
    away, `decisions` says what became of each document, `kept` holds those that are left, `mixture` how often each is
    drawn.
    """

    raw: Artifact
    normalized: Artifact
    signals: Artifact
    scores: list[Artifact]
    signatures: Artifact
    bands: list[Artifact]
    verdicts: Artifact
    addresses: list[Artifact]
    duplicates: Artifact
    found: list[Artifact]
    decisions: Artifact
    kept: Artifact
    profile: Artifact
    mixture: list[Artifact]
