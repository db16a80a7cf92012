"""One symbol: scores as served, factor values, portfolios, refused rows; and the search for one."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from fpm.errors import StoreCorrupt
from fpm.identities import APART
from fpm.page.marks import moment
from fpm.page.names import Name, Ranked, Scored, Value, name, search
from fpm.report.figure_text import number, percent
from fpm.schema import CLASSIC, DAILY_FACTORS
from fpm.store.lake.quarantine import kept_rows
from fpm.symbols import normalise

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import date
    from pathlib import Path

    from consumers.page.served import Served, Stream
    from fpm.page.views import View
    from fpm.store.ledger.stores import Stores

MATCHES, ENDS = 40, 15
QUARANTINE_SESSIONS, QUARANTINE_ROWS = 20, 50
MAIN = ("dual", "fingerprint")  # the stream whose ends are listed: the first there is
PRICES = ("open", "high", "low", "close", "pre_close", "limit_up", "limit_down")


def answered(question: str, panels: Served, stores: Stores) -> View:
    """The view of the symbol that the question names; else those that are like it."""
    words = question.strip()
    days = stores.sessions("daily_bars")
    traded = stores.read("daily_bars", days[-1], columns=["symbol"])["symbol"].to_list() if days else []
    symbols = sorted(symbol for symbol in {*panels.symbols, *traded} if APART not in symbol)
    canonical = normalise(words, stores.market).symbol if words else None
    if canonical is not None and canonical not in symbols and days:
        canonical = _present_name(canonical, stores.named(days[-1]).renames)
    if canonical is not None and (canonical in symbols or any(_anywhere(canonical, stores))):
        return name(gathered(canonical, panels, stores))
    matches = [symbol for symbol in symbols if words and words.upper() in symbol.upper()][:MATCHES]
    matches = matches or get_close_matches(words.upper(), symbols, n=8, cutoff=0.7) if words else []
    if len(matches) == 1:
        return name(gathered(matches[0], panels, stores))
    stream, top, bottom = ("", [], []) if words else ends(panels, stores)
    newest = panels.sessions[-1] if panels.sessions else None
    return search(words, matches, newest, top, bottom, stream)


def _present_name(symbol: str, renames: pl.DataFrame) -> str:
    """What the company is called now that had a symbol last; the symbol itself where it was not renamed."""
    later = renames.filter(pl.col("symbol") == symbol).drop_nulls("name")
    return str(later["name"][-1]) if len(later) else symbol


def _anywhere(symbol: str, stores: Stores) -> Iterator[bool]:
    """Whether the first and middle sessions with bars have a symbol: one that was delisted is still a name."""
    days = stores.sessions("daily_bars")
    for place in sorted({0, len(days) // 4, len(days) // 2, 3 * len(days) // 4} if days else set()):
        yield symbol in set(stores.read("daily_bars", days[place], columns=["symbol"])["symbol"].to_list())


def ends(panels: Served, stores: Stores) -> tuple[str, list[Ranked], list[Ranked]]:
    """The stream that is shown, and its highest and lowest scores of the newest session."""
    stream = next((each for each in (*MAIN, *panels.streams) if each in panels.streams), "")
    if not stream:
        return stream, [], []
    bars = stores.read("daily_bars", panels.sessions[-1], panels.sessions[-1])
    industry = dict(bars.select("symbol", "industry").rows()) if "industry" in bars.columns else {}
    newest_N = panels.streams[stream].score_TN[-1]
    order = [place for place in np.argsort(newest_N, kind="stable").tolist() if np.isfinite(newest_N[place])]
    rows = [Ranked(panels.symbols[i], float(newest_N[i]), industry.get(panels.symbols[i]) or "") for i in order]
    return stream, rows[::-1][:ENDS], rows[:ENDS]


def gathered(symbol: str, panels: Served, stores: Stores) -> Name:
    """What the view of a symbol shows."""
    place = panels.symbols.index(symbol) if symbol in panels.symbols else None
    streams, labels = {}, {}
    if place is not None:
        streams = {stream: _scored(place, each, panels.sessions) for stream, each in panels.streams.items()}
        label_T = panels.label_TN[:, place]
        labels = {panels.sessions[t]: float(label_T[t]) for t in np.flatnonzero(np.isfinite(label_T)).tolist()}
    factor_session, factors = _factors(symbol, stores)
    bars = stores.sessions("daily_bars")[-QUARANTINE_SESSIONS:]
    newest = next(iter(panels.streams.values())).score_TN[-1] if panels.streams else np.empty(0)
    return Name(
        symbol,
        panels.sessions[-1] if panels.sessions else None,
        {stream: rows for stream, rows in streams.items() if rows},
        labels,
        int(np.isfinite(newest).sum()),
        _bar(symbol, bars, stores),
        factor_session,
        factors,
        len([value for value in factors if value.name in CLASSIC]),
        _weights(symbol, stores),
        list(_refused(symbol, bars, stores.settings.quarantine))[:QUARANTINE_ROWS],
        len(bars),
        stores.settings.model_choices.horizon,
        _fingerprint(symbol, stores),
    )


def _scored(place: int, stream: Stream, sessions: Sequence[date]) -> list[Scored]:
    """A symbol's scores of one stream, oldest first."""
    score_T, place_T, spread_T = (x_TN[:, place] for x_TN in (stream.score_TN, stream.place_TN, stream.spread_TN))
    return [
        Scored(
            sessions[t],
            float(score_T[t]),
            float(place_T[t]),
            float(spread_T[t]) if np.isfinite(spread_T[t]) else None,
        )
        for t in np.flatnonzero(np.isfinite(score_T)).tolist()
    ]


