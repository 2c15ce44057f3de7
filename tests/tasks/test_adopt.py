"""What is taken in from outside is what was hashed: a file that changes between the two ends the stage."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from data_quality.errors import UsageError
from lm.labelled import streams
from tasks.adopt import AdoptConfig, adopt_model
from tasks.adopt_labelled import AdoptLabelledConfig, adopt_labelled
from tasks.running.progress import Display
from tasks.running.run import Resources, Run, use_run
from tasks.store import Store
from tasks.token_counts import AdoptTokenizerConfig, adopt_tokenizer
from tests.data_quality.parquet_bombs import one_text_again_and_again
from tests.lm.finetune_cases import backbone_folder, write_set
from tests.peak import forget_peak, peak


def tokenizer(root: Path) -> tuple[Any, Any, Path]:
    file = backbone_folder(root, "gpt") / "tokenizer.json"
    return adopt_tokenizer, AdoptTokenizerConfig.of(file), file


def model(root: Path) -> tuple[Any, Any, Path]:
    folder = backbone_folder(root, "gpt")
    return adopt_model, AdoptConfig.of(folder), folder / "tokenizer.json"


def ngram(root: Path) -> tuple[Any, Any, Path]:
    from lm.ngram.build import build_word_ngram
    from lm.ngram.config import NgramConfig

    build_word_ngram(["the tide is high", "the rose is red"], NgramConfig(order=2), root / "ngram")
    return adopt_model, AdoptConfig.of(root / "ngram"), root / "ngram" / "vocabulary.json"


def labelled(root: Path) -> tuple[Any, Any, Path]:
    folder = write_set(root / "set", "pairs", train=4, valid=2, test=0)
    return adopt_labelled, AdoptLabelledConfig.of(folder), folder / "task.json"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path / "store")
    with use_run(Run(store, Resources(workers=1, threads=1), Display(quiet=True))):
        yield store


@pytest.mark.parametrize("kind", [tokenizer, model, ngram, labelled])
def test_a_file_that_changed_since_it_was_hashed_is_not_taken_in(kind: Any, store: Store, tmp_path: Path) -> None:
    adopt, config, file = kind(tmp_path / "given")
    before = file.read_bytes()
    file.write_bytes(before + b"\n")  # which every reader of it forgives
    with pytest.raises(UsageError, match=r"given/.* changed while it was read: run it again"):
        adopt(config)
    assert store.list() == []
    file.write_bytes(before)
    assert adopt(config).stage == adopt.name


def test_a_labelled_set_that_is_a_bomb_is_not_taken_in(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Later its files are trusted by their hashes."""
    monkeypatch.setattr(streams, "UNPACKED_BYTES", 16 << 20)
    folder = write_set(tmp_path / "set", "pairs", train=4, valid=2, test=0)
    one_text_again_and_again(folder / "valid.parquet", rows=40)
    before = forget_peak()
    with pytest.raises(ValueError, match=r"valid\.parquet: its [\d,]+ bytes unpack to [\d,]+ and more"):
        adopt_labelled(AdoptLabelledConfig.of(folder))
    assert peak() - before < 100 << 10
    assert store.list() == []
