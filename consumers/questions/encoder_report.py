"""`fpm evaluate encoder`: has a vintage collapsed? Its figures beside its untrained self and PCA of its inputs.

Figures are of the newest sessions that have features: up to `ROWS` symbol-sessions, the same symbols in each session.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from consumers.questions.explain import encoder_model
from consumers.questions.page_links import page_links
from fpm.errors import TryLater
from fpm.features.minute_features import from_frame
from fpm.nn.encoder import vintage as vintages
from fpm.nn.encoder.baselines import input_components, untrained_fingerprints
from fpm.nn.encoder.collapse import chance_share, collapse_figures, figures_by_session, gate, spectrum
from fpm.nn.fit import deterministic
from fpm.report import encoder_charts, pages
from fpm.schema import MINUTE_FEATURES
from fpm.store.lake.small_files import write_whole

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date
    from pathlib import Path

    from numpy.typing import NDArray

    from fpm.store.ledger.models import Model
    from fpm.store.ledger.stores import Stores

SESSIONS, ROWS = 20, 2048
TRAINED, UNTRAINED, INPUTS = "trained", "untrained", "PCA of the inputs"
TITLES = {
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
    """N symbol-sessions with their features.

    `attributes`: industry, log_size and volatility_20 of each; null where not known.
    """

    symbols: list[str]
    sessions: list[date]
    x_NTF: NDArray[np.float32]
    attributes: pl.DataFrame

    @property
    def industries(self) -> list[str]:
        """The industry of each row; empty where the home has none."""
        industries = self.attributes["industry"]
        return industries.fill_null("unknown").to_list() if industries.count() else []


@dataclass(frozen=True)
class Diagnosis:
    """A vintage's rows with their vectors z_ND, and the figures of these, under `TRAINED`, `UNTRAINED` and `INPUTS`."""

    model: Model
    rows: Rows
    vectors: Mapping[str, NDArray[np.floating]]
    figures: Mapping[str, dict[str, float]]


def evaluate(vintage: str | None, stores: Stores) -> dict[str, Any]:
    """Figures of a vintage (None: the one in force for the newest session); writes the page that shows them.

    Raises UsageError for an unknown vintage, TryLater where there is no vintage or there are no features,
    ModelRefused where the vintage is of another profile.
    """
    model = encoder_model(vintage, _sessions(stores)[-1], stores, "nothing was judged")
    diagnosis = diagnose(model, stores)
    target = stores.settings.reports / f"encoder-{model.id}.html"
    write_whole(target, pages.build(page(diagnosis, page_links(target))).encode())
    return _document(diagnosis, target)


def diagnose(model: Model, stores: Stores) -> Diagnosis:
    """Embed the rows with the vintage, with its untrained self, and as principal components."""
    rows = _rows(stores)
    vintage = vintages.load(model.manifest, model.files())
    seed = int(model.manifest["pretraining"]["fit"]["seed"])
    with deterministic(0):
        trained_ND = vintage.embed(rows.x_NTF)
    vectors = {
        TRAINED: trained_ND,
        UNTRAINED: untrained_fingerprints(vintage.encoder, seed, rows.x_NTF),
        INPUTS: input_components(vintage.encoder, rows.x_NTF),
    }
    labels = rows.symbols, rows.sessions, rows.industries
    return Diagnosis(model, rows, vectors, {name: collapse_figures(z_ND, *labels) for name, z_ND in vectors.items()})


def _sessions(stores: Stores) -> list[date]:
    """The newest sessions with features. Raises TryLater where there are none."""
    sessions = stores.sessions(MINUTE_FEATURES.name)[-SESSIONS:]
    if not sessions:
        raise TryLater(
            code="FPM-EXP-076",
            wrong="no session has minute features",
            effect="nothing was judged",
            todo="write them: fpm backfill minute_features FIRST LAST",
        )
    return sessions


