"""C4's line edits leave the kept text, and only there, whatever shards the documents were measured in."""

from pathlib import Path

from data_quality.config import QualityConfig
from data_quality.line_edits import apply_edits, edit_lines
from flows.corpus import build_corpus
from tasks import pool
from tasks.progress import Display
from tasks.run import Resources, Run, use_run
from tasks.store import Store
from tasks.tables import rows
from tests.tasks.tiny_corpus import ADDRESS, configuration, write_documents

POLICY = "Read our privacy policy and our terms of use before you plant anything here."


def test_edited_lines_leave_the_kept_text(tmp_path: Path) -> None:
    write_documents(tmp_path / "documents")
    for path in sorted((tmp_path / "documents").rglob("0*.txt")):
        path.write_text(f"{POLICY}\n\n{path.read_text()}")
    quality = {"rulesets": ["gopher_repetition", "gopher_quality", "c4"]}
    config = configuration(tmp_path / "documents", quality=quality)
    with use_run(Run(Store(tmp_path / "store"), Resources(workers=1, threads=1), Display(quiet=True))):
        corpus = build_corpus(config)
    pool.shut_down()
    normalized = [str(shard.path) for shard in corpus.normalized.shards()]
    before = {row["id"]: row["text"] for row in rows("SELECT id, text FROM read_parquet(?)", [normalized])}
    kept = rows("SELECT id, text FROM read_parquet(?)", [str(corpus.kept.path / "kept" / "*.parquet")])
    dropped = rows("SELECT id, text FROM read_parquet(?)", [str(corpus.kept.path / "dropped" / "*.parquet")])
    edits = QualityConfig().signals.c4
    assert edits is not None
    edited = [row for row in kept if POLICY in before[row["id"]]]
    assert edited
    for row in kept:
        assert row["text"] == apply_edits(before[row["id"]], edit_lines(before[row["id"]], edits).removed)
        assert POLICY not in row["text"]
    for row in dropped:  # nothing but personal data leaves what was judged
        assert row["text"] == before[row["id"]].replace(ADDRESS, "<email>")
