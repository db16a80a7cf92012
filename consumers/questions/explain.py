"""What an encoder saw in one symbol-session: which minutes and features its fingerprint rests on, and what it says.

Everything is read as known at the session's cut-off (or at the vintage's birth, where that is later). The dictionary
(`fpm.nn.encoder.dictionary`) comes from earlier sessions alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from math import ceil
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from consumers.questions.stock_days import (
    canonical_symbol,
    no_fingerprint,
    no_symbol,
    require_session,
    traded_symbols,
)
from fpm.errors import ModelRefused, TryLater, UsageError
from fpm.feature_schema import require_same
from fpm.features.intraday_statistics import inputs, intraday_statistics
from fpm.features.minute_features import from_frame
from fpm.nn.encoder import vintage as vintages
from fpm.nn.encoder.dictionary import Axis, Entry, axes, coordinates, dictionary, z_scores
from fpm.nn.encoder.occlusion import HALF_HOUR, Embed, Occlusion, occlusion, session_parts, typical_distance
from fpm.nn.fit import deterministic
from fpm.schema import FINGERPRINTS, MINUTE_FEATURES
from fpm.sessions import cut_off

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date, datetime

    from numpy.typing import NDArray

    from fpm.markets import Market
    from fpm.store.ledger.models import Model
    from fpm.store.ledger.stores import Stores

EARLIER = 20  # sessions before the explained one that give the dictionary and the unit of distance
# Symbols of each of them, every k-th in their order: 20,000 stock-days measure 128 coefficients, and a correlation to
# 0.007. Of a market of 5,300 whole sessions took a minute and a half longer.
SAMPLE = 1_000
STRONGEST, AXES = 8, 6


@dataclass(frozen=True)
class Word:
    """One statistic as a z-score across the session's market, from the fingerprint (`read`) and from the minutes.

    `correlation`: how well the two agree on sessions the dictionary was not fitted on. `measured`: None where the
    minutes do not give the statistic.
    """

    statistic: str
    correlation: float | None
    read: float
    measured: float | None


@dataclass(frozen=True)
class Explanation:
    """One fingerprint explained.

    `unit`: the typical distance between two fingerprints of the vintage. `offset`: distance in that unit between the
    stored fingerprint and what its features give now. `axes`: the space's widest directions in words; `dimensions`:
    every stored dimension likewise.
    """

    symbol: str
    session: date
    vintage: str
    known_at: datetime
    unit: float
    offset: float
    earlier_sessions: int
    parts: tuple[str, ...]
    occlusion: Occlusion
    words: tuple[Word, ...]
    axes: tuple[Axis, ...]
    dimensions: tuple[Axis, ...]
    minutes: tuple[str, ...]
    close_T: NDArray[np.float64]
    volume_T: NDArray[np.float64]

    def to_dict(self) -> dict[str, Any]:
        """For --json: every cell and every word; NaN as None."""
        families, moved = self.occlusion.families, self.occlusion
        return {
            **self._head(),
            "occlusion": [
                {"half_hour_up_to": part, **dict(zip(families, plain(cell_U), strict=True)), "all": whole}
                for part, cell_U, whole in zip(self.parts, moved.cell_PU, plain(moved.part_P), strict=True)
            ],
            "all_session": self._by_family(),
            "dictionary": self._words(),
            "directions": [vars(axis) for axis in self.axes],
            "dimensions": [vars(axis) for axis in self.dimensions],
        }

    def short(self) -> dict[str, Any]:
        """For a terminal: the strongest cells and the words."""
        cells = [
            {"hidden": family, "half_hour_up_to": part, "distance": float(self.occlusion.cell_PU[p, u])}
            for p, part in enumerate(self.parts)
            for u, family in enumerate(self.occlusion.families)
            if np.isfinite(self.occlusion.cell_PU[p, u])
        ]
        families = [
            {"family": name, "distance": value} for name, value in self._by_family().items() if value is not None
        ]
        return {
            **self._head(),
            "strongest": sorted(cells, key=_furthest)[:STRONGEST],
            "hidden_all_session": sorted(families, key=_furthest),
            "dictionary": self._words(),
        }

    def _head(self) -> dict[str, Any]:
        return {
            "symbol": self.symbol,
            "session": str(self.session),
            "vintage": self.vintage,
            "known_at": self.known_at.isoformat(),
            "unit": self.unit,
            "stored_off_by": self.offset,
            "earlier_sessions": self.earlier_sessions,
        }

    def _by_family(self) -> dict[str, float | None]:
        return dict(zip(self.occlusion.families, plain(self.occlusion.family_U), strict=True))

    def _words(self) -> list[dict[str, Any]]:
        return [vars(word) for word in self.words]


def _furthest(row: Mapping[str, Any]) -> float:
    """Sort key: the largest distance first."""
    return -float(row["distance"])


def plain(x: NDArray[np.float64]) -> list[float | None]:
    """Floats for JSON and plots; NaN and infinities as None."""
    return [float(value) if np.isfinite(value) else None for value in x]


@dataclass(frozen=True)
class SessionMarket:
    """Symbols of a session with features x_STF and fingerprints z_SD."""

    symbols: tuple[str, ...]
    x_STF: NDArray[np.float32]
    z_SD: NDArray[np.float32]


@dataclass(frozen=True)
class History:
    """Fingerprints z_ND of earlier sessions, their days as ordinals day_N, and N values of each statistic."""

    z_ND: NDArray[np.float32]
    day_N: NDArray[np.int64]
    statistics: Mapping[str, NDArray[np.float64]]


def explain(symbol: str, session: date, vintage: str | None, stores: Stores) -> Explanation:
    """Explain one fingerprint of a vintage (None: the one in force that session).

    Raises UsageError for a symbol, session or vintage that does not exist, TryLater where there is no fingerprint,
    ModelRefused where the vintage is of another profile.
    """
    effect = "nothing was explained"
    require_session(session, stores.market, code="FPM-EXP-002", effect=effect)
    canonical = canonical_symbol(symbol, stores.market, code="FPM-EXP-003", effect=effect)
    model = encoder_model(vintage, session, stores, effect)
    then = stores.as_of(max(cut_off(stores.market, session), model.born)).for_vintage(model.id)
    market = _market(session, then)
    if market is None:
        raise TryLater(
            code="FPM-EXP-075",
            wrong=f"session {session} has no fingerprints of vintage {model.id}",
            effect=effect,
            todo=f"write them: fpm run fingerprints {session}",
        )
    embed = vintages.load(model.manifest, model.files()).embed
    return _explanation(canonical, session, market, embed, then)


def encoder_model(vintage: str | None, session: date, stores: Stores, effect: str) -> Model:
    """The vintage of that name, or the one in force in `session`; `effect` is for the message if there is none.

    Raises UsageError for an unknown vintage, ModelRefused for one of another profile.
    """
    if vintage is None:
        model = stores.models.in_force("encoder", session)
    else:
        vintages_here = [model.id for model in stores.models.list("encoder")]
        if vintage not in vintages_here:
            near = get_close_matches(vintage, vintages_here, n=1, cutoff=0.3)
            raise UsageError(
                code="FPM-EXP-004",
                wrong=f"there is no vintage {vintage[:60]}",
                effect=effect,
                todo=f"did you mean {near[0]}?" if near else f"there are {', '.join(vintages_here) or 'none'}",
            )
        model = stores.models.load("encoder", vintage)
    require_same(model.kind, model.id, model.manifest, stores.profile.name, effect)
    if model.manifest["profile_hash"] != stores.profile.hash:
        raise ModelRefused(
            code="FPM-ML-067",
            wrong=f"vintage {model.id} was trained on another profile than the one in force",
            effect=effect,
            todo="name a vintage of the profile in force with --vintage",
        )
    return model


def _market(
    session: date, stores: Stores, features: Sequence[str] | None = None, most: int | None = None
) -> SessionMarket | None:
    """Symbols of a session that have features and a fingerprint; None where there are none.

    `features` None: all of the profile. `most`: as many symbols at most, evenly over all that have a fingerprint.
    """
    if session not in stores.sessions(FINGERPRINTS.name) or session not in stores.sessions(MINUTE_FEATURES.name):
        return None
    rows = stores.read(FINGERPRINTS.name, session, columns=["symbol", "fingerprint"]).drop_nulls("fingerprint")
    if most is not None:
        rows = rows.gather_every(max(1, ceil(rows.height / most)))
    vectors = dict(zip(rows["symbol"].to_list(), rows["fingerprint"].to_list(), strict=True))
    columns = [*MINUTE_FEATURES.keys, "profile", *(features or stores.profile.features)]
    minutes = stores.read(MINUTE_FEATURES.name, session, columns=columns)
    symbols, x_STF = from_frame(minutes.filter(pl.col("symbol").is_in(list(vectors))), stores.profile, features)
    if not symbols:
        return None
    z_SD = np.array([vectors[symbol] for symbol in symbols], np.float32)
    return SessionMarket(symbols, x_STF, z_SD)


def _explanation(symbol: str, session: date, market: SessionMarket, embed: Embed, stores: Stores) -> Explanation:
    i = _index(symbol, market.symbols, session, stores)
    x_TF, z_D = market.x_STF[i], market.z_SD[i]
    history = _history(session, stores)
    unit = typical_distance(np.concatenate([history.z_ND, market.z_SD]) if len(history.z_ND) else market.z_SD)
    unit = unit if unit > 0 else 1.0  # alone in its space: distances as they are
    with deterministic(0):
        moved = occlusion(embed, stores.profile.name, x_TF, unit)
        offset = float(np.linalg.norm(embed(x_TF[None])[0].astype(np.float64) - z_D)) / unit
    lesson = history.z_ND, history.statistics, history.day_N
    entries = dictionary(*lesson) if len(history.z_ND) else []
    principal, stored = axes(*lesson) if entries else ([], [])
    features, labels = list(stores.profile.features), minute_labels(stores.market, stores.profile.view)
    return Explanation(
        symbol,
        session,
        str(stores.vintage),
        stores.known_at or cut_off(stores.market, session),
        unit,
        offset,
        len(set(history.day_N.tolist())),
        part_labels(labels),
        moved,
        _words(entries, market, i, stores),
        tuple(principal[:AXES]),
        tuple(stored),
        labels,
        x_TF[:, features.index("close")].astype(float),
        x_TF[:, features.index("volume")].astype(float),
    )


def _index(symbol: str, symbols: tuple[str, ...], session: date, stores: Stores) -> int:
    """Position of the symbol among those with a fingerprint. Raises TryLater or UsageError where it is not there."""
    if symbol in symbols:
        return symbols.index(symbol)
    effect, traded = "nothing was explained", traded_symbols(session, stores)
    if symbol in traded:
        raise no_fingerprint(symbol, session, code="FPM-EXP-078", effect=effect)
    raise no_symbol(symbol, session, [*symbols, *traded], code="FPM-EXP-003", effect=effect)


def _history(session: date, stores: Stores) -> History:
    """`SAMPLE` symbols of each of the last `EARLIER` sessions before this one."""
    features = inputs(stores.profile.features)
    days = [day for day in stores.sessions(FINGERPRINTS.name) if day < session][-EARLIER:]
    vectors, numbers, values = [], [], []
    for day in days:
        market = _market(day, stores, features, SAMPLE)
        if market is not None:
            vectors.append(market.z_SD)
            numbers.append(np.full(len(market.z_SD), day.toordinal(), np.int64))
            values.append(intraday_statistics(market.x_STF, features))
    if not vectors:
        return History(np.empty((0, 0), np.float32), np.empty(0, np.int64), {})
    statistics = {name: np.concatenate([value[name] for value in values]) for name in values[0]}
    return History(np.concatenate(vectors), np.concatenate(numbers), statistics)


def _words(entries: list[Entry], market: SessionMarket, i: int, stores: Stores) -> tuple[Word, ...]:
    """Every dictionary entry of the market's symbol `i`."""
    statistics = intraday_statistics(market.x_STF, stores.profile.features)
    words = []
    for entry in entries:
        measured = float(z_scores(statistics[entry.statistic])[i])
        read = float(coordinates(market.z_SD, entry.direction_D)[i])
        words.append(Word(entry.statistic, entry.correlation, read, measured if np.isfinite(measured) else None))
    return tuple(words)


def minute_labels(market: Market, view: str) -> tuple[str, ...]:
    """The time (bar END, local) of every minute of a view; the last one where slots share a minute."""
    ends = {
        position: minute for minute, position in zip(market.slots, market.views[view], strict=True) if position >= 0
    }
    return tuple(f"{ends[t] // 60:02d}:{ends[t] % 60:02d}" for t in range(market.view_size(view)))


def part_labels(minutes: tuple[str, ...]) -> tuple[str, ...]:
    """The time at which each half-hour ends."""
    return tuple(minutes[part.stop - 1] for part in session_parts(len(minutes), HALF_HOUR))
