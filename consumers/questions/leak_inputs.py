"""What the leak suite recomputes: a session's inputs in memory, with the sessions that follow it.

The formulas are those of the night: `consumers.derivation` derives the sample, and the scorer in force then scores the
market. They read through `InMemoryStores`, so the suite decides which future they see.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

import polars as pl

from consumers.derivation import derivation, sample
from consumers.publish import served_models, standing
from fpm.errors import InputRefused
from fpm.features.daily_factors import HISTORY
from fpm.leaks.records import FirstCopy
from fpm.nn.checkpoint import from_bytes
from fpm.nn.scorer import streams
from fpm.nn.scorer.panel import panel
from fpm.schema import CLOCKS, TABLES
from fpm.sessions import UTC, cut_off, next_sessions, previous_sessions, sessions_between
from fpm.store.lake.files import canonical, parse
from fpm.store.ledger.stores import Stores

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from fpm.leaks.checks import Frames

SAMPLED = ("minute_bars", "session_totals")  # read for the sample's symbols only
LAST = datetime(9999, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class InMemoryStores(Stores):
    """Stores whose tables are frames (with their session) in memory; models and settings are those of the home.

    The frames are under the names of the session that is computed.
    """

    frames: Mapping[str, pl.DataFrame] = field(default_factory=dict, compare=False, repr=False)

    def read(
        self,
        table: str,
        first: date,
        last: date | None = None,
        *,
        columns: Sequence[str] | None = None,
        vintage: str | None = None,  # noqa: ARG002 - the signature of Stores.read
        known_at: datetime | None = None,  # noqa: ARG002 - likewise
    ) -> pl.DataFrame:
        """Rows of the frame from `first` to `last`; the frames decide what was known, not `known_at`."""
        rows = self.frames[table].filter(pl.col("session").is_between(first, last or first))
        return rows if columns is None else rows.select(*dict.fromkeys(("session", *columns)))


@dataclass(frozen=True)
class SampledSession:
    """One session of the sample: its stored rows as known at its cut-off, and how to compute them again."""

    session: date
    symbols: tuple[str, ...]
    vintage: str
    model: str
    stores: Stores

    @cached_property
    def inputs(self) -> Frames:
        """Input tables: up to the session as known at its cut-off, later sessions as known now."""
        constants = self.stores.profile.constants
        back = {
            "minute_bars": constants.history,
            "daily_bars": max(HISTORY, self.look_back),
            "session_totals": constants.window,
            "fingerprints": self.look_back,
            "daily_factors": self.look_back,
        }
        return {table: self._around(table, count) for table, count in back.items()}

    @property
    def first(self) -> date:
        """The first session of the scorer's look-back."""
        return previous_sessions(self.stores.market, self.session, self.look_back)[0]

    @property
    def look_back(self) -> int:
        """Sessions before this one that the scorer reads."""
        return int(self._manifest["config"]["look_back"]) - 1

    @cached_property
    def stored(self) -> Frames:
        """Stored rows of every derived table: the sample's symbols, or the whole market for scores."""
        tables = ("session_totals", "minute_features", "fingerprints", "daily_factors", "scores")
        rows = {table: standing(table, self._known(table, self.session)) for table in tables}
        sample = pl.col("symbol").is_in(self.symbols)
        return {table: flat(stored if table == "scores" else stored.filter(sample)) for table, stored in rows.items()}

    def derived(self, inputs: Frames) -> Iterator[tuple[str, pl.DataFrame]]:
        """The same tables computed from `inputs`, in the stored types."""
        yield from self.minutes(inputs)
        yield "scores", self._typed("scores", self.scores(inputs))

    def minutes(self, inputs: Frames) -> Iterator[tuple[str, pl.DataFrame]]:
        """The tables derived from minutes, for the sample's symbols."""
        home = self.stores
        stores = InMemoryStores(home.settings, home.market, home.lake, home.ledger, home.models, frames=inputs)
        for table, rows in derivation(self.session, list(self.symbols), self.vintage, stores):
            yield table, self._typed(table, rows)

    def scores(self, inputs: Frames) -> pl.DataFrame:
        """Scores of the whole market; the panel reaches as far into the future as the inputs do."""
        keys = ["session", "symbol"]
        frame = inputs["fingerprints"].join(inputs["daily_bars"], on=keys).join(inputs["daily_factors"], on=keys)
        days = sessions_between(self.stores.market, self.first, max([self.session, *frame["session"].to_list()]))
        trained = streams.restore(self._manifest["config"], self._weights)
        scored, _ = streams.scores(trained, panel(frame, days, trained.config.factors), self.session)
        return scored.with_columns(vintage=pl.lit(self.vintage), model=pl.lit(self.model))

    @cached_property
    def _manifest(self) -> dict[str, Any]:
        return self.stores.models.load("scorer", self.model).manifest

    @cached_property
    def _weights(self) -> Mapping[str, Any]:
        return from_bytes(self.stores.models.load("scorer", self.model).files()["weights.safetensors"])

    def _typed(self, table: str, rows: pl.DataFrame) -> pl.DataFrame:
        typed = self.stored[table]
        return flat(rows.with_columns(session=pl.lit(self.session))).select(typed.columns).cast(typed.schema)

    def _known(self, table: str, session: date) -> pl.DataFrame:
        known_at = cut_off(self.stores.market, self.session) if session <= self.session else LAST
        vintage = self.vintage if TABLES[table].by_vintage else None
        past = self.stores.as_of(cut_off(self.stores.market, self.session)).named(self.session)
        return past.read(table, session, session, vintage=vintage, known_at=known_at)

    def _around(self, table: str, back: int) -> pl.DataFrame:
        """Rows from `back` sessions before to where a label reaches, read one by one: a market of minutes is large."""
        market = self.stores.market
        days = [*previous_sessions(market, self.session, back), self.session]
        days += next_sessions(market, self.session, self.stores.settings.model_choices.reach)
        sample = pl.col("symbol").is_in(self.symbols) if table in SAMPLED else pl.lit(True)
        rows = [standing(table, self._known(table, day)).filter(sample).drop(CLOCKS) for day in days]
        return pl.concat(rows, how="diagonal")


