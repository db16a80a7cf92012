"""The weights of an index at a session: those of its last snapshot, drifted by prices since."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import polars as pl

from fpm.errors import FpmError
from fpm.portfolio.book import LAST_COLUMNS, last_rows
from fpm.portfolio.session import asset_returns
from fpm.store.log import log

if TYPE_CHECKING:
    from datetime import date

EVERY_NAME = "ALL"  # built-in index for data without index_members: equal weight over what the session trades
NOTHING = {"symbol": pl.String, "weight": pl.Float64}
UNPRICED = 0.2  # share of an index in names that never had a bar, above which what is left is another index
SHOWN = 5  # names in words


class PriceHistory:
    """Daily bars of a window, prices to so many decimals; the newest row of every symbol at any session, once each."""

    def __init__(self, bars: pl.DataFrame, decimals: int = 2) -> None:
        self.bars, self.decimals = bars, decimals
        self._last: dict[date, pl.DataFrame] = {}
        self._growth: dict[tuple[date, date], pl.DataFrame] = {}

    @cached_property
    def sessions(self) -> list[date]:
        """Sessions with bars, in order."""
        return self.bars["session"].unique().sort().to_list()

    @cached_property
    def _priced(self) -> pl.DataFrame:
        """The columns that `last_rows` reads, in one piece: a window of bars has one for every session."""
        return self.bars.select(name for name in LAST_COLUMNS if name in self.bars.columns).rechunk()

    def before(self, session: date) -> date | None:
        """The newest session with bars before one; None where there is none."""
        return max((day for day in self.sessions if day < session), default=None)

    def last(self, session: date) -> pl.DataFrame:
        """The newest row of every symbol up to a session (`last_rows`); from the nearest earlier answer."""
        if session not in self._last:
            nearest = max((day for day in self._last if day < session), default=None)
            span = pl.col("session") <= session
            since = span if nearest is None else span & (pl.col("session") > nearest)
            before = None if nearest is None else self._last[nearest]
            self._last[session] = last_rows(self._priced.filter(since), before, self.decimals)
        return self._last[session]

    def growth(self, since: date, session: date) -> pl.DataFrame:
        """symbol, return from the close of one session to that of another, splits and dividends within."""
        span = since, session
        if span not in self._growth:
            now = self.last(session).with_columns(pre_close=pl.lit(None, pl.Float64))
            self._growth[span] = asset_returns(now, self.last(since))
        return self._growth[span]


def benchmark(index: str, session: date | None, history: PriceHistory, members: pl.DataFrame) -> pl.DataFrame:
    """symbol, weight of an index at the close of a session with bars, in sum 1; no rows where there is none.

    A member without a price at the snapshot keeps its share of the index: nobody knows how it moved. Of `EVERY_NAME`,
    equal weight over what trades.
    """
    if session is None:
        return pl.DataFrame(schema=NOTHING)
    if index == EVERY_NAME:
        trades = history.bars.filter((pl.col("session") == session) & (pl.col("volume") > 0)).filter(
            ~pl.col("suspended").fill_null(False)
        )
        return trades.select("symbol", weight=pl.lit(1.0) / max(1, trades.height))
    own = members.filter((pl.col("index") == index) & (pl.col("session") <= session))
    if own.is_empty():
        return pl.DataFrame(schema=NOTHING)
    snapshot = own["session"].max()
    growth = history.growth(snapshot, session)  # type: ignore[arg-type]  # polars types max loosely
    rows = own.filter(pl.col("session") == snapshot).join(growth, on="symbol", how="left", maintain_order="left")
    priced = pl.col("weight").filter(pl.col("return").is_not_null())
    common = ((pl.col("weight") * pl.col("return")).sum() / priced.sum()).fill_nan(0.0)  # 0 / 0: no member has a price
    rows = rows.select("symbol", weight=pl.col("weight") * (1 + pl.col("return").fill_null(common)))
    return rows.with_columns(pl.col("weight") / pl.col("weight").sum())


def unpriced(index: str, session: date, history: PriceHistory, members: pl.DataFrame) -> FpmError | None:
    """Why an index's newest snapshot is no benchmark of a decision: too much of it never had a bar; None where it is.

    Members without a price up to `UNPRICED` stay in it (`portfolio.unpriced`), and the log names them.
    """
    own = members.filter((pl.col("index") == index) & (pl.col("session") <= session) & (pl.col("weight") > 0))
    newest = own.filter(pl.col("session") == pl.col("session").max())
    missing = newest.join(history.last(session), on="symbol", how="anti").sort(
        "weight", "symbol", descending=[True, False]
    )
    if missing.is_empty():
        return None
    share = float(missing["weight"].sum()) / float(newest["weight"].sum())
    names = missing["symbol"].to_list()
    shown = ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
    if share <= UNPRICED:
        log.warning(
            "members without a price are in the index and cannot be held",
            index=index,
            share=round(share, 4),
            members=shown,
        )
        return None
    return FpmError(
        code="FPM-PF-080",
        wrong=f"{share:.0%} of {index} on {newest['session'][0]} are members without any daily bar: {shown}",
        effect="no weights were computed, the book stays as it is",
        todo=f"ingest their bars, or members of which at least {1 - UNPRICED:.0%} of the weight has some",
    )