def _rows(stores: Stores) -> Rows:
    """The newest sessions, newest first, with the same companies in each: evenly spaced among those of the newest."""
    sessions, profile = _sessions(stores), stores.profile
    stores = stores.named_apart(sessions[-1])
    sample: set[str] = set()
    symbols: list[str] = []
    days: list[date] = []
    features, attributes = [], []
    for session in reversed(sessions):
        market, x_STF = from_frame(stores.read(MINUTE_FEATURES.name, session), profile)
        sample = sample or {market[i] for i in _spread(len(market), ROWS // len(sessions))}
        present = [i for i, symbol in enumerate(market) if symbol in sample and np.isfinite(x_STF[i]).any()]
        symbols += [market[i] for i in present]
        days += [session] * len(present)
        features.append(x_STF[present])
        attributes.append(_attributes(session, [market[i] for i in present], stores))
    return Rows(symbols, days, np.concatenate(features), pl.concat(attributes))


def _spread(count: int, most: int) -> list[int]:
    """Up to `most` positions, evenly spaced in `count`."""
    return sorted(set(np.linspace(0, count - 1, min(count, max(most, 2))).round().astype(int).tolist()))


def _attributes(session: date, symbols: list[str], stores: Stores) -> pl.DataFrame:
    """Industry, log_size and volatility_20 of the symbols, in their order."""
    attributes = pl.DataFrame({"symbol": pl.Series(symbols, dtype=pl.String)})
    for table, columns in (("daily_bars", ["industry"]), ("daily_factors", ["log_size", "volatility_20"])):
        rows = stores.read(table, session, session, columns=["symbol", *columns]).drop("session")
        absent = [pl.lit(None).alias(name) for name in columns if name not in rows.columns]
        attributes = attributes.join(rows.with_columns(absent), on="symbol", how="left", maintain_order="left")
    types = {"industry": pl.String, "log_size": pl.Float64, "volatility_20": pl.Float64}
    return attributes.select(pl.col(name).cast(kind) for name, kind in types.items())


# --- the answer of the command ------------------------------------------------------------------------------------


def _document(diagnosis: Diagnosis, target: Path) -> dict[str, Any]:
    model, rows = diagnosis.model, diagnosis.rows
    return {
        "collapsed": _collapsed(diagnosis),
        "vintage": model.id,
        "through": str(model.through),
        "status": model.status,
        "refused_because": model.manifest["refused_because"],
        "gate_now": _verdict(diagnosis),
        "rows": len(rows.symbols),
        "first": str(min(rows.sessions)),
        "last": str(max(rows.sessions)),
        "seen_in_training": _sessions_in_training(diagnosis),
        "diagnostics": _diagnostics(diagnosis),
        "nearest_neighbour_is_of_the_same": _neighbours(diagnosis),
        "by_epoch": _epochs(model),
        "by_session": _by_session(diagnosis),
        "page": str(target),
    }


def _collapsed(diagnosis: Diagnosis) -> str:
    """The gate's answer on these rows: no, or yes and why."""
    refusal = gate(diagnosis.figures[TRAINED], diagnosis.figures[UNTRAINED])
    return f"yes, {refusal}" if refusal else "no"


def _verdict(diagnosis: Diagnosis) -> str:
    return gate(diagnosis.figures[TRAINED], diagnosis.figures[UNTRAINED]) or "would be promoted"


def _sessions_in_training(diagnosis: Diagnosis) -> int:
    """Number of the rows' sessions that the vintage was trained on."""
    return sum(session <= diagnosis.model.through for session in set(diagnosis.rows.sessions))


def _diagnostics(diagnosis: Diagnosis) -> list[dict[str, Any]]:
    return [
        {"figure": title, **{vectors: figures[name] for vectors, figures in diagnosis.figures.items()}}
        for name, title in TITLES.items()
    ]


def _neighbours(diagnosis: Diagnosis) -> list[dict[str, Any]]:
    rows = diagnosis.rows
    chance: dict[str, Sequence[object]] = {
        "same_symbol": rows.symbols,
        "same_session": rows.sessions,
        "same_industry": rows.industries,
    }
    return [
        {
            "same": title,
            **{vectors: figures[name] for vectors, figures in diagnosis.figures.items()},
            "by chance": chance_share(chance[name]),
        }
        for name, title in SAME.items()
        if name in diagnosis.figures[TRAINED]
    ]


def _epochs(model: Model) -> list[dict[str, Any]]:
    """The figures that training recorded after every epoch, on its own held-out sessions."""
    history = model.manifest.get("history", [])
    names = [name for name in (*TITLES, *SAME) if any(name in epoch for epoch in history)]
    return [{"epoch": i + 1, **{name: epoch.get(name) for name in names}} for i, epoch in enumerate(history)]


def _by_session(diagnosis: Diagnosis) -> list[dict[str, Any]]:
    rows = diagnosis.rows
    figures = figures_by_session(diagnosis.vectors[TRAINED], rows.sessions, rows.industries)
    return [
        {"session": str(session), **figures[session], "count": rows.sessions.count(session)}
        for session in sorted(set(rows.sessions))
    ]


# --- the page -----------------------------------------------------------------------------------------------------


def page(diagnosis: Diagnosis, links: Sequence[tuple[str, str]] = ()) -> pages.Page:
    """Tables, the spectrum, figures by epoch, and the map by industry, size, volatility and session."""
    model, epochs = diagnosis.model, _epochs(diagnosis.model)
    curve = {name: spectrum(z_ND) for name, z_ND in diagnosis.vectors.items()}
    tables = [
        _card(
            "Diagnostics",
            "The same rows under the vintage, under its untrained self, and as principal components "
            "of the standardised minutes.",
            _diagnostics(diagnosis),
        ),
        _card("The nearest neighbour is of the same", "By chance: two rows drawn at random.", _neighbours(diagnosis)),
        pages.Card("Spectrum", "A steep line is a space of few directions.", encoder_charts.spectrum(curve)),
    ]
    untrained = model.manifest.get("untrained", {})
    curves = [
        pages.Card(
            TITLES[name],
            "After each epoch, on the training's held-out sessions.",
            encoder_charts.by_epoch(epochs, name, untrained.get(name)),
            wide=False,
        )
        for name in ("rank", "uniformity")
        if epochs
    ]
    sections = [("Has it collapsed?", tables), ("By epoch", [*curves, _card("Every epoch", "", epochs)])]
    sections += [
        ("The map", _maps(diagnosis)),
        ("By session", [_card("Each session alone", "", _by_session(diagnosis))]),
    ]
    notes = [f"Refused: {model.manifest['refused_because']}"] if model.status == "refused" else []
    first, last = min(diagnosis.rows.sessions), max(diagnosis.rows.sessions)
    subtitle = (
        f"Trained through {model.through} · {model.status} · judged on {len(diagnosis.rows.symbols)} symbol-sessions "
        f"of {first} to {last}, of which {_sessions_in_training(diagnosis)} sessions were trained on"
    )
    title, first_line = f"Encoder {model.id}", f"collapsed: {_collapsed(diagnosis)}"
    return pages.Page(title, subtitle, sections, notes, _SMALL_PRINT, first_line, links)


_SMALL_PRINT = (
    (
        "Effective rank: exp of the entropy of the singular values (Garrido et al. 2023). Participation: (sum l)² / "
        "sum l² over eigenvalues of the covariance. Dead: deviation below a hundredth of the median dimension's. "
        "Uniformity: Wang and Isola 2020. Nearest by Euclidean distance among all rows."
    ),
    "The map is the plane of the two widest directions: exact, the same every time, and blind to narrow directions.",
)


def _card(title: str, text: str, records: list[dict[str, Any]]) -> pages.Card:
    columns = list(dict.fromkeys(name for record in records for name in record))
    cells = [[record.get(name) for name in columns] for record in records]
    return pages.Card(title, text, None, pages.Table([name.replace("_", " ") for name in columns], cells))


def _maps(diagnosis: Diagnosis) -> list[pages.Card]:
    z_ND, rows = diagnosis.vectors[TRAINED].astype(np.float64), diagnosis.rows
    left_NN, size_N, _ = np.linalg.svd(z_ND - z_ND.mean(axis=0), full_matrices=False)
    xy_N2 = left_NN[:, :2] * size_N[:2]
    days = {session: i for i, session in enumerate(sorted(set(rows.sessions)))}
    cards = []
    if rows.industries:
        cards.append(_map("industry", xy_N2, rows.industries))
    for name, title in (("log_size", "size (log)"), ("volatility_20", "volatility, 20 sessions")):
        present = rows.attributes[name].is_not_null().to_numpy()
        if present.any():
            cards.append(_map(title, xy_N2[present], rows.attributes[name].drop_nulls().to_list()))
    return [*cards, _map("session, oldest to newest", xy_N2, [float(days[session]) for session in rows.sessions])]


def _map(title: str, xy_N2: NDArray[np.float64], values: list[Any]) -> pages.Card:
    return pages.Card(f"By {title}", "", encoder_charts.coloured_map(xy_N2, values, title), wide=False)
