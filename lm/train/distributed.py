"""A training shared by several processes: DistributedDataParallel, or FSDP2 (`fully_shard`), behind `lm.train.ranks`.

Each rank reads its part of the batch, and the losses are divided by the counts of the whole step, so that the sum of
the ranks' gradients is that of the large batch, but for the order of sums. DDP keeps all weights on all ranks; FSDP2
keeps 1 / n of weights, gradients and moments on each (Zhao et al. 2023; Rajbhandari et al. 2020, ZeRO stage 3).

What is small (counts, figures, wishes to stop) goes between processors through gloo, also where gradients go between
GPUs through NCCL: no GPU is waited for. It is sent as numbers or JSON, never as a pickle.
"""

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.distributed_c10d import Store
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, Shard
from torch.nn.parallel import DistributedDataParallel

from lm.stop import Interrupted
from lm.train.checkpoint import Checkpoint, newest_good
from lm.train.checkpoint_files import checkpoint_path
from lm.train.layers import stacked_layers, uncompile_layers
from lm.train.objective import CARRY, Batch, Losses, Objective
from lm.train.ranks import Alone, Found, LossesOf, Tensors
from lm.train.shards import Piece, cut, piece, publish, read_parts, write_part
from lm.train.writing import copied

log = logging.getLogger(__name__)

PATIENCE = timedelta(hours=2)
"""How long a rank waits for another that neither answers nor ends: so long may an evaluation on the main rank take."""


def join(rank: int, count: int, device: Literal["cpu", "cuda"], store: Store | None = None) -> None:
    """Make this process one of `count` that can talk to each other: over `store`, or as torchrun's environment says."""
    backend = "gloo" if device == "cpu" else "cpu:gloo,cuda:nccl"
    dist.init_process_group(backend, store=store, rank=rank, world_size=count, timeout=PATIENCE)


class MainRankFailed(dist.DistError):
    """What the main rank alone was to find went wrong there; the error that says what is raised there."""


class Scored(nn.Module):
    """A model with its objective, so that what DDP and FSDP2 do around `forward` is done around any use of it."""

    def __init__(self, model: nn.Module, objective: Objective) -> None:
        super().__init__()
        self.model, self.objective = model, objective

    def forward(self, batch: Batch) -> Losses:
        return self.objective.losses(self.model, batch)


class Replicas(Alone):
    """DDP: the same weights on every rank."""

    def __init__(self) -> None:
        super().__init__()
        self.rank, self.count = dist.get_rank(), dist.get_world_size()
        self._saves = 0

    def wrap(self, model: nn.Module, objective: Objective) -> LossesOf:
        self.model = model
        # With `find_unused_parameters` buckets stay what they are, and so does the order of sums in them: a resumed
        # training ends in the bits of one that was not killed.
        self.shared = DistributedDataParallel(
            Scored(model, objective),
            init_sync=False,  # the seed, or a checkpoint, has given all the same weights
            forward_sync_buffers=False,
            gradient_as_bucket_view=True,
            find_unused_parameters=True,
        )
        return self.shared

    @contextmanager
    def accumulating(self, more: bool) -> Iterator[None]:
        if not more:
            yield
            return
        with self.shared.no_sync():
            yield

    def backward(self, loss: Tensor) -> None:
        (loss * self.count).backward()  # DDP and FSDP2 divide the sum of the gradients by the number of ranks

    def total(self, figures: dict[str, float]) -> dict[str, float]:
        names = sorted(figures)
        sums = torch.tensor([figures[name] for name in names], dtype=torch.float64)
        dist.all_reduce(sums)
        found = dict(zip(names, sums.tolist(), strict=True))
        return {name: found[name] for name in figures}

    def agree(self, wish: bool) -> bool:
        wishes = torch.tensor([wish], dtype=torch.uint8)
        dist.all_reduce(wishes, dist.ReduceOp.MAX)
        return bool(wishes.item())

    def told(self, find: Callable[[], Found]) -> Found:
        answer: dict[str, Any] = {}
        if self.rank == 0:
            try:
                answer = {"found": find()}
            except Interrupted as stopped:
                answer = {"interrupted": str(stopped)}
            except BaseException as error:
                try:
                    self._broadcast({"failed": f"{type(error).__name__}: {error}"})
                except RuntimeError as unheard:  # who is gone needs no answer; the error is the one to be seen
                    log.warning("the other ranks were not told: %s", unheard)
                raise
        answer = self._broadcast(answer)
        if "failed" in answer:
            raise MainRankFailed(f"the main rank failed: {answer['failed']}")
        if "interrupted" in answer:
            raise Interrupted(answer["interrupted"])
        return answer["found"]

    def _broadcast(self, said: dict[str, Any]) -> dict[str, Any]:
        """What the main rank says, as JSON gives it back."""
        data = bytearray(json.dumps(said).encode()) if self.rank == 0 else bytearray()
        size = torch.tensor([len(data)])
        dist.broadcast(size, 0)
        sent = torch.frombuffer(data, dtype=torch.uint8) if data else torch.empty(int(size), dtype=torch.uint8)
        dist.broadcast(sent, 0)
        heard: dict[str, Any] = json.loads(sent.numpy().tobytes())
        return heard

    def save(
        self,
        directory: Path,
        step: int,
        model: Tensors,
        optimizer: Tensors,
        state: dict[str, Any],
        published: Callable[[Path], None],
    ) -> None:
        """As `Alone.save`, each rank its pieces."""
        self._writer.wait()
        self._saves += 1
        final = checkpoint_path(directory, step)
        partial_folder = directory / f".tmp-{final.name}-{self._saves}"
        weights, moments = self._copied(model), self._copied(optimizer)

        def write() -> None:
            write_part(partial_folder, self.rank, self.count, weights, moments)
            if self.rank == 0:
                publish(partial_folder, final, self.count, state)
                published(final)

        self._writer.start(write)

    def _copied(self, tensors: Tensors) -> dict[str, Piece]:
        """This rank's pieces, in memory of their own."""
        pieces = {name: self._piece(name, tensor) for name, tensor in tensors.items()}
        own = copied({name: found.tensor for name, found in pieces.items()})
        return {name: replace(found, tensor=own[name]) for name, found in pieces.items()}

    def _piece(self, name: str, tensor: Tensor) -> Piece:
        if name.startswith(CARRY) and "/" not in name:  # what is carried for the rows that this rank reads
            rows = len(tensor)
            return Piece(tensor, (rows * self.count, *tensor.shape[1:]), rows * self.rank)
        return piece(tensor, self.rank, self.count)

    def finish(self) -> None:
        self._writer.wait()
        self.agree(False)  # heard from all, so also from the main rank, which has waited for all parts

    def leave(self) -> None:
        """Nothing: the part of another rank may never come."""

    def newest(self, directory: Path) -> Checkpoint | None:
        path = self.told(partial(_newest, directory))
        return None if path is None else self.load(Path(path))

    def load(self, path: Path) -> Checkpoint:
        return read_parts(path, self._rows)

    def _rows(self, name: str, shape: tuple[int, ...]) -> tuple[int, int] | None:
        return cut(shape[0], self.rank, self.count) if name.startswith(CARRY) and "/" not in name and shape else None


