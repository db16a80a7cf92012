"""A model file: what a team chooses for its encoder, scorer, label and folds, beside a preset (`FPM_MODEL`).

    [encoder]
    layers = 4
    mask_ratio = 0.3
    [scorer]
    fusion = "gate"
    look_back = 20
    [label]
    horizon = 5
    [folds]
    refit = 60

Every key may be left out: the value is then the preset's. Keys that are not known are refused. What is chosen stands in
the manifest of every model that is trained, so another choice is another training and another trial.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field, fields, replace
from math import isfinite
from typing import TYPE_CHECKING, Any, TypeVar

from fpm.calendar_overrides import shown, small_text
from fpm.errors import UsageError
from fpm.schema import HORIZON

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from _typeshed import DataclassInstance

C = TypeVar("C", bound="DataclassInstance")


@dataclass(frozen=True)
class Whole:
    """A whole number in a range; both ends belong to it."""

    low: int
    high: int

    def fault(self, value: Any) -> str | None:
        """What is wrong with a value; None for nothing."""
        if not isinstance(value, int) or isinstance(value, bool):
            return "no whole number"
        return None if self.low <= value <= self.high else f"not from {self.low} to {self.high}"


@dataclass(frozen=True)
class Real:
    """A finite number in a range; both ends belong to it."""

    low: float
    high: float

    def fault(self, value: Any) -> str | None:
        """What is wrong with a value; None for nothing."""
        if not isinstance(value, int | float) or isinstance(value, bool) or not isfinite(value):
            return "no number"
        return None if self.low <= value <= self.high else f"not from {self.low:g} to {self.high:g}"


@dataclass(frozen=True)
class Choice:
    """One of some values."""

    values: tuple[Any, ...]

    def fault(self, value: Any) -> str | None:
        """What is wrong with a value; None for nothing."""
        fits = any(type(value) is type(other) and value == other for other in self.values)
        return None if fits else f"not one of {', '.join(str(other).lower() for other in self.values)}"


@dataclass(frozen=True)
class Wholes:
    """A list of different whole numbers, at least one and at most `most`."""

    most: int

    def fault(self, value: Any) -> str | None:
        """What is wrong with a value; None for nothing."""
        if not isinstance(value, list) or any(Whole(0, 2**31 - 1).fault(each) for each in value):
            return "no list of whole numbers from 0"
        if not 1 <= len(value) <= self.most or len(set(value)) < len(value):
            return f"not 1 to {self.most} different numbers"
        return None


Kind = Whole | Real | Choice | Wholes
SWITCH = Choice((True, False))
FIT: dict[str, Kind] = {
    "epochs": Whole(1, 10_000),
    "rate": Real(1e-8, 1.0),
    "warm_up_epochs": Real(0.0, 1_000.0),
    "final_rate": Real(0.0, 1.0),
    "weight_decay": Real(0.0, 10.0),
    "clip": Real(1e-6, 1e6),
    "patience": Whole(1, 10_000),
}
KEYS: dict[str, dict[str, Kind]] = {
    "encoder": {
        "layers": Whole(1, 48),
        "heads": Choice((1, 2, 4, 8, 16, 32)),  # they share 128 dimensions
        "hidden": Whole(8, 8_192),
        "dropout": Real(0.0, 0.9),
        "pooling": Choice(("last", "mean", "attention")),
        "pool_heads": Whole(1, 64),
        "whole": Whole(0, 120),
        "minutes_per_token": Whole(1, 240),
        "phases": Whole(1, 64),
        "stem": Whole(0, 512),
        "spread": Whole(0, 512),
        "forward_weight": Real(0.0, 100.0),
        "backward_weight": Real(0.0, 100.0),
        "penalty_weight": Real(0.0, 100.0),
        "penalties": Choice(("fixed", "paper")),
        "mask_ratio": Real(0.01, 0.95),
        "by_family": Real(0.0, 1.0),
        "likelihood": SWITCH,
        "decoder": Whole(1, 1_024),
        "batch": Whole(2, 65_536),
        "sessions": Whole(2, 10_000),
        "validation_sessions": Whole(1, 1_000),
        **FIT,
    },
    "scorer": {
        "look_back": Whole(1, 250),
        "minimum_share": Real(0.0, 1.0),
        "hidden": Whole(1, 2_048),
        "layers": Whole(1, 8),
        "projection": Whole(0, 2_048),
        "dropout": Real(0.0, 0.9),
        "input_dropout": Real(0.0, 0.9),
        "fusion": Choice(("fixed", "gate", "score", "stack")),
        "weight": Real(0.0, 1.0),
        "loss": Choice(("rank_correlation", "pearson", "mean_squared_error")),
        "batch": Whole(2, 65_536),
        "seeds": Wholes(32),
        **FIT,
    },
    "label": {"horizon": Whole(1, 60)},
    "folds": {
        "train": Whole(1, 10_000),
        "least": Whole(1, 10_000),
        "validation": Whole(1, 1_000),
        "purge": Whole(1, 1_000),
        "embargo": Whole(0, 1_000),
        "refit": Whole(1, 10_000),
    },
}


@dataclass(frozen=True)
class ModelFile:
    """The choices of each section by key; empty where the preset's values hold."""

    encoder: Mapping[str, Any] = field(default_factory=dict)
    scorer: Mapping[str, Any] = field(default_factory=dict)
    label: Mapping[str, Any] = field(default_factory=dict)
    folds: Mapping[str, Any] = field(default_factory=dict)

    @property
    def horizon(self) -> int:
        """Sessions that a label's return spans."""
        return int(self.label.get("horizon", HORIZON))

    @property
    def reach(self) -> int:
        """Sessions after its own with which a label is complete, and so the least purge between folds."""
        return self.horizon + 1


