"""Profiles against counts in Python, and every gate with a change that closes it and one that just does not."""

import copy
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_quality.config import GatesConfig
from data_quality.profile import moved, profile_corpus

ROWS = [  # id, source, language, bytes, kept, reason
    ("a", "manuals", "en", 100, True, None),
    ("b", "manuals", "en", 50, False, "gopher_quality.gopher_short_doc"),
    ("c", "poems", "zh", 70, True, None),
    ("d", "poems", None, 30, False, "duplicate.exact"),
    ("e", "poems", "zh", 20, False, "gopher_quality.gopher_short_doc"),
]
PROFILE: dict[str, Any] = {
    "whole": {"documents": 1000, "bytes": 10_000, "kept": 600, "kept_bytes": 6000},
    "sources": {"manuals": {"documents": 800}, "poems": {"documents": 200}, "rare": {"documents": 1}},
    "languages": {"en": {"kept_bytes": 4500}, "zh": {"kept_bytes": 1500}},
    "reasons": {"short": 300, "duplicate.exact": 100},
}


def test_a_profile_counts(tmp_path: Path) -> None:
    def write(name: str, **columns: list[Any]) -> list[Path]:
        pq.write_table(pa.table({"id": [row[0] for row in ROWS], **columns}), tmp_path / name)
        return [tmp_path / name]

    by = list(zip(*ROWS, strict=True))
    found = profile_corpus(
        write("signals", source=by[1], language=by[2], bytes=by[3]),
        write("decisions", kept=by[4], reason=pa.array(by[5], pa.string())),
        tmp_path / "spill",
    )
    assert found == {
        "whole": {"documents": 5, "bytes": 270, "kept": 2, "kept_bytes": 170},
        "sources": {
            "manuals": {"documents": 2, "bytes": 150, "kept": 1, "kept_bytes": 100},
            "poems": {"documents": 3, "bytes": 120, "kept": 1, "kept_bytes": 70},
        },
        "languages": {
            "en": {"documents": 2, "bytes": 150, "kept": 1, "kept_bytes": 100},
            "unknown": {"documents": 1, "bytes": 30, "kept": 0, "kept_bytes": 0},
            "zh": {"documents": 2, "bytes": 90, "kept": 1, "kept_bytes": 70},
        },
        "reasons": {"gopher_quality.gopher_short_doc": 2, "duplicate.exact": 1},
    }


def changed(*path: str, to: Any) -> dict[str, Any]:
    profile = copy.deepcopy(PROFILE)
    node = profile
    for name in path[:-1]:
        node = node[name]
    node[path[-1]] = to
    return profile


@pytest.mark.parametrize(
    ("now", "message"),
    [
        (changed("whole", "kept", to=701), "documents that are kept went from 60.0% to 70.1% (gates.kept_share allows"),
        (changed("whole", "kept", to=499), "documents that are kept went from 60.0% to 49.9%"),
        (changed("languages", "zh", "kept_bytes", to=2101), "language zh went from 25.0% to 35.0% of the kept bytes"),
        (changed("languages", "fr", to={"kept_bytes": 601}), "language fr went from 0.0% to 10.0% of the kept bytes"),
        (changed("sources", "poems", "documents", to=301), "source poems went from 200 to 301 documents"),
        (changed("sources", to={"manuals": {"documents": 800}}), "source poems went from 200 to 0 documents"),
        (changed("reasons", "short", to=401), "short dropped 30.0% of the documents and now drops 40.1%"),
        (changed("reasons", to={"short": 300}), None),
        (changed("reasons", "new", to=101), "new dropped 0.0% of the documents and now drops 10.1%"),
        (changed("whole", "kept", to=700), None),
        (changed("languages", "zh", "kept_bytes", to=2099), None),
        (changed("sources", "poems", "documents", to=300), None),
        (changed("sources", "news", to={"documents": 5000}), None),
        (changed("sources", "rare", "documents", to=19), None),
        (changed("sources", "rare", "documents", to=20), "source rare went from 1 to 20 documents"),
        (changed("reasons", "short", to=399), None),
        (PROFILE, None),
    ],
)
def test_a_gate_closes_beyond_its_share(now: dict[str, Any], message: str | None) -> None:
    found = moved(PROFILE, now, GatesConfig())
    assert len(found) == (message is not None)
    assert message is None or message in found[0]


def test_a_gate_of_null_is_open() -> None:
    everything = {"whole": dict.fromkeys(PROFILE["whole"], 1), "sources": {}, "languages": {}, "reasons": {"new": 1}}
    assert len(moved(PROFILE, everything, GatesConfig())) >= 4
    open_gates = GatesConfig(kept_share=None, language_share=None, source_size=None, drop_rate=None)
    assert moved(PROFILE, everything, open_gates) == []
