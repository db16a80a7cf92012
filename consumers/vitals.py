"""Vital signs of a session for those who watch: what a scrape should not compute, stored as rows.

Nulls and quarantine of its tables, its universe, RankIC of the scores as they were served once their labels are known,
drift of its fingerprints from the vintage's training window, the forecast test of the risk model, and how long the
home's disk lasts. Labels and earlier scores are no declared inputs: a night is not due again because a later label is
known.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from fpm.errors import StoreCorrupt
from fpm.evaluation.drift import Drift, drift
from fpm.evaluation.intervals import estimate
from fpm.evaluation.rank_ic import rank_ic
from fpm.panels import axes, pivot
from fpm.schema import FINGERPRINT_SIZE, TABLES
from fpm.sessions import parse_session, previous_sessions
from fpm.store.jobs.inputs import Window
from fpm.store.lake.footers import null_counts, rows_of
from fpm.store.lake.quarantine import kept_rows
from fpm.store.ledger.disk import disk
from fpm.store.ledger.vitals import Vital, record_vitals

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import date

    from fpm.store.ledger.stores import Stores

NAME = "vitals"
WATCHED = 60  # sessions over which the mean RankIC is taken
LEVEL = 0.95  # of its band
REFERENCE_SESSIONS, REFERENCE_ROWS, TODAY_ROWS = 12, 150, 1500
VOLATILITY = "volatility_20"
RISK = ("bias", "low", "high", "share", "share_low", "share_high", "sessions", "windows", "inside")
READS = {
    "minute_bars": Window(required=False),
    "daily_bars": Window(),
    "fingerprints": Window(required=False),
    "daily_factors": Window(required=False),
    "scores": Window(required=False),
    "risk_tests": Window(required=False),
}
WRITES = ()
MODELS = ("scorer",)  # names the vintage


def run(session: date, stores: Stores) -> None:
    """Record the vital signs of the session."""
    signs = [
        *nulls(session, stores),
        *quarantine(session, stores),
        *universe(session, stores),
        *rank_ics(session, stores),
        *drifts(session, stores),
        *risk(session, stores),
        *space(stores),
    ]
    record_vitals(session, [sign for sign in signs if np.isfinite(sign.value)], stores.ledger)


def space(stores: Stores) -> Iterable[Vital]:
    """The disk of the home, and how long it lasts."""
    forecast = disk(stores.settings, stores.ledger)
    yield Vital("disk_free_bytes", float(forecast.free))
    if forecast.session is not None:
        yield Vital("disk_session_bytes", float(forecast.session))
    if forecast.days is not None:
        yield Vital("disk_full_days", forecast.days)


def nulls(session: date, stores: Stores) -> Iterable[Vital]:
    """Share of empty cells in each table of the session, all vintages together, by the files' footers."""
    for table in TABLES:
        empty = cells = 0
        for _, path in stores.lake.files(table, session, session):
            counts = null_counts(path)
            empty, cells = empty + sum(counts.values()), cells + rows_of(path) * len(counts)
        if cells:
            yield Vital("null_share", empty / cells, {"table": table})


def quarantine(session: date, stores: Stores) -> Iterable[Vital]:
    """Rows of the session that may not enter the lake, by table and code; 0 of minute bars where there is none.

    A damaged file of the quarantine counts as one row, under the code of its damage.
    """
    folder = stores.settings.quarantine
    counts: dict[tuple[str, str], int] = {}
    for path in folder.glob(f"*/session={session}/*.parquet"):
        try:
            codes = Counter(kept_rows(path, ["reason_code"])["reason_code"].to_list())
        except StoreCorrupt as error:
            codes = Counter([error.code])
        for code, number in codes.items():
            key = path.parent.parent.name, str(code)
            counts[key] = counts.get(key, 0) + number
    yield Vital("quarantined_rows_sum", float(sum(counts.values())))
    for (table, code), number in sorted(counts.items()):
        yield Vital("quarantined_rows", float(number), {"table": table, "code": code})


def universe(session: date, stores: Stores) -> Iterable[Vital]:
    """Symbols of the session at each stage: delivered, with a fingerprint, scored."""
    for table in ("minute_bars", "daily_bars", "fingerprints", "scores"):
        rows = stores.read(table, session, session, columns=["symbol"])
        if len(rows):
            yield Vital("universe_symbols", float(rows["symbol"].n_unique()), {"table": table})


