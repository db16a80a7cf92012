"""The morning page: what each index's portfolio trades next and why, what was done, and how it stands.

One HTML file without a script, and its Markdown twin; the same tables give the same bytes. A part without content is
left out, a heading without parts too.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import polars as pl

from fpm.portfolio.instructions import HELD, KEPT
from fpm.report import morning_tables, period_tables
from fpm.report.data import PUBLISHED_PORTFOLIOS
from fpm.report.figure_text import number, percent
from fpm.report.line_chart import line_chart
from fpm.report.markdown import plain, table_text
from fpm.report.portfolio_tables import six_figures
from fpm.report.sections import PUBLISHED
from fpm.report.templates import static

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import date, datetime

    from markupsafe import Markup

    from fpm.portfolio.performance import Performance
    from fpm.report.cells import Table

INDUSTRY_LINES = 6  # industries with a line of their own: those that were furthest from the index


@dataclass(frozen=True)
class Standing:
    """One index's portfolio on one evening. Frames have the columns of the lake's tables of these names.

    `decision`: of this session, or None; `before`: the last one earlier, or None. `orders`, `targets`: of this
    session's decision; `targets_before`: of the one before. `trades`, `blocked`, `actions`, `holdings`: of this
    session. `ordered`: the orders that this session filled. `entered`, `left`: members since the decision before.
    `halted`: names held that did not trade. `nav`: this session's row, or None. `exposures`: session, kind (style,
    industry), name, active. `attribution`: group, line, contribution, over `attributed` sessions. `periods`: period,
    group, contribution. `known_since`: of a book that came to be known after its sessions.
    """

    index: str
    session: date
    decision: Mapping[str, Any] | None
    before: Mapping[str, Any] | None
    frames: Mapping[str, pl.DataFrame]
    nav: Mapping[str, Any] | None = None
    entered: Sequence[str] = ()
    left: Sequence[str] = ()
    halted: Sequence[str] = ()
    performance: Performance | None = None
    exposures: pl.DataFrame = field(default_factory=pl.DataFrame)
    attribution: pl.DataFrame = field(default_factory=pl.DataFrame)
    periods: pl.DataFrame = field(default_factory=pl.DataFrame)
    attributed: int = 0
    sessions_per_year: int = 252
    known_since: datetime | None = None


@dataclass(frozen=True)
class Part:
    """One card: a table or a plot; `text` says how to read it."""

    title: str
    text: str
    table: Table | None = None
    plot: Markup | None = None
    wide: bool = True


@dataclass(frozen=True)
class Morning:
    """The page: market, session, and the standing of every index."""

    market: str
    session: date
    standings: Sequence[Standing]

    @property
    def title(self) -> str:
        """The page's heading."""
        return f"Portfolios after {self.session}"


def build(morning: Morning) -> str:
    """HTML of the page."""
    content = {
        "morning": morning,
        "tiles": [tile(standing) for standing in morning.standings],
        "indices": [(each.index, notes(each), sections(each)) for each in morning.standings],
        "ends": ENDS,
    }
    return static("morning.html.j2", {}, content)


def text(morning: Morning) -> str:
    """The Markdown twin: the same tables without the curves."""
    blocks = [f"# {plain(morning.title)}", f"Market {plain(morning.market)}"]
    for standing in morning.standings:
        blocks.append(f"## {plain(standing.index)}")
        blocks += [f"> {plain(note)}" for note in notes(standing)]
        for heading, parts in sections(standing):
            tables = [part for part in parts if part.table is not None]
            blocks += [f"### {heading}"] * bool(tables)
            for part in tables:
                assert part.table is not None
                blocks += [f"#### {part.title}", table_text(part.table), *([part.text] if part.text else [])]
    return "\n\n".join([*blocks, "---", *ENDS]) + "\n"


ENDS = (
    (
        "Reasons come from the optimality conditions: of the score, the risk, the bounds and the cash, the term that "
        "speaks most for one more share of the order (fpm/portfolio/reasons.py). Exit: the name left the index or must "
        "not be held. Blocked: ordered before and not filled. Cash: the money is needed or is to be invested, or whole "
        "lots leave it."
    ),
    (
        "Expected cost: the mandate's fees in force on the day of the fill, and its estimate of the market's answer. "
        "Shadow price: gain in the optimiser's objective per unit of slack; of a bound on many names, all together."
    ),
)


def tile(standing: Standing) -> dict[str, str]:
    """What the top of the page says of an index."""
    orders, decision = standing.frames["orders"], standing.decision
    value = standing.nav["nav"] if standing.nav else None
    lines = [f"excess {percent(standing.performance.total_excess)}"] if standing.performance else []
    if decision is None:
        return {"name": standing.index, "value": "no orders", "lines": " · ".join(["no decision", *lines])}
    cost = float(orders["expected_cost"].sum())
    share = f" ({number(cost / value * 1e4, 1)} bp)" if value else ""
    lines = [f"{percent(decision['tracking_error'])} tracking error", f"costs {number(cost, 0)}{share}", *lines]
    return {"name": standing.index, "value": f"{number(orders.height, 0)} orders", "lines": " · ".join(lines)}


