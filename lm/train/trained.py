"""What training changes of a model, which is what its checkpoints hold: a frozen backbone is in none of them."""

from collections.abc import Mapping

from torch import Tensor, nn


def constant(model: nn.Module) -> frozenset[str]:
    """The tensors that a model says (in its attribute `constant`) no training changes; none if it says nothing."""
    found: frozenset[str] = getattr(model, "constant", frozenset())
    return found


def trained_tensors(model: nn.Module) -> dict[str, Tensor]:
    """All but these."""
    left = constant(model)
    return {name: tensor for name, tensor in model.state_dict().items() if name not in left}


def load_trained(model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Put back what `trained_tensors` gave. Raises RuntimeError, as torch does, for names that do not fit."""
    kept = {name: tensor for name, tensor in model.state_dict().items() if name in constant(model)}
    model.load_state_dict({**kept, **tensors})
