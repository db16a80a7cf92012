"""Tables of the morning page, from the rows of one index's portfolio on one evening."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import polars as pl

from fpm.report.cells import Row, Table
from fpm.report.figure_text import ABSENT, number, percent, several
from fpm.report.portfolio_tables import SHADOW_TOLERANCE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import date

    from fpm.report.morning import Standing

FEW = 12  # rows of a list that could be long
CAPS = {  # bound -> its column in a decision, and whether it is a share
    "tracking_error": ("tracking_error_cap", True),
    "active": ("active_cap", True),
    "industry": ("industry_cap", True),
    "size": ("size_cap", False),
    "members": ("members_floor", True),
    "turnover": ("turnover_cap", True),
}
BASIS_POINT = 1e-4
UNCLASSIFIED = "unclassified"


def _words(name: str) -> str:
    return name.replace("_", " ")


def _sum(rows: pl.DataFrame, name: str) -> float:
    return float(rows[name].sum())


def _signed(value: float | None, digits: int = 2) -> str:
    shown = percent(value, digits)
    return f"+{shown}" if value is not None and value > 0 else shown


def relaxations(decision: Mapping[str, Any] | None) -> dict[str, float]:
    """Bound -> excess over it, of a decision."""
    return json.loads(decision["relaxed"]) if decision else {}


# --- what is to be traded ---------------------------------------------------------------------------------------------
def decision(standing: Standing) -> Table:
    """The decision's figures."""
    own, orders, targets = standing.decision or {}, standing.frames["orders"], standing.frames["targets"]
    value = standing.nav["nav"] if standing.nav else None
    cost, amount = (_sum(orders, name) for name in ("expected_cost", "amount"))
    held, wanted = (targets.filter(pl.col(name) > 0).height for name in ("shares_held", "shares"))
    member = _sum(targets.filter(pl.col("benchmark_weight") > 0), "weight")
    rows = [
        ("status", own["status"]),
        ("tracking error, predicted", percent(own["tracking_error"])),
        ("at most", _cap(own, "tracking_error")),
        ("tracking error, realised", percent(own["tracking_error_realised"])),
        ("names held, now and after", f"{number(held, 0)} → {number(wanted, 0)}"),
        ("weight of the index's members", percent(member)),
        ("amount to trade", number(amount, 0)),
        ("of the book's value", percent(amount / value, 1) if value else ABSENT),
        ("expected cost", number(cost, 0)),
        ("of the book's value", f"{number(cost / value / BASIS_POINT, 1)} bp" if value else ABSENT),
        ("second solver", _second(own)),
    ]
    return Table(("figure", "value"), [Row(cells) for cells in rows])


def _second(own: Mapping[str, Any]) -> str:
    """What the second solver says of the decision; a dash outside the sample."""
    verdict, gap = own.get("second_solver"), own.get("second_difference")
    if not verdict:
        return ABSENT
    return verdict if gap is None else f"{verdict}, {gap:.0e}"


def by_reason(rows: pl.DataFrame) -> Table:
    """Orders, amounts and costs by reason."""
    bought = pl.when(pl.col("side") == "buy").then("amount").otherwise(0.0).sum()
    groups = rows.group_by("reason").agg(
        pl.len(), bought=bought, sold=pl.col("amount").sum() - bought, cost=pl.col("expected_cost").sum()
    )
    return Table(
        ("reason", "orders", "bought", "sold", "expected|cost"),
        [
            Row((row["reason"], number(row["len"], 0), *(number(row[name], 0) for name in ("bought", "sold", "cost"))))
            for row in groups.sort("len", "reason", descending=[True, False]).to_dicts()
        ],
    )


def orders(rows: pl.DataFrame, nav: Mapping[str, Any] | None) -> Table:
    """Every order, the largest first."""
    value = nav["nav"] if nav else None
    columns = ("symbol", "side", "shares", "reason", "expected|cost", "amount", "change", "close")
    cells = [
        Row(
            (
                row["symbol"],
                row["side"],
                number(row["shares"], 0),
                f"{row['reason']}: {_words(row['bound'])}" if row["bound"] else row["reason"],
                number(row["expected_cost"], 2),
                number(row["amount"], 0),
                _signed((1 if row["side"] == "buy" else -1) * row["amount"] / value) if value else ABSENT,
                number(row["close"], 2),
            )
        )
        for row in rows.sort("amount", "symbol", descending=[True, False]).to_dicts()
    ]
    return Table(columns, cells, words=(0, 1, 3))