def rank_ics(session: date, stores: Stores) -> Iterable[Vital]:
    """RankIC of each stream's scores as served, of the newest labelled session and its mean with the band."""
    horizon = stores.settings.model_choices.horizon
    days = previous_sessions(stores.market, session, WATCHED + horizon)[:-horizon]
    labels = stores.read("labels", days[0], days[-1], columns=["symbol", "label"])
    labelled = sorted(labels["session"].unique().to_list())
    if not labelled:
        return
    scores = stores.read_served("scores", labelled[0], labelled[-1], columns=["symbol", "stream", "score"])
    for (stream,), rows in scores.partition_by("stream", as_dict=True).items():
        sessions, symbols = axes(rows)
        series_T = rank_ic(pivot(rows, "score", sessions, symbols), pivot(labels, "label", sessions, symbols))
        finite = np.flatnonzero(np.isfinite(series_T))
        if not len(finite):
            continue
        whole = estimate(series_T, horizon, LEVEL)
        figures = {"rank_ic": series_T[finite[-1]], "rank_ic_mean": whole.value, "rank_ic_sessions": whole.sessions}
        if whole.interval is not None:
            figures |= {"rank_ic_low": whole.interval.low, "rank_ic_high": whole.interval.high}
        for name, value in figures.items():
            yield Vital(name, float(value if value is not None else np.nan), {"stream": str(stream)})


def drifts(session: date, stores: Stores) -> Iterable[Vital]:
    """Discrepancy of the session's fingerprints from those of the vintage's training window, given volatility."""
    vintage = stores.models.record_in_force("scorer", session).manifest["vintage"]
    measured_drift = fingerprint_drift(session, vintage, stores)
    if measured_drift is not None:
        for name, value in (
            ("drift", measured_drift.value),
            ("drift_band", measured_drift.band),
            ("drift_covered", measured_drift.covered),
        ):
            yield Vital(f"fingerprint_{name}", value, {"vintage": vintage})


def fingerprint_drift(session: date, vintage: str, stores: Stores) -> Drift | None:
    """The drift of one session; None where the vintage's training sessions have no fingerprints or volatility."""
    folds = stores.models.record("encoder", vintage).manifest.get("folds", {})
    if "train" not in folds:
        return None
    first, last = (parse_session(text) for text in folds["train"][:2])
    days = [day for day in stores.sessions("fingerprints", vintage) if first <= day <= last]
    chosen = [days[number] for number in _spread(len(days), REFERENCE_SESSIONS)]
    reference = [_rows(day, vintage, REFERENCE_ROWS, stores) for day in chosen]
    today_MD, volatility_M = _rows(session, vintage, TODAY_ROWS, stores)
    if not reference or not len(today_MD):
        return None
    numbers = np.repeat(np.arange(len(reference)), [len(z_ND) for z_ND, _ in reference])
    z_ND, volatility_N = (np.concatenate([rows[part] for rows in reference]) for part in (0, 1))
    return drift(z_ND, volatility_N, numbers, today_MD, volatility_M)


def _rows(day: date, vintage: str, most: int, stores: Stores) -> tuple[np.ndarray, np.ndarray]:
    """Fingerprints and volatilities of at most so many symbols, evenly from the whole list."""
    z = stores.read("fingerprints", day, day, columns=["symbol", "fingerprint"], vintage=vintage)
    volatility = stores.read("daily_factors", day, day, columns=["symbol", VOLATILITY]).drop("session")
    rows = z.join(volatility, on="symbol", maintain_order="left")
    rows = rows[_spread(len(rows), most)]
    z_ND = rows["fingerprint"].to_numpy().astype(np.float64).reshape(len(rows), FINGERPRINT_SIZE)
    return z_ND, rows[VOLATILITY].cast(pl.Float64).to_numpy()


def _spread(count: int, most: int) -> Sequence[int]:
    """At most `most` positions of `count`, evenly."""
    return sorted({round(position) for position in np.linspace(0, count - 1, min(count, most))})


def risk(session: date, stores: Stores) -> Iterable[Vital]:
    """The forecast tests of the session's risk model, as `fpm evaluate risk` shows them."""
    for row in stores.read("risk_tests", session, session).rows(named=True):
        labels = {"index": row["index"], "kind": row["kind"]}
        for name in RISK:
            if row[name] is not None:
                yield Vital(f"risk_{name}", float(row[name]), labels)
