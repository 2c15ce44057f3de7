"""Seeds of runs that are averaged: each stands once, or one run would count as two."""

from typing import Annotated

from pydantic import AfterValidator, Field


def _once(seeds: tuple[int, ...]) -> tuple[int, ...]:
    if len(set(seeds)) < len(seeds):
        raise ValueError("a seed stands twice: it gives the same run twice, which says nothing of the spread")
    return seeds


Seeds = Annotated[tuple[int, ...], Field(min_length=1), AfterValidator(_once)]
