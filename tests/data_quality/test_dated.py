"""A corpus as it was on a day: by the dates in the paths of files."""

from datetime import date
from itertools import chain
from pathlib import Path

import pytest

from data_quality.config import IngestConfig
from data_quality.pieces import list_pieces
from data_quality.sources.dated import path_date


@pytest.mark.parametrize(
    ("path", "day"),
    [
        ("feed/2026-11-20.jsonl", date(2026, 11, 20)),
        ("feed/20261120.jsonl.gz", date(2026, 11, 20)),
        ("feed/2026/11/20/part-0001.txt", date(2026, 11, 20)),
        ("feed_2026_11_20_b.txt", date(2026, 11, 20)),
        ("2025-01-01/dump-2026.11.20.txt", date(2026, 11, 20)),
        ("feed/2026-11.txt", None),
        ("feed/20261340.txt", None),
        ("feed/2026-1120.txt", None),
        ("id-120261120.txt", None),
        ("manual.txt", None),
    ],
)
def test_the_last_date_of_a_path_counts(path: str, day: date | None) -> None:
    assert path_date(path) == day


def test_later_files_are_left_out_and_the_pieces_of_the_others_stay(tmp_path: Path) -> None:
    for name in ("2026-11-18.txt", "2026-11-19.txt", "2026-11-20.txt", "manual.txt"):
        (tmp_path / name).write_text(f"The text of {name}.")
    source = {"format": "text", "name": "feed", "paths": [str(tmp_path)]}

    def read(until: str | None) -> dict[str, list[str]]:
        config = IngestConfig.model_validate({"sources": [source], "until": until, "piece_bytes": 1})
        return {str(piece.key_material): [file.path for file in piece.files] for piece in list_pieces(config)}

    everything, day = read(None), read("2026-11-19")
    assert sorted(chain(*day.values())) == ["2026-11-18.txt", "2026-11-19.txt", "manual.txt"]
    assert sorted(chain(*read("2026-11-20").values())) == sorted(chain(*everything.values()))
    assert day.items() <= everything.items()  # the same keys: nothing is read again
