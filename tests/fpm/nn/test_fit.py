"""The training loop on a regression whose answer is known: y = 2 x0 - x1."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from fpm.errors import ModelRefused
from fpm.nn.fit import FitConfig, Loss, Watch, fit, rate_at, validate

CONFIG = FitConfig(epochs=8, rate=2e-2, warm_up_epochs=1.0, patience=8, weight_decay=0.0)
Batch = tuple[Tensor, Tensor]


class Regression:
    """48 rows to train on in 3 batches of 16, 16 rows held out."""

    steps = 3

    def __init__(self) -> None:
        self.x = torch.randn(64, 2, generator=torch.Generator().manual_seed(3))
        self.y = 2 * self.x[:, :1] - self.x[:, 1:]

    def train(self, epoch: int) -> Iterator[Batch]:
        order = torch.randperm(48, generator=torch.Generator().manual_seed(epoch))
        for rows in order.split(16):
            yield self.x[rows], self.y[rows]

    def validation(self) -> Iterator[Batch]:
        yield self.x[48:], self.y[48:]


class NothingHeldOut(Regression):
    def validation(self) -> Iterator[Batch]:
        return iter(())


def a_model() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(2, 16), nn.GELU(), nn.Dropout(0.1), nn.Linear(16, 1))


def square(model: nn.Module, batch: Batch) -> Loss:
    error = (model(batch[0]) - batch[1]).square().mean()
    return Loss(error, {"root": error.sqrt()}, len(batch[0]))


def weights(model: nn.Module) -> list[Tensor]:
    return [tensor.clone() for tensor in model.state_dict().values()]


def same(one: nn.Module, other: nn.Module) -> bool:
    return all(torch.equal(a, b) for a, b in zip(weights(one), weights(other), strict=True))


def test_it_learns_and_ends_with_the_best_epoch() -> None:
    model, batches = a_model(), Regression()
    before = validate(model, square, batches.validation(), 0)["loss"]
    result = fit(model, square, batches, CONFIG)
    after = validate(model, square, batches.validation(), 0)["loss"]
    assert after < before / 4
    assert after == pytest.approx(result.best) == pytest.approx(min(e["validation/loss"] for e in result.history))
    assert result.history[0].keys() == {"train/loss", "train/root", "validation/loss", "validation/root"}


def test_two_runs_give_the_same_bits_and_leave_the_generator_alone() -> None:
    one, other = a_model(), a_model()
    torch.manual_seed(5)
    fit(one, square, Regression(), CONFIG)
    number = torch.rand(1)
    torch.manual_seed(5)
    assert torch.equal(number, torch.rand(1))
    torch.manual_seed(99)
    fit(other, square, Regression(), CONFIG)
    assert same(one, other)


class Killed(Exception):
    pass


@pytest.mark.parametrize("step", [1, 3, 4, 8, 12, 13, 20, 23])
def test_a_killed_training_resumes_bit_for_bit(tmp_path: Path, step: int) -> None:
    undisturbed = a_model()
    expected = fit(undisturbed, square, Regression(), CONFIG)

    def kill(done: int, total: int, item: object) -> None:
        assert total == 24
        if done == step:
            raise Killed

    with pytest.raises(Killed):
        fit(a_model(), square, Regression(), CONFIG, Watch(kill, tmp_path))
    torch.manual_seed(12345)  # as if the new process had drawn numbers before
    resumed = a_model()
    assert fit(resumed, square, Regression(), CONFIG, Watch(None, tmp_path)) == expected
    assert same(resumed, undisturbed)


def test_a_finished_training_resumes_to_itself(tmp_path: Path) -> None:
    model, again = a_model(), a_model()
    result = fit(model, square, Regression(), CONFIG, Watch(None, tmp_path))
    assert fit(again, square, Regression(), CONFIG, Watch(None, tmp_path)) == result
    assert same(model, again)


def test_early_stop_waits_patience_epochs_after_the_best() -> None:
    config = FitConfig(epochs=50, rate=0.0, warm_up_from=0.0, weight_decay=0.0, patience=3)
    result = fit(a_model(), square, Regression(), config)
    assert (result.best_epoch, len(result.history)) == (0, 4)  # nothing improves on the first


def test_without_held_out_rows_the_training_loss_is_watched() -> None:
    result = fit(a_model(), square, NothingHeldOut(), CONFIG)
    assert result.best == min(epoch["train/loss"] for epoch in result.history)


def test_figures_of_the_model_are_recorded_each_epoch() -> None:
    watch = Watch(figures=lambda model: {"bias": model[3].bias.item()})  # type: ignore[index]
    result = fit(a_model(), square, Regression(), CONFIG, watch)
    assert len({epoch["bias"] for epoch in result.history}) == CONFIG.epochs


def test_a_loss_that_is_not_finite_stops_the_training(tmp_path: Path) -> None:
    def broken(model: nn.Module, batch: Batch) -> Loss:
        return Loss(square(model, batch).total / 0.0)

    with pytest.raises(ModelRefused, match="epoch 0, step 0"):
        fit(a_model(), broken, Regression(), CONFIG, Watch(None, tmp_path))
    assert not list(tmp_path.iterdir())


def test_the_rate_warms_up_and_then_stays_or_falls() -> None:
    config = FitConfig(epochs=10, rate=1e-3, warm_up_epochs=2, warm_up_from=1e-5)
    assert rate_at(0, 5, config) == pytest.approx(1e-5 + 9.9e-4 / 10)
    assert rate_at(9, 5, config) == pytest.approx(1e-3)
    assert rate_at(49, 5, config) == pytest.approx(1e-3)
    falling = FitConfig(epochs=10, rate=1e-3, warm_up_epochs=2, final_rate=0.1)
    assert rate_at(10, 5, falling) == pytest.approx(1e-3)
    assert rate_at(30, 5, falling) == pytest.approx(1e-3 * (0.1 + 0.9 / 2))  # half way down the cosine
    assert rate_at(50, 5, falling) == pytest.approx(1e-4)


def test_gradients_are_clipped() -> None:
    config = FitConfig(epochs=1, rate=1e-2, warm_up_epochs=0, weight_decay=0.0, clip=0.0)
    model, untouched = a_model(), a_model()
    fit(model, square, Regression(), config)
    assert same(model, untouched)  # a clip of 0 lets nothing through
