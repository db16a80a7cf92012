"""The one training loop, used by every model.

Epochs of shuffled batches under AdamW with warm-up, gradient clipping, validation, early stop and a checkpoint after
each epoch. One thread and deterministic algorithms: the same seed gives the same weights, and so does a training that
was killed and resumed (measured bit for bit on one CPU class; other CPU classes and devices give other bits). In
several processes (`fpm.nn.distributed`) each trains on its share of every batch and all hold the same weights.

K models may be trained side by side as *lanes* of one model: every tensor of it has a leading K and the loss is (K,).
Lanes share batches and nothing else: each is clipped, stopped and kept at its own best epoch, as if trained alone.
"""

from __future__ import annotations

import math
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import torch
from torch import Tensor, nn

from fpm.allocation import kept_blocks
from fpm.errors import ModelRefused
from fpm.nn import checkpoint as checkpoints
from fpm.nn import distributed
from fpm.nn.checkpoint import Checkpoint
from fpm.nn.compute import Compute

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from fpm.progress import Progress

B = TypeVar("B")
BatchT = TypeVar("BatchT", covariant=True)
FILLING: Any = torch.utils.deterministic  # of new tensors, on by default; a module whose switch its stubs do not name


@dataclass(frozen=True)
class FitConfig:
    """How long and how fast to train. A warm-up of w epochs rises linearly by step from `warm_up_from` to `rate`."""

    epochs: int = 100
    rate: float = 1e-4
    warm_up_epochs: float = 5.0
    warm_up_from: float = 1e-6
    final_rate: float = 1.0  # share of `rate` left after `epochs`, along a cosine; 1 keeps it constant
    weight_decay: float = 0.01
    clip: float = 5.0
    patience: int = 10
    seed: int = 42


@dataclass(frozen=True)
class Loss:
    """A batch's loss: `total` is minimised, and watched in validation; `parts` are figures, means over `count` things.

    `total` is a scalar, or (K,) for a model with K lanes.
    """

    total: Tensor
    parts: Mapping[str, Tensor] = field(default_factory=dict)
    count: int = 1


class Batches(Protocol[BatchT]):
    """Where batches come from. `train(epoch)` is a function of the epoch alone, so that a resumed run sees the same."""

    def train(self, epoch: int) -> Iterable[BatchT]: ...

    def validation(self) -> Iterable[BatchT]: ...

    @property
    def steps(self) -> int:
        """Training batches in an epoch."""
        ...


@dataclass(frozen=True)
class Watch:
    """What looks on: a progress callable, a folder for the checkpoint, figures of the model after each epoch."""

    progress: Progress | None = None
    checkpoint: Path | None = None
    figures: Callable[[nn.Module], Mapping[str, float]] | None = None


@dataclass
class Course:
    """Where a training stands. `history`: one entry an epoch, `train/<part>`, `validation/<part>`, `<figure>`."""

    epoch: int = 0
    best_K: list[float] = field(default_factory=list)
    best_epoch_K: list[int] = field(default_factory=list)
    history: list[dict[str, float]] = field(default_factory=list)

    def running(self, config: FitConfig) -> list[bool]:
        """Whether each lane still has patience."""
        return [self.epoch - 1 - best_epoch < config.patience for best_epoch in self.best_epoch_K]

    def stopped(self, config: FitConfig) -> bool:
        return self.epoch >= config.epochs or (self.epoch > 0 and not any(self.running(config)))

    def record(
        self,
        training: Mapping[str, float],
        validation: Mapping[str, float],
        figures: Mapping[str, float],
        config: FitConfig,
    ) -> list[int]:
        """End the epoch; the lanes whose best it was (by validation, by training where nothing is held out).

        A lane out of patience stays as it was, whatever the others gain by going on.
        """
        entry = {f"train/{name}": value for name, value in training.items()}
        entry |= {f"validation/{name}": value for name, value in validation.items()}
        self.history.append({**entry, **figures})
        watched_K = lane_losses(validation or training)
        if self.epoch == 0:
            self.best_K, self.best_epoch_K = [math.inf] * len(watched_K), [-1] * len(watched_K)
        running = self.running(config)
        better = [k for k, watched in enumerate(watched_K) if running[k] and watched < self.best_K[k]]
        for k in better:
            self.best_K[k], self.best_epoch_K[k] = watched_K[k], self.epoch
        self.epoch += 1
        return better


