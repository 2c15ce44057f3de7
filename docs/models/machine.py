"""The first recurrent network: one word, letter by letter. `python docs/models/machine.py` takes a few seconds.

The network reads m, a, c, h, i, n and is to say a, c, h, i, n, e: after each letter, the next one. The same on a whole
corpus: `textmill pretrain configs/models/char-rnn.yaml`.
"""

import tempfile
from pathlib import Path

import torch
from torch.nn import functional as F

from lm.config import OptimizerConfig, TrainConfig
from lm.generate_recurrent import generate_recurrent
from lm.models.rnn import RNNLM
from lm.models.rnn_config import RNNConfig
from lm.objectives.recurrent import RecurrentObjective
from lm.order import in_order
from lm.streams import ArrayPieces, Lanes
from lm.train.trainer import Trainer

WORD = "machine"
LETTERS = sorted(set(WORD))
IDS = [LETTERS.index(letter) for letter in WORD]


def show(model: RNNLM) -> None:
    """What the network thinks comes next after each letter."""
    with torch.no_grad():
        p = model(torch.tensor([IDS[:-1]]))[0].softmax(-1)
    for step, target in enumerate(IDS[1:]):
        guess = LETTERS[int(p[step].argmax())]
        print(f"  {WORD[: step + 1]:<6} -> {guess}   p({LETTERS[target]}) = {float(p[step, target]):.3f}")


def gradient_of_step_three(model: RNNLM) -> None:
    """How much the loss of step 3 (h after m, a, c) changes with each letter that was read."""
    vectors = model.token_embedding(torch.tensor([IDS[:-1]])).detach().requires_grad_()
    outputs, _ = model.recurrent(vectors.transpose(0, 1))
    F.cross_entropy(model.logits(outputs[2, 0]), torch.tensor(IDS[3])).backward()
    assert vectors.grad is not None
    for letter, gradient in zip(WORD, vectors.grad[0].norm(dim=-1).tolist(), strict=False):
        print(f"  d loss_3 / d {letter} = {gradient:.2g}")


def train(model: RNNLM, steps: int = 150) -> float:
    """Train on the one word; the loss of the last step."""
    torch.set_num_threads(1)
    optimizer = OptimizerConfig(learning_rate=0.02, weight_decay=0.0)
    config = TrainConfig(
        steps=steps, batch=1, optimizer=optimizer, precision="fp32", device="cpu", eval_interval=0, sample_interval=0
    ).resolve_for(model.config.width, model.config.vocab, len(WORD) - 1)
    with tempfile.TemporaryDirectory() as directory:
        lanes = Lanes(ArrayPieces(IDS, len(WORD) - 1), 1)
        Trainer(
            model, RecurrentObjective(model.config.width), lanes, config, steps, Path(directory), order=in_order
        ).run()
    logits = model(torch.tensor([IDS[:-1]]))[0]
    return float(F.cross_entropy(logits, torch.tensor(IDS[1:])).detach())


def main() -> None:
    model = RNNLM(RNNConfig(cell="elman", embedding=8, width=16, vocab=len(LETTERS)), seed=1)
    print(f"{model.config.parameter_count()} parameters, for a word of any length. Untrained:")
    show(model)
    print("The loss of step 3 depends on m, a, c alone:")
    gradient_of_step_three(model)
    loss = train(model)
    print(f"Trained, loss {loss:.4f}:")
    show(model)
    (new,) = generate_recurrent(model, [[LETTERS.index("m")]], len(WORD) - 1, temperature=0)
    print("From m alone it writes:", "m" + "".join(LETTERS[i] for i in new))


if __name__ == "__main__":
    main()