def bounds(own: Mapping[str, Any]) -> Table:
    """Bounds with a shadow price above the solver's inaccuracy, or that gave way."""
    shadow, relaxed = json.loads(own["shadow"]), relaxations(own)
    felt = [name for name, price in shadow.items() if price >= SHADOW_TOLERANCE]
    rows = [
        Row((_words(name), _cap(own, name), number(shadow.get(name)), _excess(name, relaxed.get(name))))
        for name in sorted({*felt, *relaxed}, key=lambda name: -shadow.get(name, 0.0))
    ]
    return Table(("bound", "limit", "shadow price", "gave way by"), rows)


def _cap(own: Mapping[str, Any], bound: str) -> str:
    column, is_share = CAPS.get(bound, ("style_cap", False))
    if bound == "cash left":
        return ABSENT
    return percent(own[column]) if is_share else number(own[column], 2)


def _excess(bound: str, excess: float | None) -> str:
    is_share = bound == "cash left" or CAPS.get(bound, ("", False))[1]
    return percent(excess) if is_share else number(excess)


# --- what changed -------------------------------------------------------------------------------------------------
def changes(standing: Standing) -> Table:
    """Figures of this decision beside those of the one before; without one, only what the mandate says."""
    old, new = standing.before or {}, standing.decision
    if new is None:
        return Table(("figure", ""), [])
    names: dict[str, Callable[[Any], str]] = {
        "status": str,
        "tracking_error": percent,
        "tracking_error_realised": percent,
        "objective": number,
        **{column: percent if is_share else number for column, is_share in CAPS.values()},
        "style_cap": number,
        "relaxed": _listed,
    }
    always = ("status", "tracking_error", "tracking_error_realised")
    rows = [
        Row((_words(name), shown(old[name]), shown(new[name])))
        for name, shown in names.items()
        if name in always or old[name] != new[name]
    ]
    return Table(("figure", str(old["session"]), str(standing.session)), rows)


def _listed(relaxed: str) -> str:
    return ", ".join(map(_words, json.loads(relaxed))) or "none"


def members(standing: Standing) -> Table:
    """Names that entered and left the index, with what the portfolio holds of them."""
    worth = dict(standing.frames["holdings"].select("symbol", "value").iter_rows())
    value = standing.nav["nav"] if standing.nav else None
    rows = [
        Row((symbol, what, percent(worth.get(symbol, 0.0) / value) if value else ABSENT))
        for what, symbols in (("entered", standing.entered), ("left", standing.left))
        for symbol in symbols
    ]
    return Table(("symbol", "the index", "held"), rows, words=(0, 1))


def drifts(standing: Standing) -> Table:
    """Names whose weight has moved most since the decision before."""
    wanted = standing.frames["targets_before"]
    if wanted.is_empty() or standing.nav is None:
        return Table(("symbol",), [])
    book = standing.frames["holdings"].select("symbol", now=pl.col("value") / standing.nav["nav"])
    both = wanted.select("symbol", "weight").join(book, on="symbol", how="full", coalesce=True).fill_null(0.0)
    drift = both.with_columns(moved=pl.col("now") - pl.col("weight")).filter(pl.col("moved").abs() > BASIS_POINT)
    top = drift.sort(pl.col("moved").abs(), "symbol", descending=[True, False]).head(FEW)
    rows = [
        Row((row["symbol"], percent(row["weight"]), percent(row["now"]), _signed(row["moved"])))
        for row in top.to_dicts()
    ]
    return Table(("symbol", "wanted", "held now", "moved by"), rows)


# --- what was done --------------------------------------------------------------------------------------------------
def fills(standing: Standing) -> Table:
    """Trades of the session by side: what was paid beside what was expected."""
    trades, ordered = standing.frames["trades"], standing.frames["ordered"]
    rows = []
    for side in ("sell", "buy"):
        fills, orders = (frame.filter(pl.col("side") == side) for frame in (trades, ordered))
        if fills.is_empty() and orders.is_empty():
            continue
        both = fills.join(orders.select("symbol", "close"), on="symbol")
        difference = float((both["shares"] * (both["price"] - both["close"])).sum())
        slip = difference if side == "buy" else 0.0 - difference
        cells = (number(fills.height, 0), number(orders.height, 0), number(_sum(fills, "amount"), 0))
        costs = (number(_sum(fills, "cost"), 0), number(slip, 0), number(_sum(orders, "expected_cost"), 0))
        rows.append(Row((side, *cells, *costs)))
    return Table(("side", "fills", "orders", "amount", "fees", "price move|against", "cost|expected"), rows)