@dataclass(frozen=True)
class FitResult:
    """Each lane's best epoch, its validation loss, and the whole history; the model holds those epochs' weights."""

    best_K: tuple[float, ...]
    best_epoch_K: tuple[int, ...]
    history: tuple[dict[str, float], ...]

    @property
    def best(self) -> float:
        return sum(self.best_K) / len(self.best_K)

    @property
    def best_epoch(self) -> int:
        return max(self.best_epoch_K)


@contextmanager
def deterministic(seed: int) -> Iterator[None]:
    """One thread, deterministic algorithms, no TF32, a seeded generator; all put back as found."""
    threads, strict = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    products, filling = torch.get_float32_matmul_precision(), FILLING.fill_uninitialized_memory
    with torch.random.fork_rng(own_gpu()):
        torch.manual_seed(seed)
        torch.set_num_threads(1)
        torch.use_deterministic_algorithms(True)
        FILLING.fill_uninitialized_memory = False  # nobody reads it; filling takes 6 % of a step of five seeds
        torch.set_float32_matmul_precision("highest")
        try:
            yield
        finally:
            torch.set_num_threads(threads)
            torch.use_deterministic_algorithms(strict)
            torch.set_float32_matmul_precision(products)
            FILLING.fill_uninitialized_memory = filling


def own_gpu() -> list[int]:
    """The GPU this process uses, if any: torch would keep the generators of all that are there."""
    return [torch.cuda.current_device()] if torch.cuda.is_initialized() else []  # type: ignore[no-untyped-call]


def fit(
    model: nn.Module,
    loss: Callable[[Any, B], Loss],
    batches: Batches[B],
    config: FitConfig,
    watch: Watch | None = None,
    compute: Compute | None = None,
) -> FitResult:
    """Train `model` in place until validation stops improving; it ends with the best epoch's weights.

    `loss(model, batch)` may draw from torch's global generator (its state is part of the checkpoint); validation draws
    from a generator seeded anew each epoch, so that epochs are compared on the same masks. In several processes it is
    the whole batch's on each of them; the first one alone reads and writes the checkpoint.
    Raises ModelRefused when a loss is not finite.
    """
    watch, compute, rank = watch or Watch(), compute or Compute(), distributed.rank()
    with deterministic(config.seed), kept_blocks():
        model.to(compute.place)
        optimizer = torch.optim.AdamW(model.parameters(), lr=config.rate, weight_decay=config.weight_decay)
        course, best = _resume(model, optimizer, watch.checkpoint)
        distributed.copy_from_first(model)
        while not course.stopped(config):
            model.train()
            compute.seed(config.seed, course.epoch, rank)
            training, first_step = Sums(), course.epoch * batches.steps
            for step, batch in enumerate(batches.train(course.epoch), first_step):
                for group in optimizer.param_groups:
                    group["lr"] = rate_at(step, batches.steps, config)
                with compute.autocast():
                    outcome = loss(model, batch)
                _require_finite(outcome.total, course.epoch, step)
                optimizer.zero_grad(set_to_none=True)
                outcome.total.sum().backward()  # type: ignore[no-untyped-call]
                distributed.sum_gradients(model)
                clip_gradients(model, config.clip, lanes=outcome.total.dim() == 1)
                optimizer.step()
                training.add(outcome)
                if watch.progress is not None:
                    watch.progress(step + 1, config.epochs * batches.steps, f"epoch {course.epoch + 1}")
            with compute.autocast():
                validation = validate(model, loss, batches.validation(), config.seed)
            figures = watch.figures(model) if watch.figures is not None else {}
            _keep(best, model, course.record(training.means(), validation, figures, config), len(course.best_K))
            if watch.checkpoint is not None and rank == 0:
                checkpoints.write(watch.checkpoint, _checkpoint(model, optimizer, course, best))
        model.load_state_dict(best)
    return FitResult(tuple(course.best_K), tuple(course.best_epoch_K), tuple(course.history))


