"""What the leak suite recomputes of vectors from outside: a session's scores under one vintage.

How the vectors themselves came about nobody here can repeat. What is made of them, and what is said of their clocks and
birth, is checked like our own.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import polars as pl

from consumers.publish import standing
from consumers.questions.leak_inputs import LAST
from consumers.vector_scores import streams_of
from fpm.leaks.checks import Finding, difference, disturbances
from fpm.nn.checkpoint import from_bytes
from fpm.nn.scorer import streams
from fpm.nn.scorer.panel import panel
from fpm.schema import CLOCKS, VECTOR_SCORES, VECTORS
from fpm.sessions import cut_off, next_sessions, previous_sessions, sessions_between

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import date

    from fpm.leaks.checks import Frames
    from fpm.store.ledger.stores import Stores

DAILY = ("daily_bars", "daily_factors")


@dataclass(frozen=True)
class VectorSession:
    """One session's scores under a vintage from outside as known at its cut-off, and how to compute them again."""

    session: date
    vintage: str
    model: str
    stores: Stores

    @cached_property
    def stored(self) -> pl.DataFrame:
        """The rows that stand, without clocks."""
        return standing(VECTOR_SCORES.name, self._known(VECTOR_SCORES.name, self.session)).drop(CLOCKS)

    @cached_property
    def inputs(self) -> Frames:
        """Input tables: up to the session as known at its cut-off, later sessions as known now."""
        ahead = next_sessions(self.stores.market, self.session, self.stores.settings.model_choices.reach)
        days = [*self.look_back, *ahead]
        return {
            table: pl.concat([standing(table, self._known(table, day)).drop(CLOCKS) for day in days], how="diagonal")
            for table in (VECTORS.name, *DAILY)
        }

    @property
    def look_back(self) -> list[date]:
        """The sessions that the scorer reads, this one last."""
        count = int(self._manifest["config"]["look_back"]) - 1
        return [*previous_sessions(self.stores.market, self.session, count), self.session]

    def scores(self, inputs: Frames) -> pl.DataFrame:
        """The rows computed from `inputs`, in the stored types; the panel reaches as far into the future as they do."""
        keys = ["session", "symbol"]
        vectors = inputs[VECTORS.name].rename({"vector": "fingerprint"})
        frame = vectors.join(inputs[DAILY[0]], on=keys).join(inputs[DAILY[1]], on=keys)
        days = sessions_between(self.stores.market, self.look_back[0], max([self.session, *frame["session"].to_list()]))
        weights = self.stores.models.load("vector_scorer", self.model).files()["weights.safetensors"]
        trained = streams.restore(self._manifest["config"], from_bytes(weights))
        scored, _ = streams.scores(trained, panel(frame, days, trained.config.factors), self.session)
        names = streams_of(self.vintage)
        rows = scored.filter(pl.col("stream").is_in(list(names))).with_columns(
            pl.col("stream").replace_strict(names),
            vintage=pl.lit(self.vintage),
            model=pl.lit(self.model),
            session=pl.lit(self.session),
        )
        return rows.select(self.stored.columns).cast(self.stored.schema)

    @cached_property
    def _manifest(self) -> dict[str, Any]:
        return self.stores.models.load("vector_scorer", self.model).manifest

    def _known(self, table: str, session: date) -> pl.DataFrame:
        limit = cut_off(self.stores.market, self.session)
        past = self.stores.as_of(limit).named(self.session).for_vintage(self.vintage)
        return past.read(table, session, session, known_at=limit if session <= self.session else LAST)


def values(check: str, session: date, stores: Stores) -> Iterator[Finding | None]:
    """Stored scores under every vintage from outside follow from the past alone, bit for bit."""
    for day in sampled(session, stores):
        changed = dict(disturbances(day.inputs, "session", session))[check]
        yield difference(check, VECTOR_SCORES.name, day.stored, day.scores(changed), "session")


def sampled(session: date, stores: Stores) -> Iterator[VectorSession]:
    """The session under every vintage from outside that was scored by its cut-off."""
    limit = cut_off(stores.market, session)
    for vintage in stores.lake.vintages(VECTOR_SCORES.name):
        rows = stores.as_of(limit).for_vintage(vintage).read(VECTOR_SCORES.name, session, session, columns=["model"])
        models = rows["model"].drop_nulls().unique().to_list()
        if models:
            yield VectorSession(session, vintage, models[0], stores.as_of(None))
