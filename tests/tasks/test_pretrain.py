"""What the pretrain stage refuses before it trains."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from lm.config import TrainConfig
from lm.models.gpt_config import GPTConfig
from lm.parallel import ParallelConfig
from lm.pretraining import GPTPretraining
from tasks.pretrain import PretrainRequest, require_sequences


class Index(SimpleNamespace):
    """As much of a `TokenIndex` as counting its sequences needs."""

    def __init__(self, *lengths: int) -> None:
        super().__init__(
            length=np.array(lengths, dtype=np.int64), tokens=sum(lengths), fingerprint="", open=list, spans=lambda: None
        )

    def __len__(self) -> int:
        return len(self.length)


def test_a_split_without_a_sequence_is_named_before_training() -> None:
    whole: Any = {"train": Index(100, 30), "valid": Index(64), "test": Index(64)}
    require_sequences(whole, context=64)
    with pytest.raises(ValueError, match=r"the test split is too small: 0 documents.*raise `split\.test_fraction`"):
        require_sequences({**whole, "test": Index()}, context=64)
    with pytest.raises(ValueError, match=r"the train split is too small: 2 documents with 130 tokens"):
        require_sequences(whole, context=256)


def test_how_many_processes_share_a_training_is_in_no_key() -> None:
    asked = {"settings": GPTPretraining(model=GPTConfig(vocab=300)), "train": TrainConfig(steps=3, compile=False)}
    alone = PretrainRequest(**asked)
    shared = PretrainRequest(**asked, parallel=ParallelConfig(processes=4, sharding="fsdp"))
    assert shared.key_material() == alone.key_material()
    assert "parallel" not in alone.key_material()
    assert "compile" not in alone.key_material()["train"]  # keys of before this setting stay what they were
    compiled = {**asked, "train": TrainConfig(steps=3, compile=True)}
    assert PretrainRequest(**compiled).key_material() != alone.key_material()
