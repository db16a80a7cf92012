"""The state that a job sees: tables by session as known at one moment, models, settings.

A job reads and writes only through `Stores`. What it writes is collected; `fpm.store.jobs.runner` publishes it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import date
from functools import cache, cached_property
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from fpm import identities, markets
from fpm.errors import TryLater, UsageError
from fpm.features.minute_features import PRESETS, Profile
from fpm.identities import Naming
from fpm.schema import CLOCKS, FEATURES, SYMBOLS
from fpm.sessions import cut_off, require_order
from fpm.store.lake.files import Lake, empty, latest, sha256_of, table_of
from fpm.store.lake.seals import Seal, refusal
from fpm.store.ledger.ledger import Ledger
from fpm.store.ledger.models import Model, Models
from fpm.store.ledger.seals import sealed_lake
from fpm.store.places import close_to_others, require_home
from fpm.store.postgres.identity import pair, require_pair, require_same_identity
from fpm.store.postgres.migrate import bring_to_head, require_head
from fpm.store.postgres.requirements import require_sound
from fpm.store.postgres.server import ensure_server, hold_fence

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from fpm.markets import Market
    from fpm.store.settings import Settings
    from fpm.table import Table

GLANCE = 1.5  # seconds: whoever looks at a page is to know soon that the database is away


@dataclass(frozen=True)
class Output:
    """One frame that a job wrote, before it is staged."""

    table: str
    session: date
    vintage: str | None
    frame: pl.DataFrame


@dataclass(frozen=True)
class Stores:
    """Everything outside the pure code, as known at one moment (`known_at` None: all that is known).

    `vintage` is the encoder vintage that a job works for (fingerprints of an older session under a newer encoder);
    None is the one in force. `naming`: rows take the names that their companies have at its session
    (`fpm.identities`), by the table `symbols` as known at `known_at`; None: symbols as delivered.
    """

    settings: Settings
    market: Market = field(repr=False)
    lake: Lake
    ledger: Ledger
    models: Models = field(repr=False)
    known_at: datetime | None = None
    vintage: str | None = None
    naming: Naming | None = None
    outputs: list[Output] = field(default_factory=list, compare=False, repr=False)

    def as_of(self, known_at: datetime | None) -> Stores:
        """The same stores as known at another moment, without outputs."""
        return replace(self, known_at=known_at, outputs=[])

    def for_vintage(self, vintage: str | None) -> Stores:
        """The same stores for one encoder vintage, without outputs."""
        return replace(self, vintage=vintage, outputs=[])

    def named(self, session: date) -> Stores:
        """The same stores with every row under the name of its company at `session`; others are left out."""
        return replace(self, naming=Naming(session), outputs=[])

    def named_apart(self, session: date) -> Stores:
        """Like `named`, and companies without a name at `session` stay, each under a name that is no symbol."""
        return replace(self, naming=Naming(session, apart=True), outputs=[])

    def as_delivered(self) -> Stores:
        """The same stores with symbols as delivered."""
        return replace(self, naming=None, outputs=[])

    def identities(self) -> pl.DataFrame:
        """The newest snapshot of the table `symbols` that was known; without rows where there is none."""
        return self.snapshot(SYMBOLS.name)

    def snapshot(self, name: str) -> pl.DataFrame:
        """The newest snapshot of a list (symbols, restrictions) that was known; without rows where there is none.

        Rows without values were withdrawn and are left out.
        """
        table = table_of(name)
        values = [column for column in table.columns if column not in table.keys]
        for day in reversed(self.lake.sessions(name)):
            rows = latest(table, self.lake.decode(self.lake.root / self.lake.relative(name, day)), self.known_at)
            if len(rows):
                rows = self._on_day(table, day, rows).select(*table.columns)
                return rows.filter(pl.any_horizontal(pl.col(*values).is_not_null()))
        return _without_rows(name)

    def identity_moments(self) -> list[datetime]:
        """Every moment at which the table `symbols` changed, in order."""
        paths = [path for _, path in self.lake.files(SYMBOLS.name, date.min, date.max)]
        return sorted({moment for path in paths for moment in self.lake.decode(path)[CLOCKS[1]].to_list()})

    @cached_property
    def renames(self) -> pl.DataFrame:
        """Where rows belong to another name than their symbol (`identities.renames`); empty without a `naming`."""
        naming, table = self.naming, identities.NO_TABLE if self.naming is None else self.identities()
        if naming is None or table.is_empty():
            return identities.NO_RENAMES
        spans = identities.renames(table, naming.session)
        return identities.apart(spans) if naming.apart else spans

    def under_names(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Rows as delivered (session, symbol, ...) under the names of `naming`."""
        return identities.under_names(rows, self.renames)

    def sessions(self, table: str, vintage: str | None = None) -> list[date]:
        """Sessions of a table in the lake, in order; of a `by_vintage` table those of one vintage, or of any."""
        return self.lake.sessions(table, vintage or self._vintage(table))

    def _vintage(self, table: str) -> str | None:
        return self.vintage if table_of(table).by_vintage else None

    def read(
        self,
        table: str,
        first: date,
        last: date | None = None,
        *,
        columns: Sequence[str] | None = None,
        vintage: str | None = None,
        known_at: datetime | None = None,
    ) -> pl.DataFrame:
        """Rows of `table` from `first` to `last`, both inclusive, in canonical order; `last` None means one session.

        The first column is `session`. The clocks are columns if `columns` is None or names them. Each key and event
        has its latest version known at `known_at` (default: the moment of the stores). A range may be empty.
        Raises TryLater where a single session is absent, UsageError for a reversed range or an unknown table.
        """
        declared = table_of(table)
        require_order(first, last or first)
        files = self.lake.files(table, first, last or first, vintage or self._vintage(table))
        if not files and last is None:
            raise TryLater(
                code="FPM-LAKE-075",
                wrong=f"{table} has no session {first}",
                effect="nothing was read",
                todo="run the job that writes it (`fpm jobs`)",
            )
        stored = None if columns is None else [name for name in columns if name != "session"]
        needed = None if stored is None else list(dict.fromkeys((*declared.keys, *CLOCKS, *stored)))
        moment = known_at or self.known_at
        rows = [(session, latest(declared, self.lake.decode(path, needed), moment)) for session, path in files]
        if not rows:
            rows = [(first, empty(declared))]
        whole = self._on_days(declared, rows)
        if columns is None:
            return whole
        return whole.select("session", *[name for name in stored or () if name in whole.columns])

    def _on_days(self, table: Table, rows: list[tuple[date, pl.DataFrame]]) -> pl.DataFrame:
        """`_on_day` of several sessions, one below the other."""
        if self._is_renamed(table):
            return pl.concat([self._on_day(table, session, part) for session, part in rows], how="diagonal")
        counts = np.array([part.height for _, part in rows])
        days = pl.Series("session", np.repeat(np.array([session for session, _ in rows], "datetime64[D]"), counts))
        ends = np.cumsum(counts).tolist()  # in pieces like those of the other columns, which are not copied
        pieces = [days.slice(end - part.height, part.height) for end, (_, part) in zip(ends, rows, strict=True)]
        whole = pl.concat([part for _, part in rows], how="diagonal")
        return whole.clone().insert_column(0, pl.concat(pieces))  # the only part is the cache's own frame

    def _is_renamed(self, table: Table) -> bool:
        return "symbol" in table.keys and table.name != SYMBOLS.name and len(self.renames) > 0

    def _on_day(self, table: Table, session: date, rows: pl.DataFrame) -> pl.DataFrame:
        """Rows of one session with their `session`, under the names of `naming`."""
        if self._is_renamed(table):
            rows = identities.on_day(rows, session, self.renames, (*table.keys, *CLOCKS))
        return rows.select(pl.lit(session).alias("session"), pl.all())

    def read_served(self, table: str, first: date, last: date, *, columns: Sequence[str] | None = None) -> pl.DataFrame:
        """Like `read` of a range, but each session as known at its own cut-off: what was served that night.

        Whoever judges a night must read this: the latest version of an old score knows later corrections.
        """
        nights = [session for session in self.sessions(table) if first <= session <= last]
        frames = [self.read(table, day, columns=columns, known_at=cut_off(self.market, day)) for day in nights]
        return pl.concat(frames, how="diagonal") if frames else self.read(table, first, last, columns=columns)

    def write(self, table: str, session: date, frame: pl.DataFrame, *, vintage: str | None = None) -> None:
        """Hand over a table's rows of one session; nothing is visible until the whole job is published.

        `frame` has the keys and columns of the table; `session` is dropped, and the runner fills absent clocks.
        """
        self.outputs.append(
            Output(table, session, vintage or self._vintage(table), frame.drop("session", strict=False))
        )

    def model(self, kind: str, session: date) -> Model:
        """The model for a job of `session`: the encoder of `vintage` if that is set, otherwise the one in force.

        A `vector_scorer` is the one in force of those trained on `vintage`.

        Raises TryLater where there is none, StoreCorrupt where its files are damaged.
        """
        if kind == "encoder" and self.vintage:
            return self.models.load(kind, self.vintage)
        return self.models.in_force(kind, session, self.vintage if kind == "vector_scorer" else None)

    @cached_property
    def profile(self) -> Profile:
        """The feature profile in force: its name was decided at the first ingest.

        Raises TryLater before anything was ingested.
        """
        name = self.ledger.deployment().get("profile")
        if name is None:
            raise TryLater(
                code="FPM-CFG-011",
                wrong="no feature profile is decided yet",
                effect="nothing was computed",
                todo="ingest bars first: fpm ingest PATH",
            )
        return Profile(name, self.market.default_view, PRESETS[self.settings.preset])

    def decide_profile(self, name: str) -> None:
        """Decide the feature profile at the first ingest. Raises UsageError for an unknown one, or another later."""
        if name not in FEATURES:
            raise UsageError(
                code="FPM-CFG-012",
                wrong=f"unknown profile {name!r}",
                effect="nothing was done",
                todo=f"use one of {', '.join(FEATURES)}",
            )
        self.ledger.decide("profile", name)

    def verify(self, table: str, session: date, vintage: str | None = None) -> None:
        """Compare a partition with the hash the ledger recorded. Raises StoreCorrupt, or TryLater if not published."""
        relative = self.lake.relative(table, session, vintage or self._vintage(table))
        recorded = self.ledger.current([table]).get(relative)
        if recorded is None:
            raise TryLater(
                code="FPM-LAKE-076",
                wrong=f"{relative} is not published",
                effect="nothing was compared",
                todo="run the job that writes it",
            )
        path = self.lake.root / relative
        actual = sha256_of(path) if path.is_file() else None
        if actual != recorded.sha256:
            raise refusal(path, Seal(recorded.sha256), actual, "nothing was changed")