def sampled_session(session: date, symbols: int, stores: Stores) -> SampledSession:
    """A session with a sample of its symbols, as served. Raises TryLater where it was not scored."""
    then = stores.as_of(cut_off(stores.market, session))
    vintage, model = served_models(session, then)
    return SampledSession(session, tuple(sample(session, then, symbols)), vintage, model, stores.as_of(None))


def first_copies(stores: Stores) -> list[FirstCopy]:
    """The first file of every session of every raw table, as the ledger recorded it."""
    copies = []
    for file, began, note in stores.ledger.first_files("bars"):
        table, _, session = parse(file.path)
        if file.knowledge:
            copies.append(FirstCopy(table, session, min(file.knowledge), began, note))
    return copies


def first_known(rows: pl.DataFrame) -> dict[date, datetime]:
    """From when the first row of each session is known."""
    return dict(rows.group_by("session").agg(pl.col("created_timestamp").min()).rows())


def flat(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows without clocks, a vector as one column a dimension: fingerprint_0, fingerprint_1 and so on."""
    rows = rows.drop(CLOCKS, strict=False)
    if "fingerprint" not in rows.columns:
        return rows
    width = len(rows["fingerprint"][0]) if len(rows) else 0
    names = [f"fingerprint_{dimension}" for dimension in range(width)]
    split = pl.col("fingerprint").cast(pl.Array(pl.Float32, width)).arr.to_struct(fields=names)
    return rows.with_columns(split).unnest("fingerprint")


def refuses_duplicates(table: str, rows: pl.DataFrame) -> bool:
    """Whether the store refuses the same rows twice."""
    try:
        canonical(TABLES[table], _with_all_columns(table, pl.concat([rows, rows])))
    except InputRefused:
        return True
    return False


def _with_all_columns(table: str, rows: pl.DataFrame) -> pl.DataFrame:
    absent = [name for name in TABLES[table].columns if name not in rows.columns]
    return rows.drop("session").with_columns(pl.lit(None).alias(name) for name in absent)
