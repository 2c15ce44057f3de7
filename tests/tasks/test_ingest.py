"""What the ingest stage adds to the library: going on without a document makes no sense."""

from pathlib import Path

import pytest

from data_quality.config import IngestConfig
from data_quality.sources.base import BadInput
from tasks.ingest import fingerprinted, ingest
from tasks.progress import Display
from tasks.run import Resources, Run, use_run
from tasks.store import Store


def test_input_without_a_document_is_an_error_that_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEXTMILL_HOME", str(tmp_path))
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.jsonl").write_text('{"body": "x"}\n')
    config = IngestConfig.model_validate({"sources": [{"format": "jsonl", "paths": [str(tmp_path / "in")]}]})
    run = Run(Store(tmp_path / "store"), Resources(workers=1, threads=1), Display(quiet=True))
    with use_run(run), pytest.raises(BadInput, match=r"1 missing_column.*there are: 'body'"):
        ingest(fingerprinted(config))
