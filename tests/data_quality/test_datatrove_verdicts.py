"""Verdicts and first reasons are those of datatrove 0.10.1, which were written down by `benchmarks.datatrove_rules`.

datatrove cannot be installed beside what we need (it wants xxhash < 4), so its verdicts are kept; for real documents
without their text, which has to be there.
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from benchmarks.datatrove_rules import read_documents, run_ours, text_hash
from tests.data_quality.datatrove_documents import documents

VERDICTS = Path(__file__).with_name("datatrove_verdicts")


def theirs(name: str, texts: Sequence[tuple[str, str]]) -> dict[str, str | None]:
    """First reasons by id; the texts must be those that they were given for."""
    rows = [json.loads(line) for line in (VERDICTS / f"{name}.jsonl").read_text().splitlines()]
    assert [(id, text_hash(text)) for id, text in texts] == [(id, digest) for id, digest, _ in rows]
    return {id: reason for id, _, reason in rows}


def ours(texts: Sequence[tuple[str, str]], folder: Path, language: str) -> dict[str, str | None]:
    """The same by our rules."""
    path = folder / "documents.json"
    path.write_text(json.dumps(list(texts)))
    return run_ours(path, folder, language)[1]


@pytest.mark.parametrize(("language", "reasons"), [("en", 20), ("zh", 16)])
def test_made_up_documents(tmp_path: Path, language: str, reasons: int) -> None:
    texts = list(documents(language))
    expected = theirs(f"made_{language}", texts)
    assert ours(texts, tmp_path, language) == expected
    assert None in expected.values()
    assert len(set(expected.values()) - {None}) == reasons  # so many rules were the first to fire


@pytest.mark.skipif("TEXTMILL_DATA" not in os.environ, reason="needs the development data")
@pytest.mark.parametrize("language", ["en", "zh"])
def test_real_documents(tmp_path: Path, language: str) -> None:
    texts = read_documents([Path(os.environ["TEXTMILL_DATA"]) / f"corpus_{language}" / "part-000.jsonl.zst"], 200)
    assert ours(texts, tmp_path, language) == theirs(f"corpus_{language}", texts)