def notes(standing: Standing) -> list[str]:
    """Warnings: no weights, bounds that gave way, orders that were not filled, names that leave the market."""
    remarks = []
    if standing.known_since is not None:
        since = standing.known_since.isoformat(" ", "minutes")
        remarks.append(f"The book is known since {since} alone: what it follows came after its sessions.")
    status = standing.decision["status"] if standing.decision else ""
    if status == KEPT:
        remarks.append("No weights could be computed: the book stays as it is. The night's log says why.")
    if status == HELD:
        remarks.append("The index is held: the book stays as it is.")
    if relaxed := morning_tables.relaxations(standing.decision):
        words = ", ".join(f"{name} by {number(excess, 4)}" for name, excess in relaxed.items())
        stays = status in (KEPT, HELD)
        why = "The book that stays breaks bounds" if stays else "Bounds that could not be met together gave way"
        remarks.append(f"{why}: {words}.")
    if standing.decision and standing.decision.get("second_solver") == "differs":
        gap = standing.decision["second_difference"]
        remarks.append(f"A second solver finds another objective: a relative difference of {gap:.1e}.")
    if height := standing.frames["blocked"].height:
        remarks.append(f"{height} of this session's orders were not filled whole.")
    if gone := standing.frames["actions"].filter(pl.col("kind") == "delisted")["symbol"].to_list():
        remarks.append(f"Delisted, paid out at the last price: {', '.join(sorted(gone))}.")
    return remarks


def sections(standing: Standing) -> list[tuple[str, list[Part]]]:
    """Headings with their parts, of one index; empty ones are left out."""
    ways = {
        "To trade": _to_trade,
        "What changed": _changes,
        "Done in this session": _done,
        "The portfolio against its index": _curves,
        "Exposures": _exposures,
        "Where the excess came from": _origin,
    }
    filled = {heading: [part for part in way(standing) if _is_filled(part)] for heading, way in ways.items()}
    return [(heading, parts) for heading, parts in filled.items() if parts]


def _is_filled(part: Part) -> bool:
    return part.plot is not None or (part.table is not None and bool(part.table.rows))


def _to_trade(standing: Standing) -> Iterator[Part]:
    decision = standing.decision
    if decision is None:
        return
    when, orders = decision["fill_session"], standing.frames["orders"]
    yield Part("Decision", f"Made at the close of {standing.session}.", morning_tables.decision(standing), wide=False)
    yield Part("By reason", "", morning_tables.by_reason(orders), wide=False)
    yield Part(
        f"Orders for {when}",
        "Shares and closes of the decision's evening; a split on the day of the fill splits the order too. Largest "
        "first. Change: share of the book.",
        morning_tables.orders(orders, standing.nav),
    )
    yield Part("Bounds that bind or gave way", "", morning_tables.bounds(decision))


def _changes(standing: Standing) -> Iterator[Part]:
    if standing.before is None:
        return
    since = standing.before["session"]
    yield Part(f"Since the decision of {since}", "", morning_tables.changes(standing), wide=False)
    yield Part("Members of the index", "", morning_tables.members(standing), wide=False)
    yield Part(
        "Weights that moved most",
        f"From what the decision of {since} wanted to what is held now: by prices, and by what was not filled.",
        morning_tables.drifts(standing),
    )


def _done(standing: Standing) -> Iterator[Part]:
    frames = standing.frames
    yield Part(
        "Fills",
        "Price move against: what fills cost more, or brought less, than at the decision's closes.",
        morning_tables.fills(standing),
    )
    yield Part("Not traded", "", morning_tables.blocked(frames["blocked"]), wide=False)
    yield Part("Splits, dividends, delistings", "", morning_tables.actions(frames["actions"]), wide=False)
    yield Part("Held and not traded today", "", morning_tables.halted(standing), wide=False)


def _curves(standing: Standing) -> Iterator[Part]:
    figures = standing.performance
    if figures is None or len(figures.curve) < 2:
        return
    value = {
        "portfolio": [(session, own) for session, own, _, _ in figures.curve],
        standing.index: [(session, theirs) for session, _, theirs, _ in figures.curve],
    }
    yield Part("Value", "At every close, after costs; start = 1.", plot=line_chart(value), wide=False)
    excess = {"excess": [(session, gain) for session, _, _, gain in figures.curve]}
    yield Part("Excess", "Daily differences to the index, compounded.", plot=line_chart(excess), wide=False)
    same = [row for row in PUBLISHED_PORTFOLIOS if row.name == standing.index]
    yield Part(
        "Six figures, and the source report's",
        f"Yearly figures need 20 sessions. {PUBLISHED}",
        six_figures({standing.index: figures}, same or PUBLISHED_PORTFOLIOS),
    )
    yield Part("By year", "", period_tables.yearly(figures, standing.sessions_per_year))
    yield Part("Excess by month", "", period_tables.monthly(figures))


def _exposures(standing: Standing) -> Iterator[Part]:
    rows = standing.exposures
    if rows.is_empty():
        return
    for kind, title, said in (
        ("style", "Styles over time", "Active exposure at each decision, standard deviations."),
        ("industry", "Industries over time", "Active weight at each decision: the widest ones."),
    ):
        lines = morning_tables.exposure_lines(rows, kind, INDUSTRY_LINES)
        if any(len(series) > 1 for series in lines.values()):
            yield Part(title, said, plot=line_chart(lines, share=kind == "industry"), wide=False)
    last: date = rows["session"].to_list()[-1]
    yield Part(f"Active exposures of {last}", "", morning_tables.exposures(standing))


def _origin(standing: Standing) -> Iterator[Part]:
    span = (
        f"All {number(standing.attributed, 0)} sessions. Within a column contributions are linked over time: they sum "
        "to the column's excess, return less the index's return."
    )
    yield Part("By group", span, morning_tables.by_group(standing.attribution, standing.periods))
    yield Part("Largest lines", "", morning_tables.largest_lines(standing.attribution), wide=False)