def blocked(rows: pl.DataFrame) -> Table:
    """Orders that were not filled whole, the most shares missed first."""
    missed = rows.with_columns(missed=pl.col("ordered") - pl.col("filled"))
    cells = [
        Row((row["symbol"], row["side"], number(row["ordered"], 0), number(row["filled"], 0), row["reason"]))
        for row in missed.sort("missed", "symbol", descending=[True, False]).to_dicts()
    ]
    return Table(("symbol", "side", "ordered", "filled", "why"), cells, words=(0, 1, 4))


def actions(rows: pl.DataFrame) -> Table:
    """Corporate actions of names held."""
    cells = [
        Row((row["symbol"], row["kind"], *(number(row[name], 0) for name in ("shares_before", "shares_after", "cash"))))
        for row in rows.sort("symbol").to_dicts()
    ]
    return Table(("symbol", "what", "shares|before", "after", "cash"), cells, words=(0, 1))


def halted(standing: Standing) -> Table:
    """Names held without a trade in the session."""
    book = {row["symbol"]: row for row in standing.frames["holdings"].to_dicts()}
    rows = [book[symbol] for symbol in standing.halted if symbol in book]
    cells = [Row((row["symbol"], number(row["shares"], 0), number(row["value"], 0))) for row in rows[: 5 * FEW]]
    more = len(rows) - len(cells)
    return Table(
        ("symbol", "shares", "value"), [*cells, *([Row((f"and {several(more, 'name')} more", "", ""))] * (more > 0))]
    )


# --- exposures and origin ---------------------------------------------------------------------------------------------
def exposure_lines(rows: pl.DataFrame, kind: str, most: int) -> dict[str, list[tuple[date, float]]]:
    """Name -> exposure by session, of one kind; the names that were furthest from the index, widest first."""
    own = rows.filter(pl.col("kind") == kind)
    widest = own.group_by("name").agg(pl.col("active").abs().max()).sort("active", "name", descending=[True, False])
    names: Sequence[str] = widest["name"].head(most).to_list()
    return {
        _words(name) or UNCLASSIFIED: own.filter(pl.col("name") == name)
        .sort("session")
        .select("session", "active")
        .rows()
        for name in names
    }


def exposures(standing: Standing) -> Table:
    """Active exposures of the newest decision: styles, then industries, the widest first."""
    rows = standing.exposures.filter(pl.col("session") == pl.col("session").max())
    own = standing.decision or standing.before or {}
    cells = []
    for row in rows.sort(
        pl.col("kind") == "industry", pl.col("active").abs(), "name", descending=[False, True, False]
    ).to_dicts():
        is_industry = row["kind"] == "industry"
        active = _signed(row["active"]) if is_industry else number(row["active"])
        cap = _cap(own, "industry" if is_industry else row["name"]) if own else ABSENT
        cells.append(Row((_words(row["name"]) or UNCLASSIFIED, row["kind"], active, cap)))
    return Table(("factor", "kind", "active", "limit"), cells, words=(0, 1))


def by_group(rows: pl.DataFrame, periods: pl.DataFrame) -> Table:
    """Contributions by group, of the whole walk and of every period, and their sums."""
    if rows.is_empty():
        return Table(("group", "all"), [])
    columns = {"all": rows, **{name: own for (name,), own in periods.group_by("period", maintain_order=True)}}
    sums = {
        name: dict(own.group_by("group").agg(pl.col("contribution").sum()).iter_rows()) for name, own in columns.items()
    }
    groups = rows["group"].unique(maintain_order=True).to_list()
    cells = [Row((group, *(_signed(own.get(group)) for own in sums.values()))) for group in groups]
    total = Row(("excess", *(_signed(sum(own.values())) for own in sums.values())))
    return Table(("group", *columns), [*cells, total])


def largest_lines(rows: pl.DataFrame) -> Table:
    """The lines of the largest contributions either way."""
    if rows.is_empty():
        return Table(("line", "group", "contribution"), [])
    top = rows.sort(pl.col("contribution").abs(), "line", descending=[True, False]).head(FEW)
    cells = [
        Row((_words(row["line"].removeprefix("industry:")), row["group"], _signed(row["contribution"])))
        for row in top.to_dicts()
    ]
    return Table(("line", "group", "contribution"), cells, words=(0, 1))
