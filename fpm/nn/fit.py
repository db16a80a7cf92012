"""The one training loop, used by every model.

Epochs of shuffled batches under AdamW with warm-up, gradient clipping, validation, early stopping and a checkpoint
after each epoch. One thread and deterministic algorithms: the same seed gives the same weights, and so does a training
that was killed and resumed (measured bit for bit on one class of CPU; other CPUs and devices give other bits). With
several processes (`fpm.nn.distributed`) each trains on its share of every batch and all hold the same weights.

K models may be trained side by side as *lanes* of one model: each of its tensors has a leading K and the loss is (K,).
Lanes share batches and nothing else: each is clipped and stopped, and its best epoch restored, as if trained alone.

Shapes: K lanes.
"""

from __future__ import annotations

import math
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import torch
from torch import Tensor, nn

from fpm.allocation import memory_reuse
from fpm.errors import ModelRefused
from fpm.nn import checkpoint, distributed
from fpm.nn.checkpoint import Checkpoint
from fpm.nn.compute import Compute

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from fpm.progress import Progress

STATE = "course"  # key of the training state in a checkpoint
B = TypeVar("B")
B_co = TypeVar("B_co", covariant=True)
FILLING: Any = torch.utils.deterministic  # fills new tensors by default; torch's stubs do not declare its switch


@dataclass(frozen=True)
class FitConfig:
    """How long and how fast to train; in the warm-up the rate rises linearly from `warm_up_from` to `rate`."""

    epochs: int = 100
    rate: float = 1e-4
    warm_up_epochs: float = 5.0
    warm_up_from: float = 1e-6
    final_rate: float = 1.0  # share of `rate` left after `epochs`, along a cosine; 1 means constant
    weight_decay: float = 0.01
    clip: float = 5.0
    patience: int = 10
    seed: int = 42


@dataclass(frozen=True)
class Loss:
    """A batch's loss: `total` is minimised and decides early stopping, `parts` are figures.

    `total` is a scalar, or (K,) for a model with K lanes; each part is a mean over `count` rows.
    """

    total: Tensor
    parts: Mapping[str, Tensor] = field(default_factory=dict)
    count: int = 1


class Batches(Protocol[B_co]):
    """A source of batches for training and validation."""

    def train(self, epoch: int) -> Iterable[B_co]:
        """Training batches: a function of the epoch alone, so that a resumed training sees the same ones."""
        ...

    def validation(self) -> Iterable[B_co]:
        """Batches of the held-out data; empty where nothing is held out."""
        ...

    @property
    def steps(self) -> int:
        """Number of training batches in an epoch."""
        ...


@dataclass(frozen=True)
class Watch:
    """What accompanies a training: a progress callback, a folder for checkpoints, figures of the model by epoch."""

    progress: Progress | None = None
    checkpoint: Path | None = None
    figures: Callable[[nn.Module], Mapping[str, float]] | None = None


@dataclass
class TrainingState:
    """Where a training stands; its fields are stored in checkpoints.

    `best_K` and `best_epoch_K`: each lane's best loss and its epoch. `history`: one entry per epoch with
    `train/<part>`, `validation/<part>` and `<figure>`.
    """

    epoch: int = 0
    best_K: list[float] = field(default_factory=list)
    best_epoch_K: list[int] = field(default_factory=list)
    history: list[dict[str, float]] = field(default_factory=list)

    def running(self, config: FitConfig) -> list[bool]:
        """Whether each lane still improves within the patience."""
        return [self.epoch - 1 - best_epoch < config.patience for best_epoch in self.best_epoch_K]

    def stopped(self, config: FitConfig) -> bool:
        """Whether all epochs are done, or no lane is running."""
        return self.epoch >= config.epochs or (self.epoch > 0 and not any(self.running(config)))

    def record(
        self,
        training: Mapping[str, float],
        validation: Mapping[str, float],
        figures: Mapping[str, float],
        config: FitConfig,
    ) -> list[int]:
        """End the epoch; the lanes that improved (in validation, or in training where nothing is held out).

        A lane out of patience no longer changes, even while the others go on.
        """
        entry = {f"train/{name}": value for name, value in training.items()}
        entry |= {f"validation/{name}": value for name, value in validation.items()}
        self.history.append({**entry, **figures})
        loss_K = lane_losses(validation or training)
        if self.epoch == 0:
            self.best_K, self.best_epoch_K = [math.inf] * len(loss_K), [-1] * len(loss_K)
        running = self.running(config)
        improved = [k for k, loss in enumerate(loss_K) if running[k] and loss < self.best_K[k]]
        for k in improved:
            self.best_K[k], self.best_epoch_K[k] = loss_K[k], self.epoch
        self.epoch += 1
        return improved