def validate(model: nn.Module, loss: Callable[[Any, B], Loss], batches: Iterable[B], seed: int) -> dict[str, float]:
    """Mean loss and parts over batches, without dropout; empty where there is no batch; the generator is left alone."""
    model.eval()
    sums = Sums()
    with torch.no_grad(), torch.random.fork_rng(own_gpu()):
        torch.manual_seed(seed)
        for batch in batches:
            sums.add(loss(model, batch))
    return sums.means()


def clip_gradients(model: nn.Module, limit: float, lanes: bool) -> None:
    """Scale gradients down to the norm `limit`; with lanes, each lane by its own norm."""
    if not lanes:
        nn.utils.clip_grad_norm_(model.parameters(), limit)
        return
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    norm_K = torch.stack([gradient.flatten(1).square().sum(1) for gradient in gradients]).sum(0).sqrt()
    scale_K = (limit / (norm_K + 1e-6)).clamp(max=1.0)
    for gradient in gradients:
        gradient.mul_(scale_K.view(-1, *[1] * (gradient.dim() - 1)))


def lane_losses(means: Mapping[str, float]) -> list[float]:
    """The loss of each lane out of a batch set's means; the one loss of a model without lanes."""
    return [value for name, value in means.items() if name.startswith("loss/")] or [means["loss"]]


def rate_at(step: int, steps: int, config: FitConfig) -> float:
    """The learning rate of a step, `steps` being the steps of an epoch: linear warm-up, then constant or cosine."""
    warm_up, last = config.warm_up_epochs * steps, config.epochs * steps
    if step < warm_up:
        return config.warm_up_from + (config.rate - config.warm_up_from) * (step + 1) / warm_up
    share = (step - warm_up) / max(1.0, last - warm_up)
    return config.rate * (config.final_rate + (1 - config.final_rate) * 0.5 * (1 + math.cos(math.pi * share)))


class Sums:
    """Means of a loss and its parts over batches, each weighted by its count."""

    def __init__(self) -> None:
        self.count = 0
        self.sums: dict[str, float] = {}

    def add(self, outcome: Loss) -> None:
        self.count += outcome.count
        lanes = {f"loss/{k}": loss for k, loss in enumerate(outcome.total)} if outcome.total.dim() else {}
        for name, value in {"loss": outcome.total.mean(), **lanes, **outcome.parts}.items():
            self.sums[name] = self.sums.get(name, 0.0) + float(value.detach()) * outcome.count

    def means(self) -> dict[str, float]:
        return {name: value / self.count for name, value in self.sums.items()}


def _require_finite(total: Tensor, epoch: int, step: int) -> None:
    if not bool(torch.isfinite(total).all()):
        raise ModelRefused(
            code="FPM-ML-301",
            wrong=f"the loss is not finite in epoch {epoch}, step {step}",
            effect="the training stopped and nothing was saved; the model in force stays",
            todo="look for non-finite inputs or lower the learning rate",
        )


def _keep(best: dict[str, Tensor], model: nn.Module, improved: list[int], lanes: int) -> None:
    """Copy the improved lanes' weights into `best`."""
    for name, tensor in model.state_dict().items():
        for k in improved:
            (best[name] if lanes == 1 else best[name][k]).copy_(tensor if lanes == 1 else tensor[k])


def _copy(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


def _checkpoint(
    model: nn.Module, optimizer: torch.optim.Optimizer, course: Course, best: dict[str, Tensor]
) -> Checkpoint:
    tensors = {
        "model": dict(model.state_dict()),
        "best": best,
        "optimizer": checkpoints.optimizer_tensors(optimizer),
        "generator": {"cpu": torch.get_rng_state()},
    }
    return Checkpoint(tensors, {"course": vars(course)})


def _resume(
    model: nn.Module, optimizer: torch.optim.Optimizer, folder: Path | None
) -> tuple[Course, dict[str, Tensor]]:
    """Course and best weights of the folder's checkpoint (model, optimizer, generator set to it), else a start."""
    found = distributed.from_first(lambda: checkpoints.read(folder) if folder is not None else None)
    if found is None:
        return Course(), _copy(model)
    model.load_state_dict(found.tensors["model"])
    checkpoints.restore_optimizer(optimizer, found.tensors["optimizer"])
    torch.set_rng_state(found.tensors["generator"]["cpu"])
    return Course(**found.state["course"]), found.tensors["best"]
