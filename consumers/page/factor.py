"""The factor as it was served: RankIC as labels mature, groups, turnover, drift, seed spread; reports and passport."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from consumers.questions.judgement import evaluation_config
from consumers.streams import outside_vintages
from fpm.errors import InputRefused
from fpm.evaluation.groups import group_count, group_returns, memberships, turnovers
from fpm.evaluation.intervals import estimate
from fpm.evaluation.rank_ic import rank_correlations, sort
from fpm.page.factor import Document, Factor, StreamFigures
from fpm.page.marks import moment
from fpm.report.figure_text import number
from fpm.report.passport import unseal

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date
    from pathlib import Path

    from consumers.page.served import Served, Stream
    from fpm.evaluation.evaluate import EvaluationConfig
    from fpm.evaluation.rank_ic import SortedPanel
    from fpm.panels import Floats
    from fpm.store.ledger.stores import Stores

SMOOTH = 20  # sessions of the moving mean
DOCUMENTS = 12
PASSPORT = "passport.json"
DRIFT = {"fingerprint_drift": "drift", "fingerprint_drift_band": "its band"}


def gathered(panels: Served, stores: Stores) -> Factor:
    """What the view shows."""
    config, label = evaluation_config(stores.settings), sort(panels.label_TN)
    return Factor(
        panels.sessions,
        config.horizon,
        {name: figures(stream, label, panels, config) for name, stream in panels.streams.items()},
        drift(stores),
        documents(stores.settings.reports),
        passport(stores.settings.reports / PASSPORT),
        {stream: born for name, born in outside_vintages(stores).items() for stream in (name, f"{name}.dual")},
    )


def figures(stream: Stream, label: SortedPanel, panels: Served, config: EvaluationConfig) -> StreamFigures:
    """Figures of one stream over the panels' sessions; `label`: the panels' labels, sorted."""
    score, sessions = stream.score, panels.sessions
    series_T = rank_correlations(score, label, config.minimum_symbols)
    groups = group_count(stream.score_TN, panels.label_TN, config.groups)
    group_TN = memberships(score, groups)
    returns_TG = group_returns(group_TN, panels.label_TN, groups)
    return StreamFigures(
        points(sessions, series_T),
        points(sessions, moving_mean(series_T, SMOOTH)),
        estimate(series_T, config.horizon, config.level),
        [estimate(returns_TG[:, group], config.horizon, config.level) for group in range(groups)],
        points(sessions, turnovers(group_TN, groups)),
        points(sessions, relative_spread(stream)),
    )


def points(sessions: Sequence[date], values_T: Floats) -> list[tuple[date, float]]:
    """The finite values with their sessions."""
    return [(sessions[place], float(values_T[place])) for place in np.flatnonzero(np.isfinite(values_T)).tolist()]


def moving_mean(values_T: Floats, length: int) -> Floats:
    """Mean of the last `length` finite values at each of them; NaN before there are as many, and where there is none.

    >>> moving_mean(np.array([1.0, np.nan, 3.0, 5.0]), 2).tolist()
    [nan, nan, 2.0, 4.0]
    """
    means_T, finite = np.full(len(values_T), np.nan), np.flatnonzero(np.isfinite(values_T))
    if len(finite) >= length:
        sums = np.cumsum(np.concatenate([[0.0], values_T[finite]]))
        means_T[finite[length - 1 :]] = (sums[length:] - sums[:-length]) / length
    return means_T


def relative_spread(stream: Stream) -> Floats:
    """Mean spread over the seeds in units of the scores' own standard deviation, by session (T,)."""
    both_TN = np.isfinite(stream.score_TN) & np.isfinite(stream.spread_TN)
    count_T = both_TN.sum(axis=1)
    mean_T = np.where(both_TN, stream.spread_TN, 0.0).sum(axis=1) / np.maximum(count_T, 1)
    centre_T1 = np.where(both_TN, stream.score_TN, 0.0).sum(axis=1, keepdims=True) / np.maximum(count_T, 1)[:, None]
    square_T = np.square(np.where(both_TN, stream.score_TN - centre_T1, 0.0)).sum(axis=1)
    deviation_T = np.sqrt(square_T / np.maximum(count_T - 1, 1))
    return np.where((count_T > 2) & (deviation_T > 0), mean_T / np.where(deviation_T > 0, deviation_T, 1.0), np.nan)


def drift(stores: Stores) -> dict[str, list[tuple[date, float]]]:
    """Drift and its band by session, as the nights measured them."""
    rows = stores.ledger.query(
        "SELECT name, session, value FROM fpm.vitals WHERE name = ANY(%s) ORDER BY session", (list(DRIFT),)
    )
    return {title: [(day, value) for name, day, value in rows if name == sign] for sign, title in DRIFT.items()}


def documents(folder: Path) -> list[Document]:
    """The newest pages and documents of the home's reports."""
    files = [path for path in folder.glob("*") if path.is_file() and path.suffix in (".html", ".json", ".md")]
    documents = [(path.stat(), path.name) for path in files]
    newest = sorted(documents, key=lambda each: (-each[0].st_mtime, each[1]))[:DOCUMENTS]
    return [Document(name, stat.st_size, datetime.fromtimestamp(stat.st_mtime, UTC)) for stat, name in newest]


def passport(path: Path) -> dict[str, str] | None:
    """What the newest passport says; None where there is none."""
    try:
        sealed = unseal(path.read_bytes())
    except FileNotFoundError:
        return None
    except InputRefused as refusal:
        return {"refused": refusal.wrong, "todo": refusal.todo}
    partitions, code = sealed.get("partitions", {}), sealed.get("code", {})
    stated = {
        "data up to": _moment((sealed.get("known_at") or {}).get("data")),
        **dict(_headline(sealed.get("figures"))),
        "settings tried": str((sealed.get("trials") or {}).get("count", "")),
        "partitions": number(len(partitions), 0),
        "source files": number(len(code.get("files", {})), 0),
    }
    return {name: value for name, value in stated.items() if value}


def _moment(text: Any) -> str:
    return moment(datetime.fromisoformat(text)) if isinstance(text, str) else ""


def _headline(figures: Any) -> list[tuple[str, str]]:
    """RankIC of each stream as the passport states it."""
    streams = figures.get("streams", figures) if isinstance(figures, dict) else {}
    return [
        (f"RankIC of all sessions, {name}", number(float(each["rank_ic_all_days"])))
        for name, each in streams.items()
        if isinstance(each, dict) and isinstance(each.get("rank_ic_all_days"), int | float)
    ]
