"""A model that is asked stays as it was."""

import pytest
import torch
from torch import nn

from lm.evaluating import evaluating


@pytest.mark.parametrize("training", [True, False])
def test_the_mode_comes_back_also_after_an_error(training: bool) -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.5)).train(training)
    with evaluating(model):
        assert not model.training
        assert not model[1].training
        assert not model(torch.ones(1, 2)).requires_grad
    assert model.training == model[1].training == training
    assert torch.is_grad_enabled()
    with pytest.raises(ValueError, match="broken"), evaluating(model):
        raise ValueError("broken")
    assert model.training == training
    assert torch.is_grad_enabled()
