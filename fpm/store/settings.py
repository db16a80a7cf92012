"""Deployment: where the state lives, which market and preset are in force, how many processes may run.

Settings come from the environment (prefix ``FPM_``) or from the caller; nothing else in the package reads it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from fpm import calendar_overrides
from fpm.errors import UsageError
from fpm.features.factor_columns import factor_columns
from fpm.sessions import MARKETS, Market
from fpm.walk_forward import PRESETS, FoldConfig

# feature_store.yaml's own places: exported by who runs the `feast` command by hand, of no meaning here
FEAST_PLACES = ("FPM_FEAST_REGISTRY", "FPM_FEAST_LAKE", "FPM_FEAST_ONLINE")


class Settings(BaseSettings):
    """One deployment.

    `market` and `preset` are remembered in the database by the first job that publishes; from then on
    another value given explicitly is refused (see `fpm.store.ledger.stores.open_stores`).
    `calendar`: a file of what the exchange announced and the calendar library lacks (`fpm.calendar_overrides`).
    `reader_url`: how readers reach the database of `database_url`, as a login of their own; without it they are the
    owner's login with the reader's rights.
    `device`, `precision` (None: bfloat16 products on a GPU), `compile`: how an encoder is trained; `training_memory`:
    gigabytes of its sessions that stay in memory, besides two stretches of them (nothing it learns depends on it).
    `factors`: what the traditional stream reads, see `fpm.features.factor_columns` (None: the preset's). `train_window`:
    a scorer learns from all sessions there are, or from the last of them, see `fpm.walk_forward`.
    `align`: a new vintage's fingerprints are stored turned into the space of the one before. `hand_over`: so many
    sessions a vintage stays online beside the one that took its place.
    `fsync=False` is for the tests' database server only: it may lose everything with the machine.
    """

    model_config = SettingsConfigDict(env_prefix="FPM_", frozen=True, extra="forbid", str_strip_whitespace=True)

    home: Path = Path(".fpm")
    market: str = "cn"
    calendar: Path | None = None
    preset: Literal["default", "demo", "short", "tiny"] = "default"
    database_url: SecretStr | None = None
    reader_url: SecretStr | None = None
    threads: int = Field(default=1, ge=1, le=256)
    workers: int = Field(default=1, ge=1, le=256)
    engine: Literal["processes", "ray"] = "processes"
    seed: int = 0
    device: Literal["cpu", "cuda"] = "cpu"
    precision: Literal["float32", "bfloat16"] | None = None
    compile: bool = False
    factors: str | None = None
    train_window: Literal["expanding", "sliding"] = "expanding"
    training_memory: float = Field(default=2.0, ge=0)
    align: bool = False
    hand_over: int = Field(default=5, ge=0, le=250)
    fsync: bool = True
    log_format: Literal["console", "json"] = "console"
    log_level: Literal["debug", "info", "warning", "error"] = "warning"

    @field_validator("market")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in MARKETS:
            raise ValueError(f"no market {name!r}; use one of {', '.join(MARKETS)}")
        return name

    @field_validator("factors")
    @classmethod
    def _columns(cls, asked: str | None) -> str | None:
        factor_columns(asked)
        return asked

    @field_validator("home", "calendar")
    @classmethod
    def _absolute(cls, path: Path | None) -> Path | None:
        """Absolute once and for all: a worker process may have another working directory."""
        return path and path.expanduser().absolute()

    @model_validator(mode="after")
    def _reader_of_what(self) -> Settings:
        if self.reader_url is not None and self.database_url is None:
            raise ValueError("FPM_READER_URL is for your own server: set FPM_DATABASE_URL, too, or leave it out")
        return self

    @property
    def venue(self) -> Market:
        """The market, with what its exchange announced. Raises UsageError for a file that is not understood."""
        if self.calendar is None:
            return MARKETS[self.market]
        return replace(MARKETS[self.market], overrides=calendar_overrides.read(self.calendar))

    @property
    def folds(self) -> FoldConfig:
        """Lengths and gaps of the folds: the preset's, the window as set."""
        return replace(PRESETS[self.preset], window=self.train_window)

    @property
    def lake(self) -> Path:
        return self.home / "lake"

    @property
    def staging(self) -> Path:
        """Outside the lake (readers glob it), on the same file system (rename must be atomic)."""
        return self.home / "staging"

    @property
    def models(self) -> Path:
        return self.home / "models"

    @property
    def quarantine(self) -> Path:
        return self.home / "quarantine"

    @property
    def reports(self) -> Path:
        return self.home / "reports"

    @property
    def pg(self) -> Path:
        return self.home / "pg"


def load_settings(given: Mapping[str, Any]) -> Settings:
    """Settings from the environment, with the values `given` on top.

    Raises UsageError for an unknown name or a value that does not fit (all of them at once); the value itself is not
    repeated, it may be a secret.
    """
    _refuse_unknown(os.environ)
    try:
        return Settings(**given)
    except ValidationError as wrong:
        said = "; ".join(
            f"FPM_{'.'.join(map(str, each['loc'])).upper()}: {each['msg'].removeprefix('Value error, ')}"
            for each in wrong.errors()
        )
        raise UsageError(
            code="FPM-CFG-001", wrong=said, effect="nothing was done", todo="correct the environment or the option"
        ) from None


def _refuse_unknown(environment: Mapping[str, str]) -> None:
    """A misspelt variable would silently leave its setting at the default."""
    known = {*(f"FPM_{name}".upper() for name in Settings.model_fields), "FPM_FAULT", *FEAST_PLACES}
    unknown = sorted(name for name in environment if name.upper().startswith("FPM_") and name.upper() not in known)
    if unknown:
        said = "; ".join(f"{name} ({_near(name.upper(), known)})" for name in unknown)
        raise UsageError(
            code="FPM-CFG-001",
            wrong=f"unknown setting {said}",
            effect="nothing was done",
            todo=f"use {', '.join(sorted(known))}",
        )


def _near(name: str, known: Iterable[str]) -> str:
    close = get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"did you mean {close[0]}?" if close else "no setting is like it"