@cache
def _without_rows(name: str) -> pl.DataFrame:
    """The declared columns of a table, without rows."""
    return empty(table_of(name)).select(*table_of(name).columns)


def _require_same_hours(market: Market, ledger: Ledger) -> None:
    """Raises UsageError where the calendar's ordinary hours are no longer those of the stored grid."""
    before = ledger.deployment().get("hours", market.hours)
    if before != market.hours:
        raise UsageError(
            code="FPM-CFG-016",
            wrong=f"market {market.name} trades {market.hours} by this calendar, the home's grid was made for {before}",
            effect="nothing was done",
            todo="keep the version of exchange_calendars that made it, or make a new home",
        )


def open_stores(settings: Settings, *, upgrade: bool = False) -> Stores:
    """Start or find the database, migrate it, and open everything below `settings.home`.

    A home of an older version is migrated only with `upgrade`.

    The home's market and preset are in force; raises UsageError where the settings name others explicitly, and where
    the database is another home's or an empty one (`fpm.store.postgres.identity`).
    """
    if settings.preset not in PRESETS:
        raise UsageError(
            code="FPM-CFG-013",
            wrong=f"unknown preset {settings.preset!r}",
            effect="nothing was done",
            todo=f"use one of {', '.join(PRESETS)}",
        )
    require_home(settings)
    close_to_others(settings)
    server = ensure_server(settings)
    require_sound(server, fsync=settings.fsync)
    paired = require_pair(settings, server)
    bring_to_head(settings, server, upgrade=upgrade)
    if not paired:
        pair(settings, server)
    hold_fence(settings, server)
    ledger = Ledger(server.dsn)
    settings = _decided(settings, ledger)
    market = settings.venue
    _require_same_hours(market, ledger)
    lake = sealed_lake(settings.lake, settings.staging, ledger)
    return Stores(settings, market, lake, ledger, Models(settings.models, settings.staging, ledger, market))