@dataclass(frozen=True)
class FitResult:
    """Each lane's best validation loss and its epoch, and the whole history; the model holds those epochs' weights."""

    best_K: tuple[float, ...]
    best_epoch_K: tuple[int, ...]
    history: tuple[dict[str, float], ...]

    @property
    def best(self) -> float:
        """The best loss, averaged over the lanes."""
        return sum(self.best_K) / len(self.best_K)

    @property
    def best_epoch(self) -> int:
        """The latest of the lanes' best epochs."""
        return max(self.best_epoch_K)


@contextmanager
def deterministic(seed: int) -> Iterator[None]:
    """One thread, deterministic algorithms, no TF32 and a seeded generator; the former settings return at the end.

    `torch.use_deterministic_algorithms` sets the same switch, and imports the compiler (0.9 s) to tell it so, too;
    what is compiled here is told where it is compiled.
    """
    threads, strict = torch.get_num_threads(), torch.get_deterministic_debug_mode()
    products, filling = torch.get_float32_matmul_precision(), FILLING.fill_uninitialized_memory
    with torch.random.fork_rng(own_gpu()):
        torch.manual_seed(seed)
        torch.set_num_threads(1)
        torch.set_deterministic_debug_mode("error")
        FILLING.fill_uninitialized_memory = False  # no code reads it, and filling costs 6 % of a step of five seeds
        torch.set_float32_matmul_precision("highest")
        try:
            yield
        finally:
            torch.set_num_threads(threads)
            torch.set_deterministic_debug_mode(strict)
            torch.set_float32_matmul_precision(products)
            FILLING.fill_uninitialized_memory = filling


def own_gpu() -> list[int]:
    """The GPU this process uses, if any; by default torch would save the generators of all GPUs."""
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

    `loss(model, batch)` may draw from torch's global generator, whose state the checkpoint stores. Validation seeds the
    generator anew in each epoch, so that epochs are compared on the same masks. With several processes, `loss` must
    return the whole batch's loss in each of them; only the first one reads and writes the checkpoint.
    Raises ModelRefused where a loss is not finite.
    """
    watch, compute, rank = watch or Watch(), compute or Compute(), distributed.rank()
    with deterministic(config.seed), memory_reuse():
        model.to(compute.torch_device)
        optimizer = torch.optim.AdamW(model.parameters(), lr=config.rate, weight_decay=config.weight_decay)
        state, best = _resume(model, optimizer, watch.checkpoint)
        distributed.copy_from_first(model)
        while not state.stopped(config):
            model.train()
            compute.seed(config.seed, state.epoch, rank)
            training, first_step = Sums(), state.epoch * batches.steps
            for step, batch in enumerate(batches.train(state.epoch), first_step):
                for group in optimizer.param_groups:
                    group["lr"] = rate_at(step, batches.steps, config)
                with compute.autocast():
                    outcome = loss(model, batch)
                _require_finite(outcome.total, state.epoch, step)
                optimizer.zero_grad(set_to_none=True)
                outcome.total.sum().backward()  # type: ignore[no-untyped-call]
                distributed.sum_gradients(model)
                clip_gradients(model, config.clip, lanes=outcome.total.dim() == 1)
                optimizer.step()
                training.add(outcome)
                if watch.progress is not None:
                    watch.progress(step + 1, config.epochs * batches.steps, f"epoch {state.epoch + 1}")
            with compute.autocast():
                validation = validate(model, loss, batches.validation(), config.seed)
            figures = watch.figures(model) if watch.figures is not None else {}
            improved = state.record(training.means(), validation, figures, config)
            _copy_lanes(best, model, improved, len(state.best_K))
            if watch.checkpoint is not None and rank == 0:
                checkpoint.write(watch.checkpoint, _checkpoint(model, optimizer, state, best))
        model.load_state_dict(best)
    return FitResult(tuple(state.best_K), tuple(state.best_epoch_K), tuple(state.history))


def validate(model: nn.Module, loss: Callable[[Any, B], Loss], batches: Iterable[B], seed: int) -> dict[str, float]:
    """Mean loss and parts over batches, without dropout; empty without a batch. The generator's state is restored."""
    model.eval()
    sums = Sums()
    with torch.no_grad(), torch.random.fork_rng(own_gpu()):
        torch.manual_seed(seed)
        for batch in batches:
            sums.add(loss(model, batch))
    return sums.means()