def _factors(symbol: str, stores: Stores) -> tuple[date | None, list[Value]]:
    """The newest values of every factor, and their places in the market."""
    days = stores.sessions("daily_factors")
    if not days:
        return None, []
    rows = stores.read("daily_factors", days[-1])
    own = rows.filter(pl.col("symbol") == symbol)
    if own.is_empty():
        return None, []
    names = [factor for factor in DAILY_FACTORS if factor in rows.columns]
    values = own.select(names).row(0, named=True)
    lower = rows.select(
        (pl.col(factor) < values[factor]).sum() / pl.col(factor).count().cast(pl.Float64) for factor in names
    ).row(0, named=True)
    return days[-1], [Value(factor, values[factor], lower[factor]) for factor in names]


def _bar(symbol: str, days: Sequence[date], stores: Stores) -> dict[str, str] | None:
    """The newest daily bar in words."""
    for day in reversed(days):
        own = stores.read("daily_bars", day).filter(pl.col("symbol") == symbol)
        if len(own):
            return dict(_described(day, own.row(0, named=True)))
    return None


def _described(day: date, row: dict[str, Any]) -> Iterator[tuple[str, str]]:
    yield "session", str(day)
    for column in PRICES:
        if row.get(column) is not None:
            yield column.replace("_", " "), number(row[column], 2)
    for column, unit in (("volume", "shares"), ("amount", "currency"), ("float_shares", "shares")):
        if row.get(column) is not None:
            yield column.replace("_", " "), f"{number(row[column], 0)} {unit}"
    if row.get("turnover") is not None:
        yield "turnover", percent(row["turnover"])
    states = [word for word, column in (("suspended", "suspended"), ("ST", "st")) if row.get(column)]
    yield "industry", row.get("industry") or "unknown"
    yield "state", ", ".join(states) or "trades"
    yield "known at", moment(row["created_timestamp"])


def _weights(symbol: str, stores: Stores) -> list[dict[str, Any]]:
    """The symbol's rows in the newest portfolios."""
    days = stores.sessions("weights")
    if not days:
        return []
    rows = stores.read("weights", days[-1]).drop_nulls("weight").filter(pl.col("symbol") == symbol)
    return rows.select("session", "index", "weight", "benchmark_weight").sort("index").to_dicts()


def _refused(symbol: str, days: Sequence[date], folder: Path) -> Iterator[tuple[str, str, str, str]]:
    """Refused rows of the symbol, newest session first; a damaged file of the quarantine is a line of its own."""
    for day in reversed(days):
        for path in sorted(folder.glob(f"*/session={day}/*.parquet")):
            table = path.parent.parent.name
            try:
                rows = kept_rows(path, ["symbol", "reason_code", "reason"])
            except StoreCorrupt as damage:
                yield str(day), table, damage.code, damage.wrong
                continue
            for _, code, reason in rows.filter(pl.col("symbol") == symbol).rows():
                yield str(day), table, code, reason


def _fingerprint(symbol: str, stores: Stores) -> date | None:
    """The newest session with a fingerprint of the symbol, among the newest few."""
    for day in reversed(stores.sessions("fingerprints")[-QUARANTINE_SESSIONS:]):
        rows = stores.read("fingerprints", day, columns=["symbol"])
        if symbol in set(rows["symbol"].to_list()):
            return day
    return None
