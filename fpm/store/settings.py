"""The deployment: where the state lives, which market and preset are in force, how many processes may run.

Settings come from the environment (prefix ``FPM_``) or from the caller; nothing else in the package reads it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from fpm import calendar_overrides, markets, minisign, retention
from fpm.errors import UsageError
from fpm.exchange_facts import read_exchanges, shipped
from fpm.features.factor_columns import factor_columns
from fpm.markets import Market
from fpm.model_file import NO_CHOICES, ModelFile, chosen, read_model_file
from fpm.schema import STREAM_NAME
from fpm.store import variables
from fpm.store.addresses import database_address, require_verified, secrets_of
from fpm.store.channels import web_address, without_user
from fpm.store.references import referenced, user_path
from fpm.walk_forward import PRESETS, FoldConfig

# libpq would heed them, and moments would come back from the database in a user's zone and spelling
UNHEEDED = ("PGTZ", "PGDATESTYLE")


class Settings(BaseSettings):
    """One deployment.

    The first job that publishes records `market` and `preset` in the database; from then on an explicit other value is
    refused (see `fpm.store.ledger.stores.open_stores`).
    """

    model_config = SettingsConfigDict(
        env_prefix="FPM_", frozen=True, extra="forbid", str_strip_whitespace=True, hide_input_in_errors=True
    )

    home: Path = Field(default=Path(".fpm"), description="folder of the whole state")
    market: str = Field(
        default="cn",
        description="an exchange (cn, us, nse, crypto, or one of `FPM_MARKETS`) or a calendar of exchange_calendars, "
        "followed by the minutes of a bar where it is not one: cn15, XHKG5; the home remembers it",
    )
    markets: Path | None = Field(default=None, description="TOML file of your own exchanges, see docs/markets.md")
    mandate: Path | None = Field(
        default=None, description="TOML file of the portfolios' bounds, costs and capital, see docs/portfolios.md"
    )
    stream: str | None = Field(
        default=None,
        pattern=STREAM_NAME,
        description="stream of scores that portfolios and the risk model's score factor use, one of ours or an "
        "ingested one; default: the mandate's, else dual",
    )
    calendar: Path | None = Field(
        default=None,
        description="file of exchange announcements that the calendar library lacks (fpm/calendar_overrides.py)",
    )
    preset: Literal["default", "demo", "short", "tiny"] = Field(
        default="default", description="sizes of features, models and folds; the home remembers it"
    )
    model: Path | None = Field(
        default=None,
        description="TOML file of choices for encoder, scorer, label and folds beside the preset's, see docs/models.md",
    )
    looks: Path | None = Field(
        default=None,
        description="CSV of looks at a market in other homes, date,market,setting,what: a setting is one more trial",
    )
    inbox: Path | None = Field(
        default=None,
        description="folder in which deliveries appear; `fpm schedule` and `fpm inbox` ingest what is complete there "
        "and move it to `taken` or `refused` below, with a report",
    )
    delivery_key: str | None = Field(
        default=None,
        description="public key of minisign (RW...), or `file:PATH` of its .pub file: every delivery must be a folder "
        "with SHA256SUMS and SHA256SUMS.minisig by this key, or it is refused whole; default: none is asked for",
    )
    allow_unverified_database: bool = Field(
        default=False,
        description="1 allows a database beyond this machine without `sslmode=verify-full`: whoever sits between can "
        "read and change everything",
    )
    database_url: SecretStr | None = Field(
        default=None,
        description="your own Postgres with pgvector, or `file:PATH` of its URL; default: the embedded server",
    )
    reader_url: SecretStr | None = Field(
        default=None,
        description="the reader's own login there, or its `file:PATH`; default: the owner's, with a reader's rights",
    )
    threads: int = Field(default=1, ge=1, le=256, description="threads of Polars and numeric libraries in a process")
    workers: int = Field(default=1, ge=1, le=256, description="processes, or model threads; only the caller publishes")
    engine: Literal["processes", "ray"] = Field(
        default="processes", description="where workers run: local processes, or a Ray cluster (extra `ray`)"
    )
    seed: int = Field(default=0, ge=0, lt=1 << 31, description="added to the seeds of models and samples")
    device: Literal["cpu", "cuda"] = Field(default="cpu", description="device on which models are trained")
    precision: Literal["float32", "bfloat16"] | None = Field(
        default=None, description="precision of the products in a training; default: bfloat16 on a GPU, else float32"
    )
    compile: bool = Field(default=False, description="compile the encoder's blocks for its training")
    factors: str | None = Field(
        default=None,
        description="columns of the traditional stream: classic, alpha158, all, or names of daily_factors; "
        "default: the preset's",
    )
    train_window: Literal["expanding", "sliding"] = Field(
        default="expanding", description="sessions that a scorer learns from: all, or the last ones only"
    )
    training_memory: float = Field(
        default=2.0,
        ge=0,
        allow_inf_nan=False,
        description="gigabytes of an encoder's sessions that stay in memory; the result does not depend on it",
    )
    align: bool = Field(default=False, description="store a new vintage's fingerprints in the space of the one before")
    hand_over: int = Field(default=5, ge=0, le=250, description="sessions for which a former vintage stays online")
    intraday_latency: int = Field(
        default=60, ge=0, le=3600, description="seconds after a minute from which `fpm intraday` counts it as known"
    )
    online_history: int = Field(
        default=500,
        ge=0,
        le=5000,
        description="sessions whose scores and weights stay readable online, in serving.score_history and "
        "serving.weight_history; a session of 5,300 stocks takes about 3 MB; 0: none",
    )
    corrections_back: int = Field(
        default=20,
        ge=1,
        le=250,
        description="sessions that the night looks back: what rests on a correction within them is computed again",
    )
    disk_days: float = Field(
        default=30.0,
        ge=0,
        le=3650,
        description="`fpm status` is red below so many days until the disk is full, at the last sessions' rate",
    )
    retention: str | None = Field(
        default=None,
        description="sessions that `fpm retention` keeps of a table of minutes, e.g. minute_bars=500, "
        "minute_features=1500; default: all of them",
    )
    night_hours: float = Field(
        default=6.0, ge=0, le=72, description="hours after a session's cut-off from which an unfinished night is red"
    )
    fsync: bool = Field(default=True, description="0 only for a test's database server: it can lose everything")
    alert_url: SecretStr | None = Field(
        default=None,
        description="webhook that is told by POST when a night turns red and when it recovers, or `file:PATH`",
    )
    alert_command: str | None = Field(
        default=None, description="command that is told the same as JSON on its standard input; no shell, 10 s"
    )
    webhook: SecretStr | None = Field(
        default=None,
        description="webhook that gets every publication by POST after its commit, at least once and in order, or "
        "`file:PATH` (docs/consumers.md)",
    )
    webhook_secret: SecretStr | None = Field(
        default=None, description="key of the HMAC-SHA-256 in the header X-FPM-Signature, or `file:PATH`"
    )
    lineage: SecretStr | None = Field(
        default=None,
        description="where finished attempts go as OpenLineage events: a file of JSON lines, or a server's address",
    )
    log_format: Literal["console", "json"] = Field(
        default="console", description="text for people or JSON for machines"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="warning", description="least level of the log"
    )

    @field_validator("*", mode="before")
    @classmethod
    def _address_in_its_place(cls, value: object, field: ValidationInfo) -> object:
        """An address in another setting would be shown with its password: as a folder, or as an unknown name."""
        if isinstance(value, str) and "://" in value and field.field_name not in cls.secret_names():
            raise ValueError("it is an address, which may hold a password: this setting takes none")
        return value

    @field_validator("market")
    @classmethod
    def _existing_market(cls, name: str) -> str:
        if not markets.NAME.fullmatch(name):
            raise ValueError(f"no market {name!r}; use one of {', '.join(shipped())}, or a calendar's name")
        return name

    @model_validator(mode="after")
    def _existing_exchange(self) -> Settings:
        own = read_exchanges(self.markets) if self.markets else {}
        if markets.exchange_of(markets.exchange_name(self.market), own) is None:
            raise ValueError(f"no market {self.market!r}; use one of {', '.join((*own, *shipped()))}, or a calendar")
        return self

    @field_validator("factors")
    @classmethod
    def _existing_factors(cls, factors: str | None) -> str | None:
        factor_columns(factors)
        return factors

    @field_validator("delivery_key")
    @classmethod
    def _readable_key(cls, text: str | None) -> str | None:
        """A key that is there and cannot be read must never mean that none is asked for."""
        key = referenced(text) if text else None
        return key if key is None or minisign.public_key(key) else None

    @field_validator("retention")
    @classmethod
    def _existing_tables(cls, text: str | None) -> str | None:
        return text if text and retention.policy(text) else None

    @field_validator("stream", mode="before")
    @classmethod
    def _no_stream(cls, name: object) -> object:
        """An empty variable names no stream."""
        return name or None

    @field_validator("inbox", mode="before")
    @classmethod
    def _no_inbox(cls, path: object) -> object:
        """An empty variable is no inbox: as a path it would be the working directory, whose files would be moved."""
        return path or None

    @field_validator("database_url", "reader_url")
    @classmethod
    def _connection(cls, secret: SecretStr | None, fields: ValidationInfo) -> SecretStr | None:
        """An address that libpq understands, perhaps from a file; the refusal repeats nothing of it."""
        if secret is None:
            return None
        address = database_address(referenced(secret.get_secret_value().strip()))
        if not fields.data.get("allow_unverified_database"):
            require_verified(address)
        return SecretStr(address)

    @field_validator("alert_url", "webhook")
    @classmethod
    def _webhook(cls, secret: SecretStr | None) -> SecretStr | None:
        """An address of a webhook, perhaps from a file; an empty variable is none."""
        text = "" if secret is None else secret.get_secret_value().strip()
        return SecretStr(without_user(web_address(referenced(text)))) if text else None

    @field_validator("webhook_secret")
    @classmethod
    def _key(cls, secret: SecretStr | None) -> SecretStr | None:
        text = "" if secret is None else referenced(secret.get_secret_value().strip())
        return SecretStr(text) if text else None

    @field_validator("lineage")
    @classmethod
    def _lineage_target(cls, secret: SecretStr | None) -> SecretStr | None:
        """A server's address, perhaps from a file, or the path of a file; an empty variable is none."""
        text = "" if secret is None else referenced(secret.get_secret_value().strip())
        target = web_address(text) if "://" in text else str(user_path(Path(text)).absolute())
        return SecretStr(target) if text else None

    @field_validator("home", "calendar", "markets", "mandate", "model", "looks", "inbox")
    @classmethod
    def _absolute(cls, path: Path | None) -> Path | None:
        """Absolute from the start: a worker process may have another working directory."""
        return path and user_path(path).absolute()

    @model_validator(mode="after")
    def _readable_model_file(self) -> Settings:
        """A model file that is not understood is refused before anything begins."""
        _ = self.model_choices
        return self

    @model_validator(mode="after")
    def _reader_of_own_server(self) -> Settings:
        if self.reader_url is not None and self.database_url is None:
            raise ValueError("FPM_READER_URL is for your own server: set FPM_DATABASE_URL, too, or leave it out")
        return self

    @model_validator(mode="after")
    def _cluster_with_own_server(self) -> Settings:
        if self.engine == "ray" and self.database_url is None:
            raise ValueError("FPM_ENGINE=ray wants FPM_DATABASE_URL: no other host reaches the embedded server")
        return self

    @model_validator(mode="after")
    def _inbox_apart(self) -> Settings:
        """What lies in the inbox is ingested and moved: never the state itself."""
        own = [self.lake, self.staging, self.models, self.quarantine, self.reports, self.pg]
        if self.inbox is not None and (
            self.home.is_relative_to(self.inbox) or any(self.inbox.is_relative_to(folder) for folder in own)
        ):
            raise ValueError(f"{self.inbox} holds the home {self.home} or is a folder of its state: use one of its own")
        return self

    @classmethod
    def secret_names(cls) -> tuple[str, ...]:
        """The settings that hold a secret."""
        return tuple(name for name, field in cls.model_fields.items() if SecretStr in get_args(field.annotation))

    @property
    def secrets(self) -> tuple[str, ...]:
        """What no text for others may hold: secret settings, and the passwords in those that are addresses."""
        values = [getattr(self, name) for name in self.secret_names()]
        texts = [value.get_secret_value() for value in values if value]
        return tuple(part for text in texts if not text.startswith("/") for part in secrets_of(text))  # a path is none

    @property
    def venue(self) -> Market:
        """The market with the sessions of `calendar`. Raises UsageError for a file that cannot be read as one."""
        named = markets.named(self.market, read_exchanges(self.markets) if self.markets else {})
        if self.calendar is None:
            return named
        overrides = calendar_overrides.read(self.calendar)
        return replace(named, overrides=calendar_overrides.within(overrides, named.segments))

    @property
    def folds(self) -> FoldConfig:
        """Lengths and gaps of the folds: those of preset and model file, with `train_window`.

        Where the file says nothing of the purge, it is as long as a label reaches, and never shorter than the preset's.
        """
        preset, choices = PRESETS[self.preset], self.model_choices
        purge = max(preset.purge, choices.reach)
        return chosen(replace(preset, window=self.train_window, purge=purge), choices.folds)

    @cached_property
    def model_choices(self) -> ModelFile:
        """What the model file chooses. Read once: settings do not change under a process or its workers."""
        return read_model_file(self.model) if self.model else NO_CHOICES

    @property
    def signing_key(self) -> minisign.PublicKey | None:
        """The key by which every delivery must be signed."""
        return minisign.public_key(self.delivery_key) if self.delivery_key is not None else None

    @property
    def kept_sessions(self) -> dict[str, int]:
        """How many sessions of a table stay, by table; the others keep all."""
        return retention.policy(self.retention) if self.retention else {}

    @property
    def lake(self) -> Path:
        """Folder of the partitions."""
        return self.home / "lake"

    @property
    def staging(self) -> Path:
        """Folder of unpublished files: outside the lake, which readers glob; on its file system, for atomic renames."""
        return self.home / "staging"

    @property
    def models(self) -> Path:
        """Folder of the trained models."""
        return self.home / "models"

    @property
    def quarantine(self) -> Path:
        """Folder of refused rows and files."""
        return self.home / "quarantine"

    @property
    def reports(self) -> Path:
        """Folder of the written pages."""
        return self.home / "reports"

    @property
    def pg(self) -> Path:
        """Folder of the embedded server."""
        return self.home / "pg"


def load_settings(options: Mapping[str, Any]) -> Settings:
    """Settings from the environment; values in `options` come before it.

    Raises UsageError for an unknown name or for values that do not fit, all at once. The message repeats no value: it
    may be a secret.
    """
    variables.require_known(os.environ, Settings.model_fields)
    for name in UNHEEDED:
        os.environ.pop(name, None)
    try:
        return Settings(**options)
    except ValidationError as wrong:
        faults = [
            f"FPM_{'.'.join(map(str, error['loc'])).upper()}: {error['msg'].removeprefix('Value error, ')}"
            for error in wrong.errors(include_input=False, include_context=False)
        ]
    raise UsageError(  # after the block: the error of pydantic holds every value, and would be its context
        code="FPM-CFG-001",
        wrong="; ".join(faults),
        effect="nothing was done",
        todo="correct the environment or the option",
    )