def open_for_reading(settings: Settings) -> Stores:
    """Open a home that is there and change nothing in it: every session of the database only reads.

    Raises UsageError where there is no home, where the database is another home's, or of another version.
    """
    if not (settings.pg / "data" / "PG_VERSION" if settings.database_url is None else settings.home).exists():
        raise UsageError(
            code="FPM-PAGE-001",
            wrong=f"there is no home in {settings.home}",
            effect="nothing was opened",
            todo="set FPM_HOME to the home's folder, or make one: fpm setup",
        )
    server = ensure_server(settings)
    require_same_identity(settings, server)
    require_head(server)
    opening = Ledger(server.dsn)
    try:
        settings = _decided(settings, opening)
    finally:
        opening.close()
    market, ledger = settings.venue, Ledger(server.read_only().dsn, GLANCE)
    _require_same_hours(market, ledger)
    lake = sealed_lake(settings.lake, settings.staging, ledger)
    return Stores(settings, market, lake, ledger, Models(settings.models, settings.staging, ledger, market))


def _decided(settings: Settings, ledger: Ledger) -> Settings:
    """The settings with the home's market and preset; an exchange without a bar length means the home's."""
    decided = ledger.deployment()
    for key in ("market", "preset"):
        own = getattr(settings, key)
        if key in decided and key in settings.model_fields_set and own != markets.exchange_name(decided[key]):
            ledger.decide(key, own)
    return settings.model_copy(update={key: decided[key] for key in ("market", "preset") if key in decided})
