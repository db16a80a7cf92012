"""`fpm evaluate encoder`: has a vintage collapsed? Its figures beside its own beginning and the inputs' components.

Judged on the newest sessions that have features: as many rows as fit, the same symbols in each.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from consumers.questions.explain import encoder_asked
from fpm.errors import TryLater
from fpm.features.minute_features import from_frame
from fpm.nn.encoder import vintage as vintages
from fpm.nn.encoder.baselines import input_components, untrained_fingerprints
from fpm.nn.encoder.collapse import by_chance, collapse_figures, figures_by_session, gate, spectrum
from fpm.nn.fit import deterministic
from fpm.report import encoder_charts, pages
from fpm.schema import MINUTE_FEATURES
from fpm.store.lake.small_files import place

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date
    from pathlib import Path

    from numpy.typing import NDArray

    from fpm.store.ledger.models import Model
    from fpm.store.ledger.stores import Stores

SESSIONS, ROWS = 20, 2048
TRAINED, BEFORE, INPUTS = "trained", "untrained", "PCA of the inputs"
SPOKEN = {
    "rank": "effective rank (RankMe)",
    "participation": "participation ratio",
    "dead": "dead dimensions, share",
    "top_eigenvalue": "largest eigenvalue, share",
    "uniformity": "uniformity (one point 0, a full cloud near minus 4)",
    "correlation": "mean correlation of two dimensions",
}
SAME = {"same_symbol": "symbol", "same_industry": "industry", "same_session": "session"}


@dataclass(frozen=True)
class Rows:
    """What is judged: N symbol-sessions with their features; `about`: industry, log_size, volatility_20, null where
    they are not known.
    """

    symbols: list[str]
    sessions: list[date]
    x_NTF: NDArray[np.float32]
    about: pl.DataFrame

    @property
    def industries(self) -> list[str]:
        """Empty where the deployment knows of none."""
        known = self.about["industry"]
        return known.fill_null("unknown").to_list() if known.count() else []


@dataclass(frozen=True)
class Judged:
    """Vectors by what made them, z_ND each, and their figures."""

    model: Model
    rows: Rows
    vectors: Mapping[str, NDArray[np.floating]]
    figures: Mapping[str, dict[str, float]]


def evaluate(vintage: str | None, stores: Stores) -> dict[str, Any]:
    """Figures of a vintage (None: the one in force for the newest session), and the page they are drawn on.

    Raises UsageError for an unknown vintage, TryLater where there is no vintage or there are no features,
    ModelRefused where the vintage is of another profile.
    """
    judged = judge(encoder_asked(vintage, _sessions(stores)[-1], stores, "nothing was judged"), stores)
    target = stores.settings.reports / f"encoder-{judged.model.id}.html"
    place(target, pages.build(page(judged)).encode())
    return _told(judged, target)


def judge(model: Model, stores: Stores) -> Judged:
    """Embed the rows with the vintage, with its beginning, and as components."""
    rows = _rows(stores)
    of = vintages.load(model.manifest, model.files())
    seed = int(model.manifest["pretraining"]["fit"]["seed"])
    with deterministic(0):
        trained_ND = of.embed(rows.x_NTF)
    vectors = {
        TRAINED: trained_ND,
        BEFORE: untrained_fingerprints(of.encoder, seed, rows.x_NTF),
        INPUTS: input_components(of.encoder, rows.x_NTF),
    }
    labels = rows.symbols, rows.sessions, rows.industries
    return Judged(model, rows, vectors, {name: collapse_figures(z_ND, *labels) for name, z_ND in vectors.items()})


def _sessions(stores: Stores) -> list[date]:
    found = stores.sessions(MINUTE_FEATURES.name)[-SESSIONS:]
    if not found:
        raise TryLater(
            code="FPM-EXP-076",
            wrong="no session has minute features",
            effect="nothing was judged",
            todo="write them: fpm backfill minute_features FIRST LAST",
        )
    return found


def _rows(stores: Stores) -> Rows:
    """The newest sessions, of each the same symbols: evenly spaced among those of the last one."""
    sessions, profile = _sessions(stores), stores.profile
    chosen: set[str] = set()
    symbols: list[str] = []
    days: list[date] = []
    features, about = [], []
    for session in reversed(sessions):
        known, x_STF = from_frame(stores.read(MINUTE_FEATURES.name, session), profile)
        chosen = chosen or {known[i] for i in _spread(len(known), ROWS // len(sessions))}
        there = [i for i, symbol in enumerate(known) if symbol in chosen and np.isfinite(x_STF[i]).any()]
        symbols += [known[i] for i in there]
        days += [session] * len(there)
        features.append(x_STF[there])
        about.append(_about(session, [known[i] for i in there], stores))
    return Rows(symbols, days, np.concatenate(features), pl.concat(about))


def _spread(count: int, most: int) -> list[int]:
    return sorted(set(np.linspace(0, count - 1, min(count, max(most, 2))).round().astype(int).tolist()))


def _about(session: date, symbols: list[str], stores: Stores) -> pl.DataFrame:
    about = pl.DataFrame({"symbol": pl.Series(symbols, dtype=pl.String)})
    for table, columns in (("daily_bars", ["industry"]), ("daily_factors", ["log_size", "volatility_20"])):
        rows = stores.read(table, session, session, columns=["symbol", *columns]).drop("session")
        absent = [pl.lit(None).alias(name) for name in columns if name not in rows.columns]
        about = about.join(rows.with_columns(absent), on="symbol", how="left", maintain_order="left")
    types = {"industry": pl.String, "log_size": pl.Float64, "volatility_20": pl.Float64}
    return about.select(pl.col(name).cast(of) for name, of in types.items())


# --- what is told -------------------------------------------------------------------------------------------------


def _told(judged: Judged, target: Path) -> dict[str, Any]:
    model, rows = judged.model, judged.rows
    return {
        "vintage": model.id,
        "through": str(model.through),
        "status": model.status,
        "refused_because": model.manifest["refused_because"],
        "gate_now": _verdict(judged),
        "rows": len(rows.symbols),
        "first": str(min(rows.sessions)),
        "last": str(max(rows.sessions)),
        "seen_in_training": _seen(judged),
        "diagnostics": _diagnostics(judged),
        "nearest_neighbour_is_of_the_same": _neighbours(judged),
        "by_epoch": _epochs(model),
        "by_session": _by_session(judged),
        "page": str(target),
    }


def _verdict(judged: Judged) -> str:
    return gate(judged.figures[TRAINED], judged.figures[BEFORE]) or "would be promoted"


def _seen(judged: Judged) -> int:
    """How many of the judged sessions the vintage has learnt from."""
    return sum(session <= judged.model.through for session in set(judged.rows.sessions))


def _diagnostics(judged: Judged) -> list[dict[str, Any]]:
    return [
        {"figure": SPOKEN[name], **{of: figures[name] for of, figures in judged.figures.items()}} for name in SPOKEN
    ]


def _neighbours(judged: Judged) -> list[dict[str, Any]]:
    rows = judged.rows
    chance: dict[str, Sequence[object]] = {
        "same_symbol": rows.symbols,
        "same_session": rows.sessions,
        "same_industry": rows.industries,
    }
    return [
        {
            "same": spoken,
            **{of: figures[name] for of, figures in judged.figures.items()},
            "by chance": by_chance(chance[name]),
        }
        for name, spoken in SAME.items()
        if name in judged.figures[TRAINED]
    ]


def _epochs(model: Model) -> list[dict[str, Any]]:
    """What the training recorded after every epoch, on its own held-out sessions."""
    history = model.manifest.get("history", [])
    named = [name for name in (*SPOKEN, *SAME) if any(name in epoch for epoch in history)]
    return [{"epoch": i + 1, **{name: epoch.get(name) for name in named}} for i, epoch in enumerate(history)]


def _by_session(judged: Judged) -> list[dict[str, Any]]:
    rows = judged.rows
    found = figures_by_session(judged.vectors[TRAINED], rows.sessions, rows.industries)
    return [
        {"session": str(session), **found[session], "count": rows.sessions.count(session)}
        for session in sorted(set(rows.sessions))
    ]


# --- the page -----------------------------------------------------------------------------------------------------


def page(judged: Judged) -> pages.Page:
    """Tables, the spectrum, figures by epoch, and the map in four colours."""
    model, epochs = judged.model, _epochs(judged.model)
    curve = {name: spectrum(z_ND) for name, z_ND in judged.vectors.items()}
    tables = [
        _card(
            "Diagnostics",
            "The same rows under the vintage, under its own beginning, and as principal components "
            "of the standardised minutes.",
            _diagnostics(judged),
        ),
        _card("The nearest neighbour is of the same", "By chance: two rows drawn at random.", _neighbours(judged)),
        pages.Card("Spectrum", "A steep line is a space of few directions.", encoder_charts.spectrum(curve)),
    ]
    before = model.manifest.get("untrained", {})
    drawn = [
        pages.Card(
            SPOKEN[name],
            "After each epoch, on the training's held-out sessions.",
            encoder_charts.by_epoch(epochs, name, before.get(name)),
            wide=False,
        )
        for name in ("rank", "uniformity")
        if epochs
    ]
    sections = [("Has it collapsed?", tables), ("By epoch", [*drawn, _card("Every epoch", "", epochs)])]
    sections += [("The map", _maps(judged)), ("By session", [_card("Each session alone", "", _by_session(judged))])]
    notes = [f"Refused: {model.manifest['refused_because']}"] if model.status == "refused" else []
    if _verdict(judged) != "would be promoted":
        notes.append(f"On these rows the gate would refuse it: {_verdict(judged)}")
    first, last = min(judged.rows.sessions), max(judged.rows.sessions)
    subtitle = (
        f"Trained through {model.through} · {model.status} · judged on {len(judged.rows.symbols)} symbol-sessions of "
        f"{first} to {last}, of which {_seen(judged)} sessions were learnt from"
    )
    return pages.Page(f"Encoder {model.id}", subtitle, sections, notes, _SMALL_PRINT)


_SMALL_PRINT = (
    "Effective rank: exp of the entropy of the singular values (Garrido et al. 2023). Participation: (sum l)² / sum l² "
    "over eigenvalues of the covariance. Dead: deviation below a hundredth of the median dimension's. Uniformity: Wang "
    "and Isola 2020. Nearest by Euclidean distance among all rows.",
    "The map is the plane of the two widest directions: exact and the same every time, and it shows only what is wide.",
)


def _card(title: str, text: str, records: list[dict[str, Any]]) -> pages.Card:
    columns = list(dict.fromkeys(name for record in records for name in record))
    cells = [[record.get(name) for name in columns] for record in records]
    return pages.Card(title, text, None, pages.Table([name.replace("_", " ") for name in columns], cells))


def _maps(judged: Judged) -> list[pages.Card]:
    z_ND, rows = judged.vectors[TRAINED].astype(np.float64), judged.rows
    left_NN, size_N, _ = np.linalg.svd(z_ND - z_ND.mean(axis=0), full_matrices=False)
    place_N2 = left_NN[:, :2] * size_N[:2]
    days = {session: i for i, session in enumerate(sorted(set(rows.sessions)))}
    cards = []
    if rows.industries:
        cards.append(_map("industry", place_N2, rows.industries))
    for name, spoken in (("log_size", "size (log)"), ("volatility_20", "volatility, 20 sessions")):
        there = rows.about[name].is_not_null().to_numpy()
        if there.any():
            cards.append(_map(spoken, place_N2[there], rows.about[name].drop_nulls().to_list()))
    return [*cards, _map("session, oldest to newest", place_N2, [float(days[session]) for session in rows.sessions])]


def _map(what: str, place_N2: NDArray[np.float64], values: list[Any]) -> pages.Card:
    return pages.Card(f"By {what}", "", encoder_charts.coloured_map(place_N2, values, what), wide=False)
