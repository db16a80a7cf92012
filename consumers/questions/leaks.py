"""The leak suite on a home's own tables: does anything that was stored, served or trained know its future?

Values are recomputed for a sample of sessions and symbols while later inputs are cut off or distorted; clocks, births,
folds and symbols are read for every scored session of the range. Nothing is written. Each check passes, or names the
first column and session. The last check plants leaks of its own: a suite that misses them reports itself broken.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from consumers.questions import leak_inputs, leak_running, leak_vectors
from consumers.streams import outside_vintages, served_beside
from fpm.errors import TryLater
from fpm.features.labels import labels
from fpm.first_copies import NOTES
from fpm.leaks import records as leak_records
from fpm.leaks import scores as leak_scores
from fpm.leaks.checks import (
    DUPLICATES,
    PERTURBATION,
    ROWS,
    TRUNCATION,
    Finding,
    Frames,
    difference,
    disturbances,
    future_leak,
)
from fpm.schema import CLOCKS, DAILY_FACTORS, STREAMS, TABLES
from fpm.sessions import cut_off, last_slot, next_sessions, sessions_between
from fpm.store.lake.files import parse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from consumers.questions.leak_inputs import SampledSession
    from fpm.progress import Progress
    from fpm.store.ledger.stores import Stores

PLANTED, MINUTES = "planted future", "later minutes"
CHECKED = (  # every session
    *("daily_bars", "daily_factors", "fingerprints", "labels", "scores", "session_totals"),
    *("vectors", "vector_scores"),
)
LARGE = ("minute_bars", "minute_features")  # sampled sessions
RESTS_ON = {  # table -> its inputs: a row is known no earlier than its inputs of the same session
    "session_totals": ("minute_bars", "daily_bars"),
    "minute_features": ("session_totals",),
    "fingerprints": ("minute_features",),
    "daily_factors": ("daily_bars",),
    "scores": ("fingerprints", "daily_factors"),
    "labels": ("daily_bars",),
    "vector_scores": ("vectors", "daily_factors"),
}
Moments = dict[date, datetime]


@dataclass(frozen=True)
class Width:
    """How much is recomputed: the number of scored sessions, and of symbols in each."""

    sessions: int = 2
    symbols: int = 5


@dataclass(frozen=True)
class Answer:
    """One check and its first finding, if any."""

    check: str
    finding: Finding | None

    def to_dict(self) -> dict[str, Any]:
        """As a JSON document."""
        if self.finding is None:
            return {"check": self.check, "answer": "pass"}
        return {
            "check": self.check,
            "answer": "failed",
            "column": self.finding.column,
            "session": str(self.finding.session),
            "what": self.finding.explanation,
        }


def run(span: tuple[date | None, date | None], width: Width, stores: Stores, progress: Progress) -> list[Answer]:
    """Run every check on the scored sessions of `span` (None: no bound), in order.

    Raises TryLater where no session of the span was scored, or none is followed by enough sessions of bars.
    """
    home = Home(stores, _scored(span, stores), width)
    checks = home.checks()
    answers = []
    for number, (name, check) in enumerate(checks.items()):
        progress(number, len(checks), name)
        answers.append(Answer(name, next(filter(None, check()), None)))
    progress(len(checks), len(checks), "done")
    return answers


def _scored(span: tuple[date | None, date | None], stores: Stores) -> tuple[date, ...]:
    first, last = (span[0] or date.min), (span[1] or date.max)
    scored = tuple(session for session in stores.sessions("scores") if first <= session <= last)
    bars = stores.sessions("daily_bars")
    reach = stores.settings.model_choices.reach
    if not scored or not bars or len([day for day in bars if day > scored[0]]) < reach:
        raise TryLater(
            code="FPM-LEAK-075",
            wrong=f"no scored session is followed by {reach} sessions of bars",
            effect="nothing was checked",
            todo="run fpm walk-forward over sessions that lie far enough back, or widen --first and --last",
        )
    return scored


@dataclass(frozen=True)
class Home:
    """The tables of one home over its scored sessions; a check yields a finding, or None for each thing that passes."""

    stores: Stores
    scored: tuple[date, ...]
    width: Width

    def checks(self) -> Mapping[str, Callable[[], Iterator[Finding | None]]]:
        """Every check by name, in order."""
        return {
            TRUNCATION: lambda: self.values(TRUNCATION),
            PERTURBATION: lambda: self.values(PERTURBATION),
            MINUTES: self.minutes,
            leak_scores.LABELS: self.label_windows,
            leak_scores.SHUFFLED: self.shuffled_labels,
            leak_scores.SHIFTED: self.shifted_calendar,
            DUPLICATES: self.duplicates,
            leak_records.CLOCK: self.clocks,
            leak_records.OVERLAP: self.folds,
            leak_records.VINTAGES: self.vintages,
            leak_records.SURVIVORS: self.survivors,
            leak_running.RUNNING: lambda: leak_running.findings(
                (self.scored[0], self.scored[-1]), self.width.sessions, self.stores
            ),
            PLANTED: self.planted,
        }

    # --- values ----------------------------------------------------------------------------------------------------
    @property
    def reach(self) -> int:
        """Sessions after its own with which a label is complete."""
        return self.stores.settings.model_choices.reach

    @cached_property
    def sample(self) -> tuple[SampledSession, ...]:
        """Scored sessions spread over the span, each followed by enough sessions, earliest first."""
        bars = self.stores.sessions("daily_bars")
        on_time = set(self._scores["session"].to_list())  # a night without its bars served nothing
        usable = [day for day in self.scored if day <= bars[-self.reach - 1] and day in on_time]
        count = min(self.width.sessions, len(usable))
        positions = sorted({round(position) for position in np.linspace(0, len(usable) - 1, count)})
        return tuple(leak_inputs.sampled_session(usable[i], self.width.symbols, self.stores) for i in positions)

    def values(self, check: str) -> Iterator[Finding | None]:
        """Stored values of every derived table follow from the past alone, bit for bit."""
        for day in self.sample:
            changed = dict(disturbances(day.inputs, "session", day.session))[check]
            for table, rows in day.derived(changed):
                yield difference(check, table, day.stored[table], rows, "session")
            yield from leak_vectors.values(check, day.session, self.stores)

    def minutes(self) -> Iterator[Finding | None]:
        """Minute features up to a minute do not move with the minutes after it."""
        for day in self.sample:
            today = pl.col("session") == day.session
            bars, view = day.inputs["minute_bars"], self.stores.market.views[self.stores.profile.view]
            for slot in _cuts(last_slot(self.stores.market, day.session)):
                for _, changed in disturbances({"bars": bars.filter(today)}, "slot", slot):
                    inputs = {**day.inputs, "minute_bars": pl.concat([bars.filter(~today), changed["bars"]])}
                    rows = dict(day.minutes(inputs))["minute_features"]
                    earlier = pl.col("slot") <= view[slot]
                    expected = day.stored["minute_features"].filter(earlier)
                    yield difference(MINUTES, "minute_features", expected, rows.filter(earlier), "session")

    # --- labels and scores -----------------------------------------------------------------------------------------
    def label_windows(self) -> Iterator[Finding | None]:
        """Stored labels rest on their two closes alone: of t + 1, and of the session that completes them."""
        for day in self.sample:
            window = next_sessions(self.stores.market, day.session, self.reach)
            known_at = self._earliest("labels", day.session, self._daily_known)
            past = self.stores.as_of(known_at).named(day.session)
            daily = past.read("daily_bars", day.session, window[-1]).drop(CLOCKS)
            rows = self.stores.read("labels", day.session, day.session, known_at=known_at).drop(CLOCKS)

            def label(frames: Frames, day: SampledSession = day, window: list[date] = window) -> pl.DataFrame:
                return labels(frames["daily_bars"], day.session, (window[0], window[-1])).with_columns(
                    session=pl.lit(day.session)
                )

            again = label({"daily_bars": daily}).select(rows.columns)
            yield difference(leak_scores.LABELS, "labels", rows, again, "session")
            yield leak_scores.label_window(label, daily, day.session, window)

    def shuffled_labels(self) -> Iterator[Finding | None]:
        """No factor, no stream and no scorer trained anew may predict shuffled labels."""
        for column, scores in self._columns():
            yield leak_scores.shuffled_labels(column, partial(_ignoring_labels, scores), self._labels)
        ridge = self._ridge()
        if ridge:
            yield leak_scores.shuffled_labels("a ridge trained in the folds", ridge, self._labels)

    def shifted_calendar(self) -> Iterator[Finding | None]:
        """No factor and no stream is implausibly close to the return of one later session."""
        for column, scores in self._columns():
            yield leak_scores.shifted_calendar(column, scores, self._closes)

    def _columns(self) -> Iterator[tuple[str, pl.DataFrame]]:
        """Every factor and every stream as scores, by name."""
        factors = self._named.read("daily_factors", self.scored[0], self.scored[-1])
        for name in DAILY_FACTORS:
            yield f"daily_factors.{name}", factors.select("session", "symbol", score=name).drop_nulls()
        for name in [*STREAMS, *sorted(set(self._scores["stream"].to_list()) - set(STREAMS))]:
            stream = self._scores.filter(pl.col("stream") == name)
            yield f"scores.score of {name}", stream.select("session", "symbol", "score").drop_nulls()

    def _ridge(self) -> leak_scores.Score | None:
        """A ridge over the daily factors in the folds of the scorers that served; None where no fold is recorded."""
        folds = [(self._between(*fold.train), self._served_by(fold.model)) for fold in self._folds]
        if not folds:
            return None
        features = self._named.read("daily_factors", min(fold.train[0] for fold in self._folds), self.scored[-1])
        return leak_scores.ridge(features, DAILY_FACTORS, folds)

    @cached_property
    def _labels(self) -> pl.DataFrame:
        first = min([self.scored[0], *(fold.train[0] for fold in self._folds)])
        return self._named.read("labels", first, self.scored[-1], columns=["symbol", "label"]).drop_nulls()

    @cached_property
    def _scores(self) -> pl.DataFrame:
        own = self._named.read_served("scores", self.scored[0], self.scored[-1])
        return pl.concat([own, served_beside(self.scored[0], self.scored[-1], own.columns[1:], self._named)])

    @cached_property
    def _closes(self) -> pl.DataFrame:
        bars = [day for day in self.stores.sessions("daily_bars") if day >= self.scored[0]]
        last = [day for day in bars if day > self.scored[-1]][: leak_scores.LAGS]
        columns = ["symbol", "close", "adj_factor"]
        daily = self._named.read("daily_bars", bars[0], max([self.scored[-1], *last]), columns=columns)
        return daily.select("session", "symbol", close=pl.col("close") * pl.col("adj_factor"))

    # --- records ---------------------------------------------------------------------------------------------------
    def duplicates(self) -> Iterator[Finding | None]:
        """No row is stored twice, and the store refuses a duplicate."""
        for table in (*CHECKED, *LARGE):
            rows = self._rows(table)
            yield leak_records.unique_rows(table, rows, TABLES[table].keys)
            if len(rows) and not leak_inputs.refuses_duplicates(
                table, rows.filter(pl.col("session") == rows["session"][0])
            ):
                yield Finding(DUPLICATES, f"{table}.{ROWS}", rows["session"][0], "may be stored twice")

    def clocks(self) -> Iterator[Finding | None]:
        """No row is known before its moment, its session's cut-off, its arrival, its inputs, or its vintage's birth."""
        yield leak_records.early_first_copies(
            leak_inputs.first_copies(self.stores), self.stores.ledger.first_published("publish"), NOTES["stated"]
        )
        first_known = {
            table: leak_inputs.first_known(self._rows(table)) for table in (*CHECKED, *LARGE)
        } | self._daily_known
        for table in (*CHECKED, *LARGE):
            rows = self._rows(table)
            earliest = {day: self._earliest(table, day, first_known) for day in rows["session"].unique().to_list()}
            yield leak_records.two_clocks(table, rows, earliest)
        for table, kind in (("fingerprints", "encoder"), ("vectors", "vectors")):
            for vintage, rows in self._rows(table).partition_by("vintage", as_dict=True).items():
                born = self.stores.models.record(kind, vintage[0]).born
                yield leak_records.two_clocks(table, rows, dict.fromkeys(rows["session"].to_list(), born))

    def folds(self) -> Iterator[Finding | None]:
        """Labels of train end before validation, and labels of validation before the first served session."""
        if not self._folds:
            return
        first = min(fold.train[0] for fold in self._folds)
        market = sessions_between(self.stores.market, first, self.scored[-1])
        yield leak_records.label_overlap(self._folds, market, self.reach)

    def vintages(self) -> Iterator[Finding | None]:
        """Served sessions are out of sample for their encoder; a look-back holds the scorer's own vintage."""
        outside = outside_vintages(self.stores)
        through = {model.id: model.through for model in self.stores.models.list("encoder")} | outside
        trained_on = {model.id: model.manifest.get("vintage", "") for model in self.stores.models.list("scorer")}
        market = sessions_between(self.stores.market, min([*through.values(), self.scored[0]]), self.scored[-1])
        purge = self.stores.settings.folds.purge
        served, from_outside = self._scores.drop_nulls("vintage"), pl.col("vintage").is_in(list(outside))
        yield leak_records.out_of_sample(served.filter(~from_outside), through, market, purge)
        yield leak_records.out_of_sample(served.filter(from_outside), through, market, 0)  # its owner says all it saw
        born = {model.id: outside[model.manifest["vintage"]] for model in self.stores.models.list("vector_scorer")}
        yield leak_records.trained_after_birth(self._scorer_folds("vector_scorer"), born)
        for day in self.sample:
            columns = ["session", "symbol", "vintage"]
            vectors = day.inputs["fingerprints"].filter(pl.col("session").is_between(day.first, day.session))
            own = pl.concat([vectors.select(columns), day.stored["scores"].select(columns)])
            yield leak_records.one_vintage(own, day.session, trained_on[day.model])

    def survivors(self) -> Iterator[Finding | None]:
        """Every symbol with bars has factors, to its last session; every member of an index has bars."""
        rows = {name: self._read(name, ["symbol"]) for name in ("daily_factors", "daily_bars", "index_members")}
        daily, members = rows["daily_bars"], rows["index_members"]
        members = members.filter(~pl.col("symbol").is_in(daily["symbol"].unique().implode()))
        for table, universe in (("daily_factors", daily), ("daily_bars", members)):
            yield leak_records.survivors(table, rows[table], universe.select("session", "symbol").unique())

    # --- the suite itself --------------------------------------------------------------------------------------------
    def planted(self) -> Iterator[Finding | None]:
        """The suite must find the next session's close as a feature of this one, and its return as a score."""
        day = self.sample[0]
        value = future_leak("planted", _tomorrow, {"daily_bars": day.inputs["daily_bars"]}, "session", day.session)
        score = leak_scores.shifted_calendar("planted.score", leak_scores.planted_scores(self._closes), self._closes)
        for name, finding in (("planted.close", value), ("planted.score", score)):
            if finding is None:
                yield Finding(PLANTED, name, day.session, "was planted and not found: the suite is broken")

    # --- the home's rows ---------------------------------------------------------------------------------------------
    @cached_property
    def _folds(self) -> list[leak_records.FoldBounds]:
        return [*self._scorer_folds("scorer"), *self._scorer_folds("vector_scorer")]

    def _scorer_folds(self, kind: str) -> list[leak_records.FoldBounds]:
        return [
            leak_records.FoldBounds(model.id, _bounds(folds["train"]), _bounds(folds["validation"]), served[0])
            for model in self.stores.models.list(kind)
            if (folds := model.manifest.get("folds")) and (served := self._served_by(model.id))
        ]

    def _served_by(self, model: str) -> list[date]:
        return self._scores.filter(pl.col("model") == model)["session"].unique().sort().to_list()

    def _between(self, first: date, last: date) -> list[date]:
        return sessions_between(self.stores.market, first, last)

    def _rows(self, table: str) -> pl.DataFrame:
        """Keys and clocks of every version of every row: of all scored sessions, or of the sample for large tables."""
        days = [day.session for day in self.sample] if table in LARGE else self.scored
        columns = [*TABLES[table].keys, *CLOCKS]
        parts = [
            self.stores.lake.decode(path, columns).select(pl.lit(day).alias("session"), *columns)
            for session in days
            for day, path in self.stores.lake.files(table, session, session)
        ]
        return pl.concat(parts) if parts else self._read(table, list(columns))

    @cached_property
    def _named(self) -> Stores:
        """The home with one symbol for every company: what compares sessions must not take a rename for an end."""
        return self.stores.named_apart(self.stores.sessions("daily_bars")[-1])

    def _read(self, table: str, columns: list[str]) -> pl.DataFrame:
        return self._named.read(table, self.scored[0], self.scored[-1], columns=columns)

    def _earliest(self, table: str, session: date, first_known: Mapping[str, Moments]) -> datetime:
        """The earliest moment at which a row of a session may be known."""
        market = self.stores.market
        days = [session, *next_sessions(market, session, self.reach)] if table == "labels" else [session]
        inputs = [
            first_known[name][day] for name in RESTS_ON.get(table, ()) for day in days if day in first_known[name]
        ]
        return max([cut_off(market, days[-1]), *inputs])

    @cached_property
    def _daily_known(self) -> dict[str, Moments]:
        """From when the daily bars of every session are known, of those that labels rest on too."""
        days = self.stores.sessions("daily_bars")
        files = self.stores.ledger.current(["daily_bars"], self.scored[0], days[-1]).values()
        return {"daily_bars": {parse(file.path)[2]: min(file.knowledge) for file in files if file.knowledge}}


def _bounds(part: Any) -> tuple[date, date]:
    """First and last session of a part of a manifest's folds."""
    return date.fromisoformat(part[0]), date.fromisoformat(part[1])


def _ignoring_labels(scores: pl.DataFrame, _: pl.DataFrame) -> pl.DataFrame:
    """Stored scores as they are: they learn nothing from shuffled labels."""
    return scores


def _cuts(last: int) -> tuple[int, ...]:
    """The slots a third and two thirds into the session."""
    return last // 3, 2 * last // 3


def _tomorrow(frames: Frames) -> pl.DataFrame:
    """The next session's close: a planted leak."""
    next_close = pl.col("close").shift(-1).over("symbol", order_by="session")
    return frames["daily_bars"].select("session", "symbol", close=next_close)
