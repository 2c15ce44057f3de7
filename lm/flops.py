"""What a training costs in floating-point operations, counted from the configuration (Kaplan et al. 2020, table 1).

A product with a matrix of w weights is 2 w operations a token forward, and twice as many backward. The scores of
attention and the sums that they weigh are 2 * context * inner width a layer forward (a token sees half the context on
average, in two products). The head, a product with vocab x width weights, is counted: at the sizes of a small study it
is most of the work (Porian et al. 2024). Looking up an embedding, norms, softmax and the optimiser are not.
"""

from lm.models.gpt_config import GPTConfig
from lm.models.modern_config import ModernConfig

Decoder = GPTConfig | ModernConfig


def body_parameters(model: Decoder) -> int:
    """Trainable numbers without embeddings, positions and head: Kaplan's N."""
    if isinstance(model, GPTConfig):
        return model.parameter_count() - (model.vocab + model.context) * model.width
    return model.parameter_count() - (1 if model.tied else 2) * model.vocab * model.width


def training_flops(model: Decoder, tokens: int) -> float:
    """Operations of a training over so many tokens, sequences as long as the context; Kaplan's 6 N D and the head."""
    return 3.0 * tokens * _forward(model)


def _forward(model: Decoder) -> int:
    """For each token."""
    inner = model.inner_width() if isinstance(model, GPTConfig) else model.width
    weights = model.layers * (4 * model.width * inner + 8 * model.width**2) + model.vocab * model.width
    band = model.band if isinstance(model, GPTConfig) and model.band is not None else model.context
    banded = model.layers // 2  # GPT-3: every second layer, from the second on
    seen = (model.layers - banded) * model.context + banded * min(2 * band, model.context)
    return 2 * weights + 2 * seen * inner
