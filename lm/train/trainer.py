"""The training loop: one for every model that has gradients and every objective.

The state of a run is a step number, the weights, the optimiser and what the objective carries from step to step. The
examples of step n are `order(n * batch, ...)`, its dropout is drawn from `draw_seed(seed, n, "dropout")`, its learning
rate is `schedule(n)`: a run that was killed and resumed therefore ends in the same bits as one that never was.
"""

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lm.config import TrainConfig
from lm.order import Order, draw_seed, examples_at
from lm.stop import Interrupted, ShouldStop, check, never
from lm.train.averaging import AveragedSGD, averaged_weights, put_averages
from lm.train.batches import Reading, Steps, readings
from lm.train.checkpoint import Checkpoint, prune_checkpoints, verify
from lm.train.checkpoint_files import checkpoint_path
from lm.train.guard import Mishap, judge, snapshot_before, snapshots_needed, stopped
from lm.train.hooks import Hooks
from lm.train.identity import environment, fitting, require_same_run, run_identity, warn_of_other_bits
from lm.train.layers import compile_layers
from lm.train.objective import (
    Batch,
    Examples,
    Objective,
    combine,
    joined_carry,
    split_carry,
    step_figures,
    step_totals,
    with_carry,
)
from lm.train.optim import clip_gradients, load_optimizer_tensors, make_optimizer, optimizer_tensors
from lm.train.ranks import Alone
from lm.train.schedule import learning_rate_factor
from lm.train.speed import speed_figures
from lm.train.state import RunState, TrainResult
from lm.train.trained import load_trained, trained_tensors

log = logging.getLogger(__name__)