class Sharded(Replicas):
    """FSDP2: a piece of each weight, gradient and moment on every rank, put together layer by layer where used."""

    def wrap(self, model: nn.Module, objective: Objective) -> LossesOf:
        self.model = model
        device = next(model.parameters()).device.type
        # The main rank keeps the module as it is for evaluations and the end: its weights are replaced each time.
        self.plain = deepcopy(model).cpu() if self.rank == 0 else None
        if self.plain is not None:
            uncompile_layers(self.plain)
        self.mesh = init_device_mesh(device, (self.count,))
        for layer in stacked_layers(model):
            fully_shard(layer, mesh=self.mesh)
        self.scored = Scored(model, objective)
        fully_shard(self.scored, mesh=self.mesh)
        self.shapes = {name: tuple(p.shape) for name, p in model.named_parameters()}
        return self.scored

    @contextmanager
    def accumulating(self, more: bool) -> Iterator[None]:
        assert isinstance(self.scored, FSDPModule)
        self.scored.set_requires_gradient_sync(not more)
        self.scored.set_is_last_backward(not more)
        yield

    @contextmanager
    def whole(self, model: nn.Module) -> Iterator[nn.Module]:
        tensors: Tensors = {}
        for name, tensor in model.state_dict().items():
            full = tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
            if self.rank == 0:
                tensors[name] = full.cpu()
        if self.plain is None:
            yield model
            return
        device = next(model.parameters()).device
        self.plain.load_state_dict(tensors)
        self.plain.train(model.training)
        try:
            yield self.plain.to(device)
        finally:
            self.plain.cpu()

    def _piece(self, name: str, tensor: Tensor) -> Piece:
        if not isinstance(tensor, DTensor):
            return super()._piece(name, tensor)
        return Piece(tensor.to_local(), tuple(tensor.shape), cut(len(tensor), self.rank, self.count)[0])

    def _rows(self, name: str, shape: tuple[int, ...]) -> tuple[int, int] | None:
        return cut(shape[0], self.rank, self.count) if self._is_cut(name, shape) else super()._rows(name, shape)

    def _is_cut(self, name: str, shape: tuple[int, ...]) -> bool:
        """Whether a tensor of a checkpoint is a weight, or as large as the one that it is a moment of."""
        return shape != () and shape in (self.shapes.get(name), self.shapes.get(name.rpartition("/")[0]))

    def load(self, path: Path) -> Checkpoint:
        read = super().load(path)
        return Checkpoint(read.path, self._placed(read.model), self._placed(read.optimizer), read.state)

    def _placed(self, tensors: Tensors) -> Tensors:
        """The pieces as tensors that know where the others are."""
        parameters = dict(self.model.named_parameters())
        placed = {}
        for name, tensor in tensors.items():
            like = parameters.get(name, parameters.get(name.rpartition("/")[0]))
            if like is None or tensor.dim() == 0 or tensor.shape[1:] != like.shape[1:]:
                placed[name] = tensor
                continue
            local = tensor.to(like.device)
            placed[name] = DTensor.from_local(
                local, self.mesh, [Shard(0)], run_check=False, shape=like.shape, stride=like.stride()
            )
        return placed


def _newest(directory: Path) -> str | None:
    path = newest_good(directory)
    return None if path is None else str(path)
