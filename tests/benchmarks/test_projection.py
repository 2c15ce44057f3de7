"""The projection finds the growth that made-up runs have, and continues it."""

from typing import Any

import pytest

from benchmarks.projection import DASK, Growth, growths, projected


def run(size: float) -> dict[str, Any]:
    def stage(name: str, parts: float, alone: float, memory: float) -> dict[str, Any]:
        return {
            "stage": name,
            "seconds": parts + alone,
            "parts_seconds": parts,
            "peak_process_bytes": memory,
            "parts": max(1, round(size / 5e7)),
            "counts": {"documents": round(size / 1500)},
        }

    return {
        "text_bytes": size,
        "workers": 2,
        "stages": [
            stage("signals", 1e-7 * size, 0.001, 3e8),
            stage("bands", 2e-9 * size, 0.001, 3e8),
            stage("dedupe", 0.0, 4.0 * (size / 1e9) ** 1.5, 2e8 + 0.01 * size),
            stage("boilerplate", 0.0, 5.0 + 3e-9 * size, 4e8 - 1e-6 * size),
            stage("pretrain", 0.0, 80.0, 1e9),
        ],
    }


@pytest.fixture
def found() -> dict[str, Growth]:
    return {growth.stage: growth for growth in growths([run(1e9), run(1e10), run(4e9)])}


def test_growth_is_that_of_the_runs(found: dict[str, Growth]) -> None:
    assert found["dedupe"].exponent == pytest.approx(1.5)
    assert found["dedupe"].alone_seconds(1e12) == pytest.approx(4.0 * 1000**1.5)
    assert found["dedupe"].memory_bytes(1e12) == pytest.approx(2e8 + 1e10)
    boilerplate = found["boilerplate"]  # a start that weighs less and less is no growth below proportion
    assert boilerplate.exponent is not None
    assert boilerplate.exponent < 1
    assert boilerplate.alone_seconds(1e12) == pytest.approx(5.0 + 3000)
    assert boilerplate.memory_bytes(1e14) == pytest.approx(4e8 - 1e3)


def test_a_sample_costs_the_same_however_large_the_corpus(found: dict[str, Growth]) -> None:
    assert found["pretrain"].alone_seconds(1e14) == 80.0
    assert found["pretrain"].memory_bytes(1e14) == 1e9


def test_what_is_too_short_to_tell_grows_in_proportion(found: dict[str, Growth]) -> None:
    assert found["signals"].exponent is None
    assert found["signals"].alone_seconds(1e12) == pytest.approx(0.1)


def test_parts_are_shared_by_cores_as_far_as_there_are_parts(found: dict[str, Growth]) -> None:
    signals = found["signals"]
    assert signals.parts_seconds(1e12, 64) == pytest.approx(DASK * 2e-7 * 1e12 / 64)
    assert signals.parts_seconds(1e9, 1000) == pytest.approx(DASK * 2e-7 * 1e9 / 20)


def test_bands_are_cut_where_documents_are_many(found: dict[str, Growth]) -> None:
    bands = found["bands"]
    assert bands.parts_seconds(1.5e10, 1000) == pytest.approx(DASK * 4e-9 * 1.5e10 / 14)  # ten million documents
    assert bands.parts_seconds(1e12, 1000) == pytest.approx(DASK * 4e-9 * 1e12 / (14 * 64))


def test_the_line_names_the_stage_that_takes_most(found: dict[str, Growth]) -> None:
    line = projected(list(found.values()), 1e12, 64, price=0.5)
    wall = DASK * 2.04e-7 * 1e12 / 64 + 4.0 * 1000**1.5 + 3005 + 80 + 0.2
    assert line.startswith(f"| 1 TB, 64 cores | {wall / 3600:.1f} h |")
    assert f"| {64 * wall / 3600:,.0f} | {0.5 * 64 * wall / 3600:,.0f} | dedupe" in line
