"""Deployment: where the state lives, which market and preset are in force, how many processes may run.

Settings come from the environment (prefix ``FPM_``) or from the caller; nothing else in the package reads it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from fpm.errors import UsageError


class Settings(BaseSettings):
    """One deployment.

    `market` and `preset` are remembered in the database by the first job that publishes; from then on
    another value given explicitly is refused (see `fpm.store.stores.open_stores`).
    `fsync=False` is for the tests' database server only: it may lose everything with the machine.
    """

    model_config = SettingsConfigDict(env_prefix="FPM_", frozen=True, extra="forbid", str_strip_whitespace=True)

    home: Path = Path(".fpm")
    market: str = "cn"
    preset: str = "default"
    database_url: SecretStr | None = None
    threads: int = Field(default=1, ge=1, le=256)
    workers: int = Field(default=1, ge=1, le=256)
    seed: int = 0
    fsync: bool = True
    log_format: Literal["console", "json"] = "console"
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @field_validator("home")
    @classmethod
    def _absolute(cls, home: Path) -> Path:
        """Absolute once and for all: a worker process may have another working directory."""
        return home.expanduser().absolute()

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

    Raises UsageError where a value does not fit; the value itself is not repeated, it may be a secret.
    """
    try:
        return Settings(**given)
    except ValidationError as wrong:
        said = "; ".join(f"FPM_{'.'.join(map(str, each['loc'])).upper()}: {each['msg']}" for each in wrong.errors())
        raise UsageError("FPM-CFG-001", said, "nothing was done", "correct the environment or the option") from None