@dataclass
class Trainer:
    """Trains `model` in place for `steps` updates; see `run`.

    `config` must be resolved (`TrainConfig.resolve`). `evaluate(model)` gives figures for `on_evaluate`, and
    the checkpoint with the smallest `best_metric` among them is kept (None: no best). `sample(model, prompt,
    seed)` gives text. Both run between updates with the model in eval mode, and may raise `Interrupted`. `order` says
    which examples stand where (`in_order` for a stream), `rate_scale(step)` is a further factor of the learning rate,
    `groups(model)` are the optimiser's parameter groups, such as `lm.finetune.schedule.discriminative_groups` gives.
    `settings` are what else decides the result, by name: a checkpoint of others is refused.
    After `patience` evaluations in a row without a better `best_metric` training ends (None: never before `steps`).
    `ranks` are the processes that share the training, each with a Trainer of its own.
    """

    model: nn.Module
    objective: Objective
    examples: Examples
    config: TrainConfig
    steps: int
    directory: Path
    evaluate: Callable[[nn.Module], dict[str, float]] | None = None
    sample: Callable[[nn.Module, str, int], str] | None = None
    hooks: Hooks = field(default_factory=Hooks)
    should_stop: ShouldStop = never
    best_metric: str | None = "bits_per_byte"
    order: Order = examples_at
    rate_scale: Callable[[int], float] = lambda step: 1.0
    groups: Callable[[nn.Module], list[dict[str, Any]]] | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    patience: int | None = None
    ranks: Alone = field(default_factory=Alone)

    def run(self) -> TrainResult:
        """Train to the last step, from the newest good checkpoint in `directory` if there is one.

        Raises Interrupted (with a checkpoint written) when asked to stop, NonFiniteError before an update that would
        break the weights (unless `config.guard` says what to do then), ResumeError if the checkpoint is of another
        run, and as `readings` does.
        """
        config = self.config = self.config.resolve_steps(self.steps)
        if config.precision == "auto" or "auto" in (config.device, config.micro_batch):
            raise ValueError("resolve the configuration first: config.resolve(model.config)")
        if len(self.examples) < 1:
            raise ValueError("there is nothing to train on: no examples")
        self.device = torch.device(config.device)
        self.model.to(self.device)
        if config.compile:
            compile_layers(self.model)
        self.losses = self.ranks.wrap(self.model, self.objective)
        groups = None if self.groups is None else self.groups(self.model)
        self.optimizer = make_optimizer(self.model, config.optimizer, config.precision, groups)
        data = (self.objective, self.examples, self.order)
        self.identity = run_identity(self.model, self.optimizer, *data, config, self.steps, self.settings)
        self.state, self.saved, self.rolled_back = RunState(), -1, False
        self.carry: dict[str, torch.Tensor] = {}
        if checkpoint := self.ranks.newest(self.directory):
            self._restore(checkpoint)
            log.info("resumed from %s", checkpoint.path)
        resumed_from = self.saved if checkpoint else None
        self.saved_at, self.window = time.monotonic(), (0, 0.0)
        share = (self.ranks.rank, self.ranks.count)
        steps = Steps(self.examples, self.order, config.batch, int(config.micro_batch), config.seed, *share)
        with closing(readings(steps, self.state.step, self.steps, config.data_workers, self.should_stop)) as read:
            try:
                while True:
                    self._between_steps()
                    if self.state.step == self.steps or self._out_of_patience():
                        break
                    check(lambda: self.ranks.agree(self.should_stop()), f"training, after step {self.state.step}")
                    self._step(read)
            except Interrupted:
                self._save()
                self.ranks.finish()
                raise
            except BaseException:
                self.ranks.leave()
                raise
        self.ranks.finish()
        self._hand_back()
        s, path = self.state, checkpoint_path(self.directory, self.state.step)
        return TrainResult(s.step, s.tokens, s.best_step, s.best_value, resumed_from, path, tuple(s.mishaps))

    def _step(self, readings: Iterator[Reading]) -> None:
        """One update from what is read in this step."""
        config, step, started = self.config, self.state.step, time.perf_counter()
        read = next(readings)
        batches = with_carry(read.parts, self.carry)
        totals = self.ranks.total(step_totals(self.objective, batches))
        rate = float(config.optimizer.learning_rate) * learning_rate_factor(step, self.steps, config.schedule)
        rate *= self.rate_scale(step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group.get("scale", 1.0)

        self.model.train()
        apart = (self.ranks.rank,) if self.ranks.rank else ()  # no rank drops what another does
        torch.manual_seed(draw_seed(config.seed, step, "dropout", *apart))
        carry = self.carry
        sums = self._accumulate(batches, totals)
        grad_norm = clip_gradients(self.model, self.optimizer, config.clip)
        tokens = int(sums.pop("tokens"))
        if mishap := judge(config.guard, self.state, sums["loss"], grad_norm):
            self._put_right(mishap, carry, read)
        else:
            self.optimizer.step()
            self.state.tokens += tokens
        self.optimizer.zero_grad(set_to_none=True)
        self.state.step += 1
        self.window = (self.window[0] + tokens, self.window[1] + time.perf_counter() - started)
        if self.state.step % config.metrics_interval == 0 or self.state.step == self.steps:
            figures = {**sums, "learning_rate": rate, "grad_norm": grad_norm, "tokens": self.state.tokens}
            figures |= speed_figures(*self.window, self.model, self.device, self.ranks.count)
            self.hooks.on_metrics(self.state.step, figures)
            self.window = (0, 0.0)
        self.hooks.on_progress(self.state.step, self.steps)

    def _put_right(self, mishap: Mishap, carry: dict[str, torch.Tensor], read: Reading) -> None:
        """Leave the weights as they were before a bad step, or as a snapshot has them.

        Raises NonFiniteError if the run is to stop, or there is nothing to go back to.
        """
        before = self.state
        log.warning("step %d: %s: %s", mishap.step, mishap.what, mishap.action)
        self.hooks.on_mishap(mishap.step, mishap.record())
        if mishap.action == "stop":
            bad = stopped(mishap, read.chosen, len(before.mishaps))
            try:
                self.ranks.finish()  # what is gone on from at the next start is durable
            except Exception as error:
                raise bad from error
            raise bad
        self.carry, to = carry, None
        if mishap.action == "roll_back":
            self.ranks.finish()  # what is gone back to is durable
            to = self.ranks.told(partial(snapshot_before, self.config.guard, self.directory, mishap.step))
            self._restore(self.ranks.load(checkpoint_path(self.directory, to)))
            was, self.rolled_back = self.state, True  # what was reported since then stays reported
            self.state = replace(before, tokens=was.tokens, losses=was.losses, grad_norms=was.grad_norms)
        self.state.mishaps.append(mishap.record(to))

    def _accumulate(self, batches: list[Batch], totals: dict[str, float]) -> dict[str, float]:
        """Backward through all micro-batches; the step's tokens, loss, its terms if several, and bits per byte."""
        sums: dict[str, torch.Tensor] = {}
        bytes_read, tokens, carried = 0, 0, []

        def add(name: str, value: torch.Tensor) -> None:
            sums[name] = sums[name] + value.detach() if name in sums else value.detach()

        for number, batch in enumerate(batches, start=1):
            moved = {name: tensor.to(self.device, non_blocking=True) for name, tensor in batch.items()}
            with self.ranks.accumulating(number < len(batches)):
                with self._autocast():
                    losses = self.losses(moved)
                loss = combine(losses, totals)
                self.ranks.backward(loss)
            tokens += self.objective.tokens(batch)
            carried.append(losses.carry)
            add("loss", loss)
            for name, term in losses.terms.items():
                add(f"loss_{name}", term.total / max(totals[name], 1.0))
            if losses.nats is not None:
                add("nats", losses.nats.double())
                bytes_read += losses.bytes
        self.carry = joined_carry(carried)
        found = {name: float(value) for name, value in sums.items()}
        return step_figures(self.ranks.total({**found, "tokens": float(tokens), "bytes": float(bytes_read)}), totals)

    def _autocast(self) -> AbstractContextManager[Any]:
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.config.precision == "bf16")

    def _between_steps(self) -> None:
        """Evaluate, sample and checkpoint where due; each is done once per step, resumed or not."""
        config, state = self.config, self.state
        last = state.step == self.steps
        save = (last and self.saved != state.step) or self.rolled_back
        if config.guard.rolls_back and state.step % config.guard.snapshot_interval == 0:
            save |= self.saved != state.step

        def due(interval: int, done: int) -> bool:
            return interval > 0 and done < state.step and (last or state.step % interval == 0)

        self.model.eval()
        if self.evaluate is not None and due(int(config.eval_interval), state.evaluated):
            with self._whole_model() as model:
                figures = self.ranks.told(partial(self.evaluate, model))
            self.hooks.on_evaluate(state.step, figures)
            state.evaluated = state.step
            if self.best_metric is not None and state.step > 0:
                value = figures[self.best_metric]
                if state.best_value is None or value < state.best_value:
                    state.best_step, state.best_value, state.stale, save = state.step, value, 0, True
                else:
                    state.stale += 1
                    save |= self._out_of_patience()
                if isinstance(self.optimizer, AveragedSGD):
                    self.optimizer.observe(value, state.observed)
        if self.sample is not None and due(int(config.sample_interval), state.sampled):
            for number, prompt in enumerate(config.sample_prompts):
                with self._whole_model() as model:
                    draw = draw_seed(config.seed, "sample", number)
                    text = self.ranks.told(partial(self.sample, model, prompt, draw))
                self.hooks.on_sample(state.step, prompt, text)
            state.sampled = state.step
        if state.step > max(self.saved, 0):
            save |= config.checkpoint_interval > 0 and state.step % config.checkpoint_interval == 0
            if config.checkpoint_seconds > 0:  # clocks differ: what one asks for, all do
                save |= self.ranks.agree(config.checkpoint_seconds <= time.monotonic() - self.saved_at)
        if save:
            self._save()

    @contextmanager
    def _whole_model(self) -> Iterator[nn.Module]:
        """The model as it is evaluated and sampled from: its averages, if it has any."""
        with torch.no_grad(), self._autocast(), averaged_weights(self.optimizer), self.ranks.whole(self.model) as model:
            yield model

    def _out_of_patience(self) -> bool:
        return self.patience is not None and self.state.stale >= self.patience

    def _save(self) -> None:
        where = environment(self.config, self.ranks.count)
        state = {**asdict(self.state), "identity": self.identity, "environment": where}
        tensors = {**optimizer_tensors(self.model, self.optimizer), **self.carry}
        step, keep = self.state.step, snapshots_needed(self.config.guard, self.state.step)
        if self.state.best_step is not None:
            keep.add(self.state.best_step)

        def published(path: Path) -> None:
            prune_checkpoints(self.directory, self.config.keep_last, also=keep)
            self.hooks.on_checkpoint(step, path)

        self.ranks.save(self.directory, step, trained_tensors(self.model), tensors, state, published)
        self.saved, self.saved_at, self.rolled_back = step, time.monotonic(), False

    def _restore(self, checkpoint: Checkpoint) -> None:
        with fitting(checkpoint.path):
            saved = dict(checkpoint.state)
            require_same_run(checkpoint.path, saved.pop("identity"), self.identity)
            warn_of_other_bits(saved.pop("environment"), environment(self.config, self.ranks.count))
            state = RunState.noted(saved, self.steps)
            load_trained(self.model, checkpoint.model)
            moments, carry = split_carry(checkpoint.optimizer)
            load_optimizer_tensors(self.model, self.optimizer, moments)
        self.carry = {name: tensor.to(self.device) for name, tensor in carry.items()}
        self.state, self.saved = state, state.step

    def _hand_back(self) -> None:
        """Put what was asked for into the model: the last or the best weights, or their averages."""
        tensors = optimizer_tensors(self.model, self.optimizer)
        if self.config.select == "best":
            if self.state.best_step is None:
                raise ValueError("select: best was asked for, but nothing was evaluated")
            path = checkpoint_path(self.directory, self.state.best_step)
            self.ranks.told(partial(verify, path))
            best = self.ranks.load(path)
            load_trained(self.model, best.model)
            tensors = best.optimizer
        put_averages(self.model, tensors)
