"""Lines of an excess return over many sessions at once: what `attribution.attribution` says session by session.

Every step is a join or a sum over whole frames, so that years take seconds. Names without exposures are specific.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from fpm.portfolio.attribution import COUNTRY, INDUSTRY, LINE_SCHEMA, SCORE
from fpm.schema import STYLES

if TYPE_CHECKING:
    from collections.abc import Mapping

COLUMNS = (*STYLES, SCORE)
GROUPS = {COUNTRY: COUNTRY, SCORE: SCORE, **dict.fromkeys(STYLES, "style")}


def walk_lines(
    days: pl.DataFrame, names: pl.DataFrame, exposures: pl.DataFrame, factor_returns: pl.DataFrame
) -> pl.DataFrame:
    """session, group, line, contribution; a session's lines sum to its portfolio_return - benchmark_return.

    `days`: session, portfolio_return, benchmark_return, cost. `names`: session, symbol, weight, benchmark_weight,
    blocked, return (`attribution.Day`). `exposures`: session, symbol, industry, the styles and the score, of the
    evening before `session`. `factor_returns`: session, factor, return. Industries that no name belongs to have no
    line.
    """
    rows = names.with_columns(pl.col("return").fill_null(0.0)).with_columns(
        wanted=pl.col("weight") + pl.col("blocked") - pl.col("benchmark_weight"),
    )
    exposed = rows.select("session", "symbol", "wanted").join(exposures, on=["session", "symbol"], how="inner")
    active = pl.concat([_columns(exposed), _industries(exposed)])
    gains = factor_returns.select("session", "factor", gain=pl.col("return").fill_nan(0.0).fill_null(0.0))
    lines = active.join(gains, on=["session", "factor"], how="left").select(
        "session",
        group=pl.col("factor").replace_strict(GROUPS, default="industry", return_dtype=pl.String),
        line="factor",
        contribution=pl.col("active") * pl.col("gain").fill_null(0.0),
    )
    return pl.concat([lines, _rest(days, rows, lines)]).select(list(LINE_SCHEMA)).sort("session", maintain_order=True)


def _columns(exposed: pl.DataFrame) -> pl.DataFrame:
    """session, factor, active exposure to the country, the styles and the score."""
    sums = [(pl.col("wanted") * pl.col(name).fill_null(0.0)).sum().alias(name) for name in COLUMNS]
    wide = exposed.group_by("session", maintain_order=True).agg(pl.col("wanted").sum().alias(COUNTRY), *sums)
    return wide.unpivot(index="session", variable_name="factor", value_name="active")


def _industries(exposed: pl.DataFrame) -> pl.DataFrame:
    sums = exposed.group_by("session", "industry", maintain_order=True).agg(active=pl.col("wanted").sum())
    return sums.select("session", factor=pl.lit(INDUSTRY) + pl.col("industry").fill_null(""), active="active")


def _rest(days: pl.DataFrame, rows: pl.DataFrame, lines: pl.DataFrame) -> pl.DataFrame:
    """The lines that no factor has: specific, blocked trades, costs, trading and cash."""
    product = {name: (pl.col(name) * pl.col("return")).sum() for name in ("wanted", "blocked")}
    held = ((pl.col("weight") - pl.col("benchmark_weight")) * pl.col("return")).sum()
    sums = rows.group_by("session").agg(**product, held=held)
    explained = lines.group_by("session").agg(explained=pl.col("contribution").sum())
    day = days.join(sums, on="session", how="left").join(explained, on="session", how="left").fill_null(0.0)
    excess = pl.col("portfolio_return") - pl.col("benchmark_return")
    parts: Mapping[str, tuple[str, pl.Expr]] = {
        "specific": ("specific", pl.col("wanted") - pl.col("explained")),
        "blocked trades": ("blocked", -pl.col("blocked")),
        "costs": ("costs", -pl.col("cost")),
        "trading and cash": ("trading", excess - pl.col("held") + pl.col("cost")),
    }
    frames = [
        day.select("session", group=pl.lit(group), line=pl.lit(line), contribution=value)
        for line, (group, value) in parts.items()
    ]
    return pl.concat(frames)
