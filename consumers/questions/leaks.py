"""The leak suite on a home's own tables: does anything that was stored, served or trained know its future?

Values are recomputed for a sample of sessions and symbols while the inputs after them are cut off or distorted; clocks,
births, folds and symbols are read of every session asked for. Nothing is written. Each check passes, or names the first
column and session; the last one plants leaks of its own, and a suite that does not find them says that it is broken.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from consumers.questions import leak_inputs
from consumers.questions.leak_inputs import AHEAD, Judged
from fpm.errors import InputRefused, TryLater
from fpm.features.labels import HORIZON, labels
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
from fpm.store.lake.files import canonical

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from fpm.progress import Progress
    from fpm.store.ledger.stores import Stores

PLANTED, MINUTES, BROKEN = "planted future", "later minutes", "the suite itself"
CHECKED = ("daily_bars", "daily_factors", "fingerprints", "labels", "scores", "session_totals")  # every session
LARGE = ("minute_bars", "minute_features")  # sampled sessions
RESTS_ON = {  # the first moment of a row is not before that of these of the same session
    "session_totals": ("minute_bars", "daily_bars"),
    "minute_features": ("session_totals",),
    "fingerprints": ("minute_features",),
    "daily_factors": ("daily_bars",),
    "scores": ("fingerprints", "daily_factors"),
}
Moments = dict[date, datetime]


@dataclass(frozen=True)
class Width:
    """How much is recomputed: so many scored sessions, so many symbols in each."""

    sessions: int = 2
    symbols: int = 5


@dataclass(frozen=True)
class Answer:
    """One check and its first finding, if any."""

    check: str
    finding: Finding | None

    def to_dict(self) -> dict[str, Any]:
        found = self.finding
        if found is None:
            return {"check": self.check, "answer": "pass"}
        return {
            "check": self.check,
            "answer": "failed",
            "column": found.column,
            "session": str(found.session),
            "what": found.explanation,
        }


def run(span: tuple[date | None, date | None], width: Width, stores: Stores, progress: Progress) -> list[Answer]:
    """Every check on the scored sessions of `span` (None: no bound), in order.

    Raises TryLater where no session of the span was scored, or none is followed by enough sessions to judge it by.
    """
    home = Home(stores, _scored(span, stores), width)
    checks = home.checks()
    answers = []
    for number, (name, check) in enumerate(checks.items()):
        progress(number, len(checks), name)
        answers.append(Answer(name, next(check(), None)))
    progress(len(checks), len(checks), "done")
    return answers


def _scored(span: tuple[date | None, date | None], stores: Stores) -> tuple[date, ...]:
    first, last = (span[0] or date.min), (span[1] or date.max)
    found = tuple(session for session in stores.sessions("scores") if first <= session <= last)
    bars = stores.sessions("daily_bars")
    if not found or not bars or len([day for day in bars if day > found[0]]) < AHEAD:
        raise TryLater(
            code="FPM-LEAK-075",
            wrong=f"no scored session is followed by {AHEAD} sessions of bars",
            effect="nothing was checked",
            todo="run fpm walk-forward over sessions that lie far enough back, or widen --first and --last",
        )
    return found


@dataclass(frozen=True)
class Home:
    """The tables of one home over the scored sessions; each check yields its findings, the first first."""

    stores: Stores
    scored: tuple[date, ...]
    width: Width

    def checks(self) -> Mapping[str, Callable[[], Iterator[Finding]]]:
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
            PLANTED: self.planted,
        }

    # --- values ----------------------------------------------------------------------------------------------------
    @cached_property
    def sample(self) -> tuple[Judged, ...]:
        """Scored sessions spread over the span, each followed by enough sessions, earliest first."""
        bars = self.stores.sessions("daily_bars")
        usable = [day for day in self.scored if day <= bars[-AHEAD - 1]]
        count = min(self.width.sessions, len(usable))
        places = sorted({round(place) for place in np.linspace(0, len(usable) - 1, count)})
        return tuple(leak_inputs.judged(usable[place], self.width.symbols, self.stores) for place in places)

    def values(self, check: str) -> Iterator[Finding]:
        """What is stored is what the past alone says, bit for bit, in every derived table."""
        for of in self.sample:
            changed = dict(disturbances(of.inputs, "session", of.session))[check]
            for table, rows in of.derived(changed):
                found = difference(check, table, of.stored[table], rows, "session")
                if found:
                    yield found

    def minutes(self) -> Iterator[Finding]:
        """Minute features up to a minute do not move with the minutes after it."""
        for of in self.sample:
            today = pl.col("session") == of.session
            bars, view = of.inputs["minute_bars"], self.stores.market.views[self.stores.profile.view]
            for slot in _cuts(last_slot(self.stores.market, of.session)):
                for _, changed in disturbances({"bars": bars.filter(today)}, "slot", slot):
                    inputs = {**of.inputs, "minute_bars": pl.concat([bars.filter(~today), changed["bars"]])}
                    rows = dict(of.minutes(inputs))["minute_features"]
                    seen = pl.col("slot") <= view[slot]
                    expected = of.stored["minute_features"].filter(seen)
                    found = difference(MINUTES, "minute_features", expected, rows.filter(seen), "session")
                    if found:
                        yield found

    # --- labels and scores -----------------------------------------------------------------------------------------
    def label_windows(self) -> Iterator[Finding]:
        """Stored labels rest on the closes of t + 1 and t + 6 alone."""
        for of in self.sample:
            window = next_sessions(self.stores.market, of.session, HORIZON + 1)
            known_at = cut_off(self.stores.market, window[-1])
            daily = self.stores.read("daily_bars", of.session, window[-1], known_at=known_at).drop(CLOCKS)
            rows = self.stores.read("labels", of.session, of.session, known_at=known_at).drop(CLOCKS)

            def label(frames: Frames, of: Judged = of) -> pl.DataFrame:
                return labels(frames["daily_bars"], of.session).with_columns(session=pl.lit(of.session))

            again = label({"daily_bars": daily}).select(rows.columns)
            for found in (
                difference(leak_scores.LABELS, "labels", rows, again, "session"),
                leak_scores.label_window(label, daily, of.session, window),
            ):
                if found:
                    yield found

    def shuffled_labels(self) -> Iterator[Finding]:
        """Every factor, every stream, and a scorer trained anew: labels dealt at random are found by none."""
        for column, scores in self._columns():
            found = leak_scores.shuffled_labels(column, partial(_whatever_the_labels, scores), self._labels)
            if found:
                yield found
        learnt = self._learnt()
        found = learnt and leak_scores.shuffled_labels("a ridge trained in the folds", learnt, self._labels)
        if found:
            yield found

    def shifted_calendar(self) -> Iterator[Finding]:
        """No factor and no stream is implausibly close to the return of one session to come."""
        for column, scores in self._columns():
            found = leak_scores.shifted_calendar(column, scores, self._closes)
            if found:
                yield found

    def _columns(self) -> Iterator[tuple[str, pl.DataFrame]]:
        factors = self.stores.read("daily_factors", self.scored[0], self.scored[-1])
        for name in DAILY_FACTORS:
            yield f"daily_factors.{name}", factors.select("session", "symbol", score=name).drop_nulls()
        for name in STREAMS:
            stream = self._scores.filter(pl.col("stream") == name)
            yield f"scores.score of {name}", stream.select("session", "symbol", "score").drop_nulls()

    def _learnt(self) -> leak_scores.Score | None:
        """A ridge over the daily factors in the folds of the scorers that served; None where no fold is told."""
        folds = [(self._between(*fold.train), self._served_by(fold.model)) for fold in self._folds]
        if not folds:
            return None
        features = self.stores.read("daily_factors", min(fold.train[0] for fold in self._folds), self.scored[-1])
        return leak_scores.ridge(features, DAILY_FACTORS, folds)

    @cached_property
    def _labels(self) -> pl.DataFrame:
        first = min([self.scored[0], *(fold.train[0] for fold in self._folds)])
        return self.stores.read("labels", first, self.scored[-1], columns=["symbol", "label"]).drop_nulls()

    @cached_property
    def _scores(self) -> pl.DataFrame:
        return self.stores.read_served("scores", self.scored[0], self.scored[-1])

    @cached_property
    def _closes(self) -> pl.DataFrame:
        bars = [day for day in self.stores.sessions("daily_bars") if day >= self.scored[0]]
        last = [day for day in bars if day > self.scored[-1]][: leak_scores.LAGS]
        columns = ["symbol", "close", "adj_factor"]
        daily = self.stores.read("daily_bars", bars[0], max([self.scored[-1], *last]), columns=columns)
        return daily.select("session", "symbol", close=pl.col("close") * pl.col("adj_factor"))

    # --- records ---------------------------------------------------------------------------------------------------
    def duplicates(self) -> Iterator[Finding]:
        """No row is stored twice; the store refuses one that comes twice; doubled inputs move nothing."""
        for table in (*CHECKED, *LARGE):
            rows = self._rows(table)
            found = leak_records.unique_rows(table, rows, TABLES[table].keys)
            if found:
                yield found
            elif len(rows) and not _refused(table, rows.filter(pl.col("session") == rows["session"][0])):
                yield Finding(DUPLICATES, f"{table}.{ROWS}", rows["session"][0], "may be stored twice")

    def clocks(self) -> Iterator[Finding]:
        """No row known before its moment, its session's cut-off, what it was made of, or its vintage's birth."""
        known = {table: _first_known(self._rows(table)) for table in (*CHECKED, *LARGE)}
        for table in (*CHECKED, *LARGE):
            rows = self._rows(table)
            earliest = {day: self._earliest(table, day, known) for day in rows["session"].unique().to_list()}
            found = leak_records.two_clocks(table, rows, earliest)
            if found:
                yield found
        for vintage, rows in self._rows("fingerprints").partition_by("vintage", as_dict=True).items():
            born = self.stores.models.record("encoder", vintage[0]).born
            found = leak_records.two_clocks("fingerprints", rows, dict.fromkeys(rows["session"].to_list(), born))
            if found:
                yield found

    def folds(self) -> Iterator[Finding]:
        """Labels of train end before validation, those of validation before the first session that was served."""
        if not self._folds:
            return
        first = min(fold.train[0] for fold in self._folds)
        market = sessions_between(self.stores.market, first, self.scored[-1])
        found = leak_records.label_overlap(self._folds, market, HORIZON + 1)
        if found:
            yield found

    def vintages(self) -> Iterator[Finding]:
        """Served sessions are out of sample for their encoder; a look-back holds the scorer's own vintage."""
        through = {model.id: model.through for model in self.stores.models.list("encoder")}
        trained_on = {model.id: model.manifest.get("vintage", "") for model in self.stores.models.list("scorer")}
        market = sessions_between(self.stores.market, min([*through.values(), self.scored[0]]), self.scored[-1])
        purge = self.stores.settings.folds.purge
        found = leak_records.out_of_sample(self._scores.drop_nulls("vintage"), through, market, purge)
        if found:
            yield found
        for of in self.sample:
            columns = ["session", "symbol", "vintage"]
            vectors = of.inputs["fingerprints"].filter(pl.col("session").is_between(of.first, of.session))
            own = pl.concat([vectors.select(columns), of.stored["scores"].select(columns)])
            found = leak_records.one_vintage(own, of.session, trained_on[of.model])
            if found:
                yield found

    def survivors(self) -> Iterator[Finding]:
        """Whoever had bars has factors, to its last session; whoever was a member of an index had bars."""
        daily = self._rows("daily_bars")
        members = self._read("index_members", ["symbol"]).filter(~pl.col("symbol").is_in(daily["symbol"].unique()))
        for table, universe in (("daily_factors", daily), ("daily_bars", members)):
            found = leak_records.survivors(table, self._rows(table), universe.select("session", "symbol").unique())
            if found:
                yield found

    # --- the suite itself --------------------------------------------------------------------------------------------
    def planted(self) -> Iterator[Finding]:
        """The next session's close as a feature of this one, and its return as a score, must both be found."""
        of = self.sample[0]
        value = future_leak("planted", _tomorrow, {"daily_bars": of.inputs["daily_bars"]}, "session", of.session)
        score = leak_scores.shifted_calendar("planted.score", leak_scores.planted_scores(self._closes), self._closes)
        missed = [name for name, found in (("planted.close", value), ("planted.score", score)) if found is None]
        for name in missed:
            yield Finding(PLANTED, name, of.session, "was planted and not found: the suite is broken")

    # --- what is read ------------------------------------------------------------------------------------------------
    @cached_property
    def _folds(self) -> list[leak_records.FoldBounds]:
        return [
            leak_records.FoldBounds(model.id, _stretch(told["train"]), _stretch(told["validation"]), served[0])
            for model in self.stores.models.list("scorer")
            if (told := model.manifest.get("folds")) and (served := self._served_by(model.id))
        ]

    def _served_by(self, model: str) -> list[date]:
        return self._scores.filter(pl.col("model") == model)["session"].unique().sort().to_list()

    def _between(self, first: date, last: date) -> list[date]:
        return sessions_between(self.stores.market, first, last)

    def _rows(self, table: str) -> pl.DataFrame:
        """Keys and clocks of every version of every row, of all scored sessions or, of large tables, the sample."""
        days = [of.session for of in self.sample] if table in LARGE else self.scored
        columns = [*TABLES[table].keys, *CLOCKS]
        parts = [
            self.stores.lake.decode(path, columns).select(pl.lit(day).alias("session"), *columns)
            for session in days
            for day, path in self.stores.lake.files(table, session, session)
        ]
        return pl.concat(parts) if parts else self._read(table, list(columns))

    def _read(self, table: str, columns: list[str]) -> pl.DataFrame:
        return self.stores.read(table, self.scored[0], self.scored[-1], columns=columns)

    def _earliest(self, table: str, session: date, known: Mapping[str, Moments]) -> datetime:
        market = self.stores.market
        own = next_sessions(market, session, HORIZON + 1)[-1] if table == "labels" else session
        inputs = [known[name][session] for name in RESTS_ON.get(table, ()) if session in known[name]]
        return max([cut_off(market, own), *inputs])


def _first_known(rows: pl.DataFrame) -> Moments:
    return dict(rows.group_by("session").agg(pl.col("created_timestamp").min()).rows())


def _refused(table: str, rows: pl.DataFrame) -> bool:
    try:
        canonical(TABLES[table], _whole(table, pl.concat([rows, rows])))
    except InputRefused:
        return True
    return False


def _whole(table: str, rows: pl.DataFrame) -> pl.DataFrame:
    absent = [name for name in TABLES[table].columns if name not in rows.columns]
    return rows.drop("session").with_columns(pl.lit(None).alias(name) for name in absent)


def _stretch(told: Any) -> tuple[date, date]:
    return date.fromisoformat(told[0]), date.fromisoformat(told[1])


def _whatever_the_labels(scores: pl.DataFrame, _: pl.DataFrame) -> pl.DataFrame:
    """What is stored has been made: it learns nothing from labels."""
    return scores


def _cuts(last: int) -> tuple[int, ...]:
    """Two stored minutes, a third and two thirds into the session."""
    return last // 3, 2 * last // 3


def _tomorrow(frames: Frames) -> pl.DataFrame:
    coming = pl.col("close").shift(-1).over("symbol", order_by="session")
    return frames["daily_bars"].select("session", "symbol", close=coming)
