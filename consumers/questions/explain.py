"""What an encoder saw in one symbol-session: the map of what its fingerprint rests on, and the fingerprint in words.

Everything is read as known at the session's cut-off (or, where the vintage was born later, at its birth). The words
(`fpm.nn.encoder.dictionary`) come from earlier sessions alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fpm.errors import ModelRefused, TryLater, UsageError
from fpm.features.intraday_statistics import intraday_statistics
from fpm.features.minute_features import from_frame
from fpm.nn.encoder import vintage as vintages
from fpm.nn.encoder.dictionary import Axis, Entry, axes, coordinates, dictionary, z_scores
from fpm.nn.encoder.occlusion import HALF_HOUR, Embed, Occlusion, occlusion, session_parts, typical_distance
from fpm.nn.fit import deterministic
from fpm.report import encoder_charts, pages
from fpm.schema import FINGERPRINTS, MINUTE_FEATURES
from fpm.sessions import Market, cut_off, is_session
from fpm.store.lake.small_files import place
from fpm.symbols import normalise

if TYPE_CHECKING:
    from datetime import date, datetime
    from pathlib import Path

    from fpm.store.ledger.models import Model
    from fpm.store.ledger.stores import Stores

EARLIER = 20  # sessions before the one explained that the words and the unit of distance come from
NEAR = 0.01  # units: a stored fingerprint further from what its features give now was made of other features or code
STRONGEST, AXES = 8, 6

Market_SD = tuple[tuple[str, ...], NDArray[np.float32], NDArray[np.float32]]  # symbols, x_STF, z_SD


@dataclass(frozen=True)
class Word:
    """One statistic: what the fingerprint says (`read`) and what the minutes say (`measured`), both as z-scores across
    the session's market; `correlation`: how well the two agree on sessions apart.
    """

    statistic: str
    correlation: float | None
    read: float
    measured: float | None


@dataclass(frozen=True)
class Explanation:
    """`unit`: the typical distance between two fingerprints of the vintage; `off`: how far the stored fingerprint lies
    from what its features give now, in that unit. `axes`: the space's widest directions in words; `dimensions`:
    every dimension as it is stored, likewise.
    """

    symbol: str
    session: date
    vintage: str
    known_at: datetime
    unit: float
    off: float
    earlier: int
    parts: tuple[str, ...]
    seen: Occlusion
    words: tuple[Word, ...]
    axes: tuple[Axis, ...]
    dimensions: tuple[Axis, ...]
    minutes: tuple[str, ...]
    close_T: NDArray[np.float64]
    volume_T: NDArray[np.float64]

    def to_dict(self) -> dict[str, Any]:
        """For --json: the whole map and every word; NaN as None."""
        return {
            **self._head(),
            "occlusion": [
                {"half_hour_up_to": part, **dict(zip(self.seen.families, _plain(cell_U), strict=True)), "all": whole}
                for part, cell_U, whole in zip(self.parts, self.seen.cell_PU, _plain(self.seen.part_P), strict=True)
            ],
            "all_session": dict(zip(self.seen.families, _plain(self.seen.family_U), strict=True)),
            "dictionary": self._words(),
            "directions": [vars(axis) for axis in self.axes],
            "dimensions": [vars(axis) for axis in self.dimensions],
        }

    def short(self) -> dict[str, Any]:
        """For a terminal: the strongest cells and the words."""
        cells = sorted(
            (
                {"hidden": family, "half_hour_up_to": part, "distance": float(self.seen.cell_PU[p, u])}
                for p, part in enumerate(self.parts)
                for u, family in enumerate(self.seen.families)
                if np.isfinite(self.seen.cell_PU[p, u])
            ),
            key=lambda cell: -float(str(cell["distance"])),
        )
        whole = dict(zip(self.seen.families, _plain(self.seen.family_U), strict=True))
        return {
            **self._head(),
            "strongest": cells[:STRONGEST],
            "hidden_all_session": sorted(
                ({"family": name, "distance": value} for name, value in whole.items() if value is not None),
                key=lambda row: -float(str(row["distance"])),
            ),
            "dictionary": self._words(),
        }

    def _head(self) -> dict[str, Any]:
        return {
            "symbol": self.symbol,
            "session": str(self.session),
            "vintage": self.vintage,
            "known_at": self.known_at.isoformat(),
            "unit": self.unit,
            "stored_off_by": self.off,
            "earlier_sessions": self.earlier,
        }

    def _words(self) -> list[dict[str, Any]]:
        return [vars(word) for word in self.words]


def explain(symbol: str, session: date, vintage: str | None, stores: Stores) -> Explanation:
    """Explain one fingerprint of a vintage (None: the one in force that session).

    Raises UsageError for a symbol, session or vintage that does not exist, TryLater where there is no fingerprint,
    ModelRefused where the vintage is of another profile.
    """
    if not is_session(stores.market, session):
        raise UsageError(
            code="FPM-EXP-002",
            wrong=f"{session} is no session of {stores.market.name}",
            effect="nothing was explained",
            todo="give a day on which the market trades",
        )
    reading = normalise(symbol, stores.market)
    if reading.symbol is None:
        raise UsageError(
            code="FPM-EXP-003",
            wrong=reading.reason,
            effect="nothing was explained",
            todo="give a symbol such as `fpm export` shows",
        )
    model = encoder_asked(vintage, session, stores, "nothing was explained")
    known = stores.as_of(max(cut_off(stores.market, session), model.born)).for_vintage(model.id)
    market = _market(session, known)
    if market is None:
        raise TryLater(
            code="FPM-EXP-075",
            wrong=f"session {session} has no fingerprints of vintage {model.id}",
            effect="nothing was explained",
            todo=f"write them: fpm run fingerprints {session}",
        )
    embed = vintages.load(model.manifest, model.files()).embed
    return _explained(reading.symbol, session, market, embed, known)


def encoder_asked(vintage: str | None, session: date, stores: Stores, undone: str) -> Model:
    """The vintage of that name, or the one in force in `session`; `undone` says what was not done if there is none.

    Raises UsageError for an unknown vintage, ModelRefused for one of another profile.
    """
    if vintage is None:
        model = stores.models.in_force("encoder", session)
    else:
        known = [each.id for each in stores.models.list("encoder")]
        if vintage not in known:
            near = get_close_matches(vintage, known, n=1, cutoff=0.3)
            raise UsageError(
                code="FPM-EXP-004",
                wrong=f"there is no vintage {vintage[:60]}",
                effect=undone,
                todo=f"did you mean {near[0]}?" if near else f"there are {', '.join(known) or 'none'}",
            )
        model = stores.models.load("encoder", vintage)
    if model.manifest["profile_hash"] != stores.profile.hash:
        raise ModelRefused(
            code="FPM-ML-067",
            wrong=f"vintage {model.id} was trained on another profile than the one in force",
            effect=undone,
            todo="name a vintage of the profile in force with --vintage",
        )
    return model


def _market(session: date, known: Stores) -> Market_SD | None:
    """Symbols of a session that have features and a fingerprint, with both; None where nobody has."""
    if session not in known.sessions(FINGERPRINTS.name) or session not in known.sessions(MINUTE_FEATURES.name):
        return None
    rows = known.read(FINGERPRINTS.name, session, columns=["symbol", "fingerprint"]).drop_nulls("fingerprint")
    vectors = dict(zip(rows["symbol"].to_list(), rows["fingerprint"].to_list(), strict=True))
    symbols, x_STF = from_frame(known.read(MINUTE_FEATURES.name, session), known.profile)
    both = [i for i, symbol in enumerate(symbols) if symbol in vectors]
    if not both:
        return None
    z_SD = np.array([vectors[symbols[i]] for i in both], np.float32)
    return tuple(symbols[i] for i in both), x_STF[both], z_SD


def _explained(symbol: str, session: date, market: Market_SD, embed: Embed, known: Stores) -> Explanation:
    symbols, x_STF, z_SD = market
    i = _place(symbol, symbols, session, known)
    earlier_ND, day_N, statistics = _earlier(session, known)
    unit = typical_distance(np.concatenate([earlier_ND, z_SD]) if len(earlier_ND) else z_SD)
    unit = unit if unit > 0 else 1.0  # alone in its space: distances as they are
    with deterministic(0):
        seen = occlusion(embed, known.profile.name, x_STF[i], unit)
        off = _off(embed, x_STF[i], z_SD[i]) / unit
    entries = dictionary(earlier_ND, statistics, day_N) if len(earlier_ND) else []
    turned, own = axes(earlier_ND, statistics, day_N) if entries else ([], [])
    features, labels = list(known.profile.features), minute_labels(known.market, known.profile.view)
    return Explanation(
        symbol,
        session,
        str(known.vintage),
        known.known_at or cut_off(known.market, session),
        unit,
        off,
        len(set(day_N.tolist())),
        part_labels(labels),
        seen,
        _words(entries, market, i, known),
        tuple(turned[:AXES]),
        tuple(own),
        labels,
        x_STF[i, :, features.index("close")].astype(float),
        x_STF[i, :, features.index("volume")].astype(float),
    )


def _place(symbol: str, symbols: tuple[str, ...], session: date, known: Stores) -> int:
    if symbol in symbols:
        return symbols.index(symbol)
    traded = known.read("daily_bars", session, session, columns=["symbol"])["symbol"].to_list()
    if symbol in traded:
        raise TryLater(
            code="FPM-EXP-078",
            wrong=f"{symbol} has no fingerprint in {session}",
            effect="nothing was explained",
            todo="ask for a session in which it traded all day, or see its rows in minute_features",
        )
    near = get_close_matches(symbol, sorted({*symbols, *traded}), n=3)
    raise UsageError(
        code="FPM-EXP-003",
        wrong=f"there is no symbol {symbol} in {session}",
        effect="nothing was explained",
        todo=f"did you mean {', '.join(near)}?" if near else "see the symbols: fpm export fingerprints",
    )


def _earlier(
    session: date, known: Stores
) -> tuple[NDArray[np.float32], NDArray[np.int64], dict[str, NDArray[np.float64]]]:
    """Fingerprints, session numbers and statistics of the last `EARLIER` sessions before this one."""
    days = [day for day in known.sessions(FINGERPRINTS.name) if day < session][-EARLIER:]
    vectors, numbers, values = [], [], []
    for day in days:
        market = _market(day, known)
        if market is not None:
            _, x_STF, z_SD = market
            vectors.append(z_SD)
            numbers.append(np.full(len(z_SD), day.toordinal(), np.int64))
            values.append(intraday_statistics(x_STF, known.profile.features))
    if not vectors:
        return np.empty((0, 0), np.float32), np.empty(0, np.int64), {}
    joined = {name: np.concatenate([value[name] for value in values]) for name in values[0]}
    return np.concatenate(vectors), np.concatenate(numbers), joined


def _words(entries: list[Entry], market: Market_SD, i: int, known: Stores) -> tuple[Word, ...]:
    _, x_STF, z_SD = market
    measured = intraday_statistics(x_STF, known.profile.features)
    words = []
    for entry in entries:
        there = float(z_scores(measured[entry.statistic])[i])
        read = float(coordinates(z_SD, entry.direction_D)[i])
        words.append(Word(entry.statistic, entry.correlation, read, there if np.isfinite(there) else None))
    return tuple(words)


def _off(embed: Embed, x_TF: NDArray[np.float32], stored_D: NDArray[np.float32]) -> float:
    return float(np.linalg.norm(embed(x_TF[None])[0].astype(np.float64) - stored_D))


# --- the page -----------------------------------------------------------------------------------------------------


def minute_labels(of: Market, view: str) -> tuple[str, ...]:
    """The time (bar END, local) of every minute of a view; of slots that share one, the last."""
    ends = {position: minute for minute, position in zip(of.slots, of.views[view], strict=True) if position >= 0}
    return tuple(f"{ends[t] // 60:02d}:{ends[t] % 60:02d}" for t in range(of.view_size(view)))


def part_labels(minutes: tuple[str, ...]) -> tuple[str, ...]:
    """The time at which each half-hour ends."""
    return tuple(minutes[part.stop - 1] for part in session_parts(len(minutes), HALF_HOUR))


def write(found: Explanation, out: Path | None, stores: Stores) -> Path:
    """Write the page (default: under the home's reports); its path. Same store, same bytes."""
    target = out or stores.settings.reports / f"explain-{found.symbol}-{found.session}.html"
    place(target, pages.build(page(found)).encode())
    return target


def require_page(out: Path | None) -> None:
    """Raises UsageError where `out` is not a page's name: asked before anything is computed."""
    if out is not None and out.suffix.lower() not in (".html", ".htm"):
        raise UsageError(
            code="FPM-EXP-005",
            wrong=f"{out.name} is no name of a page",
            effect="nothing was explained",
            todo="give --out FILE.html; for a PNG open the page in a browser: chromium --headless --screenshot FILE.html",
        )


def page(found: Explanation) -> pages.Page:
    """The picture of one fingerprint."""
    seen, words = found.seen, found.words
    session = encoder_charts.session(found.minutes, _plain(found.close_T), _plain(found.volume_T))
    cells = encoder_charts.occlusion(found.parts, seen.families, seen.cell_PU, seen.part_P, seen.family_U)
    sections: list[tuple[str, list[pages.Card]]] = [
        (
            "The session",
            [
                pages.Card(
                    "Price and volume",
                    "Close against the open; volume in units of the symbol's ordinary minute.",
                    session,
                )
            ],
        ),
        (
            "What the fingerprint rests on",
            [
                pages.Card(
                    "Hidden by half-hour and family of features",
                    "How far the fingerprint moves when the cell is made unavailable; 1 is the typical distance between two "
                    "fingerprints of this vintage. Bars: a whole half-hour, or a family all session. White without a number: "
                    "nothing was there to be hidden.",
                    cells,
                )
            ],
        ),
    ]
    if words:
        sections.append(("In words", [_words_card(words), _words_table(words), _axes_card(found.axes)]))
    return pages.Page(
        f"What the encoder saw: {found.symbol}, {found.session}",
        f"Vintage {found.vintage} · as known at {found.known_at.isoformat()} · typical distance {found.unit:.3g} · "
        f"words from {found.earlier} earlier sessions",
        sections,
        _notes(found),
        _SMALL_PRINT,
    )


_SMALL_PRINT = (
    "Hiding is done as in training, where flows of some families and minutes are unavailable to the encoder. Prices "
    "were never hidden from it: their row is a guess further off. Families that know the same (amount, volume) cover "
    "for each other, so a cell can be faint although what it holds matters; the bars show more.",
    "Words: a ridge regression of each hand-made statistic on the fingerprints of earlier sessions, less what all "
    "symbols of a session share. Correlation: out of sample, sessions apart. Formulas: fpm/features/intraday_statistics.py.",
)


def _notes(found: Explanation) -> list[str]:
    notes = []
    if found.off > NEAR:
        notes.append(
            f"The stored fingerprint lies {found.off:.2f} typical distances from what its features give now: it was "
            "made of other features or by other code. The map is of what the features give now."
        )
    if not found.words:
        notes.append("No earlier session has fingerprints of this vintage: there are no words for it yet.")
    return notes


def _words_card(words: tuple[Word, ...]) -> pages.Card:
    names = [_spoken(word.statistic) for word in words]
    return pages.Card(
        "Coordinates on the dictionary",
        "Bar: what the fingerprint says, the fainter the less it can be trusted. Diamond: what the minutes say.",
        encoder_charts.dictionary(
            names,
            [word.read for word in words],
            [word.measured for word in words],
            [word.correlation for word in words],
        ),
    )


def _words_table(words: tuple[Word, ...]) -> pages.Card:
    rows = [(_spoken(word.statistic), word.correlation, word.read, word.measured) for word in words]
    columns = ("statistic", "out of sample", "read, z", "measured, z")
    return pages.Card(
        "How sure the words are",
        "Correlation of what is read with what is measured, on later sessions.",
        None,
        pages.Table(columns, rows),
        wide=False,
    )


def _axes_card(found: tuple[Axis, ...]) -> pages.Card:
    rows = [(axis.name, axis.share, _spoken(axis.statistic), axis.correlation) for axis in found]
    columns = ("principal", "share of the variance", "goes along with", "correlation")
    return pages.Card("The space's widest directions", "", None, pages.Table(columns, rows), wide=False)


def _spoken(name: str) -> str:
    return name.replace("_", " ")


def _plain(x: NDArray[np.float64]) -> list[float | None]:
    return [float(value) if np.isfinite(value) else None for value in x]