NO_CHOICES = ModelFile()


def read_model_file(path: Path) -> ModelFile:
    """The choices of a TOML file. Raises UsageError for a file that is not understood; every fault is named."""
    try:
        sections = tomllib.loads(small_text(path))
    except (OSError, ValueError, RecursionError) as wrong:
        raise _refused(f"{path}: {wrong}") from None
    faults = [] if sections else ["there is no section"]
    typed = {name: _typed(name, section, faults) for name, section in sections.items()}
    if not faults:
        file = ModelFile(**typed)
        if (purge := file.folds.get("purge", file.reach)) < file.reach:
            faults.append(
                f"[folds] purge is {purge}, and a label of {file.horizon} sessions is complete after {file.reach}: "
                "a fold would learn from its own test"
            )
    if faults:
        raise _refused(f"{path}: {'; '.join(faults)}")
    return file


def chosen(config: C, choices: Mapping[str, Any]) -> C:
    """A configuration with those choices that are its fields, or fields of its `fit`; the others are not its own.

    >>> from fpm.walk_forward import FoldConfig
    >>> chosen(FoldConfig(), {"refit": 20, "look_back": 3}).refit
    20
    """
    names = {each.name for each in fields(config)}
    own = {name: value for name, value in choices.items() if name in names}
    if "fit" in names:
        fit: Any = getattr(config, "fit")  # noqa: B009  not every configuration has one
        taken = {each.name for each in fields(fit)} - names
        own["fit"] = replace(fit, **{name: value for name, value in choices.items() if name in taken})
    return replace(config, **own)


def _typed(name: str, section: Any, faults: list[str]) -> dict[str, Any]:
    """The values of one section; what is wrong with it is added to `faults`."""
    if name not in KEYS or not isinstance(section, dict):
        faults.append(f"[{name}] is no section: there are {', '.join(KEYS)}")
        return {}
    values: dict[str, Any] = {}
    for key, value in section.items():
        kind = KEYS[name].get(key)
        if kind is None:
            faults.append(f"[{name}] has the unknown key {key}")
        elif wrong := kind.fault(value):
            faults.append(f"[{name}] {key} is {shown(value)}, {wrong}")
        else:
            values[key] = _value(kind, value)
    return values


def _value(kind: Kind, value: Any) -> Any:
    convert: Callable[[Any], Any] = {Real: float, Wholes: tuple}.get(type(kind), lambda same: same)
    return convert(value)


def _refused(wrong: str) -> UsageError:
    return UsageError(
        code="FPM-CFG-093",
        wrong=f"the model file: {wrong}",
        effect="nothing was done",
        todo="write [encoder], [scorer], [label] and [folds] with the keys of docs/models.md",
    )