def clip_gradients(model: nn.Module, limit: float, lanes: bool) -> None:
    """Scale gradients down to the norm `limit`; with lanes, each lane is scaled by its own norm."""
    if not lanes:
        nn.utils.clip_grad_norm_(model.parameters(), limit)
        return
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    norm_K = torch.stack([gradient.flatten(1).square().sum(1) for gradient in gradients]).sum(0).sqrt()
    scale_K = (limit / (norm_K + 1e-6)).clamp(max=1.0)
    for gradient in gradients:
        gradient.mul_(scale_K.view(-1, *[1] * (gradient.dim() - 1)))


def lane_losses(means: Mapping[str, float]) -> list[float]:
    """Each lane's loss out of the means of some batches; a model without lanes has one loss."""
    return [value for name, value in means.items() if name.startswith("loss/")] or [means["loss"]]


def rate_at(step: int, steps: int, config: FitConfig) -> float:
    """The learning rate of a step: linear warm-up, then constant or cosine; `steps` is the length of an epoch."""
    warm_up, last = config.warm_up_epochs * steps, config.epochs * steps
    if step < warm_up:
        return config.warm_up_from + (config.rate - config.warm_up_from) * (step + 1) / warm_up
    share = (step - warm_up) / max(1.0, last - warm_up)
    return config.rate * (config.final_rate + (1 - config.final_rate) * 0.5 * (1 + math.cos(math.pi * share)))


class Sums:
    """Sums of a loss and its parts over batches, each batch weighted by its count."""

    def __init__(self) -> None:
        self.count = 0
        self.sums: dict[str, float] = {}

    def add(self, outcome: Loss) -> None:
        """Add one batch."""
        self.count += outcome.count
        lanes = {f"loss/{k}": loss for k, loss in enumerate(outcome.total)} if outcome.total.dim() else {}
        for name, value in {"loss": outcome.total.mean(), **lanes, **outcome.parts}.items():
            self.sums[name] = self.sums.get(name, 0.0) + float(value.detach()) * outcome.count

    def means(self) -> dict[str, float]:
        """The weighted means by name; empty before the first batch."""
        return {name: value / self.count for name, value in self.sums.items()}


def _require_finite(total: Tensor, epoch: int, step: int) -> None:
    if not bool(torch.isfinite(total).all()):
        raise ModelRefused(
            code="FPM-ML-301",
            wrong=f"the loss is not finite in epoch {epoch}, step {step}",
            effect="the training stopped and saved nothing; the model in force stays",
            todo="look for non-finite inputs or lower the learning rate",
        )


def _copy_lanes(best: dict[str, Tensor], model: nn.Module, improved: list[int], lanes: int) -> None:
    """Copy the improved lanes' weights into `best`."""
    for name, tensor in model.state_dict().items():
        for k in improved:
            (best[name] if lanes == 1 else best[name][k]).copy_(tensor if lanes == 1 else tensor[k])


def _copy(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


def _checkpoint(
    model: nn.Module, optimizer: torch.optim.Optimizer, state: TrainingState, best: dict[str, Tensor]
) -> Checkpoint:
    tensors = {
        "model": dict(model.state_dict()),
        "best": best,
        "optimizer": checkpoint.optimizer_tensors(optimizer),
        "generator": {"cpu": torch.get_rng_state()},
    }
    return Checkpoint(tensors, {STATE: vars(state)})


def _resume(
    model: nn.Module, optimizer: torch.optim.Optimizer, folder: Path | None
) -> tuple[TrainingState, dict[str, Tensor]]:
    """State and best weights to go on from: those of the folder's checkpoint, or of a fresh start.

    Where there is a checkpoint, model, optimizer and generator are restored from it.
    """
    stored = distributed.from_first(lambda: checkpoint.read(folder) if folder is not None else None)
    if stored is None:
        return TrainingState(), _copy(model)
    model.load_state_dict(stored.tensors["model"])
    checkpoint.restore_optimizer(optimizer, stored.tensors["optimizer"])
    torch.set_rng_state(stored.tensors["generator"]["cpu"])
    return TrainingState(**stored.state[STATE]), stored.tensors["best"]
