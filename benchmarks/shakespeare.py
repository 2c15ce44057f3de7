"""Characters of tinyshakespeare as nanoGPT cuts them, and a plain loop of nanoGPT's shape: for other benchmarks.

The loop and the model are written anew after karpathy/nanoGPT `train.py` and `model.py` at its small CPU configuration:
4 layers, 4 heads, 128 wide, context 64, batch 12, no biases, no dropout; AdamW 1e-3 with betas .9 and .99 and weight
decay .1, 100 steps of warm-up and a cosine to 1e-4, gradients clipped at 1, fp32.
"""

import math
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

CONTEXT, BATCH, STEPS = 64, 12, 2000
SIZE = {"layers": 4, "width": 128, "heads": 4, "context": CONTEXT, "vocab": 65}


def shakespeare() -> tuple[np.ndarray, np.ndarray]:
    """Character numbers: the first 90 % to train on and the last 10 % to score."""
    if "TEXTMILL_DATA" not in os.environ:
        sys.exit("set TEXTMILL_DATA to the folder that holds labelled/tinyshakespeare")
    text = (Path(os.environ["TEXTMILL_DATA"]) / "labelled/tinyshakespeare/input.txt").read_text()
    numbers = {character: number for number, character in enumerate(sorted(set(text)))}
    ids = np.array([numbers[character] for character in text])
    cut = int(0.9 * len(ids))
    return ids[:cut], ids[cut:]


class Crops:
    """Every stretch of CONTEXT + 1 characters, wherever it begins (`Examples` protocol): what nanoGPT draws from."""

    fingerprint = "shakespeare"

    def __init__(self, ids: np.ndarray) -> None:
        self.ids = torch.from_numpy(ids)

    def __len__(self) -> int:
        return len(self.ids) - CONTEXT

    def batch(self, indices: np.ndarray) -> dict[str, Tensor]:
        return {"tokens": self.ids[torch.as_tensor(indices)[:, None] + torch.arange(CONTEXT + 1)]}


@torch.no_grad()
def validation_loss(logits: Callable[[Tensor], Tensor], ids: np.ndarray) -> float:
    """Mean nats over the text in stretches of CONTEXT, each character but the first scored once."""
    count = (len(ids) - 1) // CONTEXT
    starts = torch.arange(count)[:, None] * CONTEXT
    rows = torch.from_numpy(ids)[starts + torch.arange(CONTEXT + 1)]
    nats = 0.0
    for part in rows.split(256):
        scores = logits(part[:, :-1]).float()
        nats += float(F.cross_entropy(scores.flatten(0, 1), part[:, 1:].flatten(), reduction="sum"))
    return nats / (count * CONTEXT)


class PlainBlock(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.ln_1, self.ln_2 = nn.LayerNorm(width, bias=False), nn.LayerNorm(width, bias=False)
        self.qkv, self.out = nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width, bias=False)
        self.fc, self.proj = nn.Linear(width, 4 * width, bias=False), nn.Linear(4 * width, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        b, t, c = x.shape
        q, k, v = (y.view(b, t, self.heads, -1).transpose(1, 2) for y in self.qkv(self.ln_1(x)).split(c, dim=2))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(y.transpose(1, 2).contiguous().view(b, t, c))
        return x + self.proj(F.gelu(self.fc(self.ln_2(x))))


class PlainGPT(nn.Module):
    """nanoGPT's model."""

    def __init__(self) -> None:
        super().__init__()
        width = SIZE["width"]
        self.wte, self.wpe = nn.Embedding(SIZE["vocab"], width), nn.Embedding(CONTEXT, width)
        self.h = nn.ModuleList(PlainBlock(width, SIZE["heads"]) for _ in range(SIZE["layers"]))
        self.ln_f = nn.LayerNorm(width, bias=False)
        for name, p in self.named_parameters():
            if p.dim() == 2:
                ends = name.endswith(("out.weight", "proj.weight"))
                nn.init.normal_(p, std=0.02 / math.sqrt(2 * SIZE["layers"]) if ends else 0.02)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.wte(tokens) + self.wpe(torch.arange(tokens.shape[1], device=tokens.device))
        for block in self.h:
            x = block(x)
        return F.linear(self.ln_f(x), self.wte.weight)


class PlainLoop:
    """A plain eager loop, one step at a call. `logits(model, tokens)` says how the model is called."""

    def __init__(
        self,
        model: nn.Module,
        ids: np.ndarray,
        logits: Callable[[nn.Module, Tensor], Tensor] = lambda model, tokens: model(tokens),
        bf16: bool = False,
        seed: int = 0,
        device: str = "cpu",
    ) -> None:
        self.model, self.logits, self.bf16, self.device = model.to(device), logits, bf16, device
        self.ids, self.generator = torch.from_numpy(ids), torch.Generator().manual_seed(seed)
        matrices = [p for p in model.parameters() if p.dim() >= 2]
        others = [p for p in model.parameters() if p.dim() < 2]
        groups: list[dict[str, Any]] = [
            {"params": matrices, "weight_decay": 0.1},
            {"params": others, "weight_decay": 0.0},
        ]
        self.optimizer = torch.optim.AdamW(groups, lr=1e-3, betas=(0.9, 0.99))
        self.done = 0

    def step(self) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = plain_rate(self.done)
        starts = torch.randint(len(self.ids) - CONTEXT, (BATCH,), generator=self.generator)
        x = torch.stack([self.ids[i : i + CONTEXT] for i in starts]).to(self.device)
        y = torch.stack([self.ids[i + 1 : i + 1 + CONTEXT] for i in starts]).to(self.device)
        with torch.autocast(self.device, torch.bfloat16, enabled=self.bf16):
            logits = self.logits(self.model, x)
            loss = F.cross_entropy(logits.view(-1, logits.size(-1)), y.view(-1))
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        loss.item()
        self.done += 1


def plain_rate(step: int) -> float:
    if step < 100:
        return 1e-3 * (step + 1) / 101
    return 1e-4 + 0.5 * (1 + math.cos(math.pi * (step - 100) / (STEPS - 100))) * 9e-4


def clock() -> float:
    """Seconds: of the wall, or, with one thread, of the processor, which other work on the machine blurs less."""
    return time.process_time() if torch.get_num_threads() == 1 else time.perf_counter()
