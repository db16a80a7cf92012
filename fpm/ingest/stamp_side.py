"""The side of a bar that its stamp names, decided by every edge of the session at once.

A stretch of trading from a to b: only a START stamp names a, only an END stamp names b. A call auction may have a label
of its own at either edge, bars of extended hours cover both, and some vendors label the last bar of the morning by the
first minute of the afternoon. So each edge is a witness, and witnesses that contradict each other are explained or the
file is refused. `label` = minute of the day a bar is stamped with, local.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from fpm.ingest.units import DAYS
from fpm.markets import DAY, clock

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fpm.markets import Market

THERE = 0.5  # of the symbol-days that reach an edge: a label that this share has is in use
START, END = "start", "end"
MANY = 6  # symbol-days that do not all lack the same bar by chance; bars that show where trading is
CHANCE = 0.01  # silence that is likelier than this by chance shows no call
NARROW = 0.7  # a cross has less than this of the range of the minute beside it; 44 sessions of 180 US stocks: 0.09
BESIDE = 10  # bars on each side of an edge that show how loud and how dense trading and extended hours are
WIDTH = 1.3  # standard deviation of a minute's log volume (an exponential volume has 1.28)
ODDS = {START: 5.0, END: 3.5}  # log odds at which hidden edges decide: a loud bar before the open is the likelier one
SURE = 12.0  # log odds that outweigh another side in files before
MOST = 3.0  # log odds that one symbol-day's volume may give: the tails of volumes are wider than a normal's
CROSS = 0.7  # log odds of a loud bar at the close: under START one vendor in two has the closing cross there
RARE = 0.02  # share of absent (or of stray) bars that is always possible


@dataclass(frozen=True)
class StampSide:
    """`side`: start, end or "" where it is not decidable; `evidence` in words; `moved`: label -> true label.

    `sure`: whether the file's own evidence outweighs what files before it showed.
    """

    side: str
    evidence: str
    moved: Mapping[int, int]
    sure: bool = True


@dataclass(frozen=True)
class _Edge:
    """The label of a session's or a break's edge; `inside`: the label beside it that both sides have; `inward`: a bar.

    At the end of a stretch that no whole number of bars fills the last bar is shorter. `bars` of the stretch, at most
    BESIDE, lie within.
    """

    label: int
    inside: int
    inward: int
    bars: int

    @classmethod
    def opening(cls, stretch: tuple[int, int], step: int) -> _Edge:
        """The edge at which a stretch begins."""
        return cls(stretch[0], min(stretch[0] + step, stretch[1]), step, _bars_beside(stretch, step))

    @classmethod
    def closing(cls, stretch: tuple[int, int], step: int) -> _Edge:
        """The edge at which a stretch ends."""
        start, end = stretch
        return cls(end, start + (end - start - 1) // step * step, -step, _bars_beside(stretch, step))

    def within(self) -> list[int]:
        """The labels beside the edge that trade."""
        return [self.inside + i * self.inward for i in range(self.bars)]

    def without(self) -> list[int]:
        """The labels beside the edge that extended hours have."""
        return [self.label - i * self.inward for i in range(1, BESIDE + 1)]


def _bars_beside(stretch: tuple[int, int], step: int) -> int:
    """The number of labels that both sides have in a stretch, at most BESIDE; 1 where it has none."""
    return min(BESIDE, max((stretch[1] - stretch[0] - 1) // step, 1))


@dataclass(frozen=True)
class _Labels:
    """Bars by label: symbol-days, rows that traded, median volume and median relative spread of these.

    `call`: rows labelled by the begin of a closing call, those of them that traded, and the share of rows just before
    that did.
    """

    count: np.ndarray
    traded: np.ndarray
    volume: np.ndarray
    spread: np.ndarray
    call: tuple[int, int, float]

    def at(self, label: int) -> int:
        """Symbol-days with a bar of the label."""
        return int(self.count[label % DAY])

    def uses(self, edge: _Edge) -> bool:
        """Whether the label of an edge is in use: at least as often as half of the label beside it."""
        return self.at(edge.label) > 0 and self.at(edge.label) >= THERE * self.at(edge.inside)

    def lacks(self, edge: _Edge) -> bool:
        """Whether the label of an edge is not in use, though bars beside it are there: only then it says something."""
        return not self.uses(edge) and any(self.at(label) for label in edge.within())

    def side(self, start: _Edge, end: _Edge) -> str:
        """START where the label that begins trading is in use and the one that ends it is not; END the other way."""
        return _one_of(start=self.uses(start) and self.lacks(end), end=self.uses(end) and self.lacks(start))

    def trades(self, first: int, last: int) -> int:
        """Traded bars from one label to another."""
        return int(self.traded[np.arange(first, last + 1) % DAY].sum())

    def outside(self, first: int, last: int, calls: frozenset[int]) -> int:
        """Bars labelled before the session or after it, calls apart."""
        own: np.ndarray = np.zeros(DAY, bool)
        own[np.arange(first, last + 1) % DAY] = True
        own[[call % DAY for call in calls]] = True
        return int(self.count[~own].sum())


def stamp_side(bars: pl.DataFrame, market: Market, stretches: Sequence[tuple[int, int]]) -> StampSide:
    """The side of one file: `bars` has symbol, day, `DAYS`, label, high, low, volume; `stretches`: its sessions' hours.

    The edges of the whole session decide. A break with both END labels agrees or decides alone; one that shows START
    beside END is a bar labelled by the other side of the break, which `moved` mends, so that it never decides alone.
    """
    step = market.bar_minutes
    if stretches[-1][1] - stretches[0][0] >= DAY:
        return _by_edges_of_the_file(bars, stretches[0][0] % DAY, step)
    labels = _labels(bars, market)
    opening, closing = _Edge.opening(stretches[0], step), _Edge.closing(stretches[-1], step)
    breaks = [(_Edge.closing(before, step), _Edge.opening(after, step)) for before, after in pairwise(stretches)]
    inner = [labels.side(resume, stop) for stop, resume in breaks]
    side, evidence, sure = _by_edges(labels, market, opening, closing, agrees=END in inner)
    moved: dict[int, int] = {}
    for shown, (stop, resume) in zip(inner, breaks, strict=True):
        evidence.append(
            f"{labels.at(stop.label)} at {clock(stop.label)}, {labels.at(resume.label)} at {clock(resume.label)}"
        )
        if side == END and shown == START:
            moved[resume.label] = stop.label
        elif side == START and shown == END:
            return StampSide("", ", ".join(evidence), {})
    if not side and END in inner and START not in inner:
        side = END
    if not side and not (labels.at(opening.label) or labels.at(closing.label)) and len(stretches) > 1:
        side = _by_whole_stretches(labels, stretches, step)
    evidence += [f"the bar labelled {clock(label)} stands for {clock(true)}" for label, true in moved.items()]
    extended = labels.outside(opening.label, closing.label, market.calls)
    if not side and extended:
        evidence.append(f"{extended} bars outside {clock(opening.label)}-{clock(closing.label)} hide the edges")
    return StampSide(side, ", ".join(evidence), moved, sure)


def _by_whole_stretches(labels: _Labels, stretches: Sequence[tuple[int, int]], step: int) -> str:
    """The side that both edges of every stretch with bars show: of a file that ends with the morning; else ""."""
    own = {labels.side(_Edge.opening(stretch, step), _Edge.closing(stretch, step)) for stretch in stretches}
    return END if own - {""} == {END} else ""


def _one_of(*, start: bool, end: bool) -> str:
    """The side that is true, "" where neither is."""
    return START if start else END if end else ""


def _by_edges(
    labels: _Labels, market: Market, opening: _Edge, closing: _Edge, *, agrees: bool
) -> tuple[str, list[str], bool]:
    """The side by the edges of the session, "" where they contradict each other; the evidence in words; `sure`.

    `agrees`: a break shows END, which outweighs the doubt about a bar at the close that may be a cross.
    """
    evidence = [f"{labels.at(edge.label)} at {clock(edge.label)}" for edge in (opening, closing)]
    evidence = [evidence[0].replace(" at", " bars at"), evidence[1]]
    evidence = [", ".join(evidence)]
    if labels.outside(opening.label, closing.label, market.calls) and not labels.call[0]:
        trades = labels.trades(opening.label, closing.label)
        if trades < MANY:
            return "", [*evidence, f"{trades} traded bars show nothing"], False
        odds = _odds(labels, opening, closing)
        side = _one_of(start=odds >= ODDS[START], end=odds <= -ODDS[END])
        shown = f"volumes and gaps at both edges: log odds {odds:+.1f} for a stamp by start"
        return side, [*evidence, shown], abs(odds) >= SURE
    if labels.uses(opening) and labels.uses(closing):
        side = _by_content(labels, opening, closing)
        return side, [*evidence, f"the bars at both edges look {f'stamped by {side}' if side else 'alike'}"], True
    side = labels.side(opening, closing)
    if not side:
        return "", evidence, True
    doubt = "" if agrees and side == END else _doubt(labels, market, side, opening, closing)
    return ("", [*evidence, doubt], True) if doubt else (side, evidence, True)


def _by_content(labels: _Labels, opening: _Edge, closing: _Edge) -> str:
    """The side by what the bars at both edges hold: the label of the other side is a call or a cross.

    A cross is a bar of one price. In a closing call nothing trades before the last bar: the label at which it begins
    trades under an END stamp, not under START.
    """
    if labels.call[0]:
        count, traded, usual = labels.call
        silence = (1 - usual) ** count  # the chance of it where the minute is an ordinary one
        return _one_of(start=not traded and silence < CHANCE, end=traded > THERE * count)
    ratios = [
        labels.spread[edge.label % DAY] / max(labels.spread[edge.inside % DAY], 1e-12) for edge in (opening, closing)
    ]
    few = min(labels.at(opening.label), labels.at(closing.label)) < MANY
    narrow = (
        0.0 if few else NARROW
    )  # two days of one symbol may be quiet at the open by chance, but have more than one price
    return _one_of(start=ratios[1] <= narrow < ratios[0], end=ratios[0] <= narrow < ratios[1])


def _doubt(labels: _Labels, market: Market, side: str, opening: _Edge, closing: _Edge) -> str:
    """Why the side that both edges show may be the other one after all, "" where nothing speaks against it.

    The label of one edge may be a cross of its own, and the bar at the other edge may be missing: then a file of a few
    symbol-days looks stamped by the other side.
    """
    begins = market.closing_call_begins
    if begins is not None and labels.call[0]:
        shown = _by_content(labels, opening, closing)
        if not shown:
            return f"too little trades to see whether the call begins at {clock(begins)}"
        return "" if shown == side else f"trading ends at {clock(begins)} as under a stamp by {shown}"
    edge = closing if side == END else opening
    last = opening.inside if side == END else closing.inside
    if not labels.at(last) and begins is None:
        return f"no bar at {clock(last)}, which a stamp by {side} has"
    if max(labels.at(edge.inside), labels.at(edge.label)) >= MANY:
        return ""
    spreads = [labels.spread[label % DAY] for label in edge.within() if labels.traded[label % DAY]]
    flat = bool(spreads) and float(np.median(spreads)) > 0 and labels.spread[edge.label % DAY] == 0
    return f"the bar at {clock(edge.label)} has one price and may be a cross of its own" if flat else ""


def _odds(labels: _Labels, opening: _Edge, closing: _Edge) -> float:
    """Log odds of START against END where bars of extended hours hide the edges.

    Under START the bar labelled by the open is one of trading and that labelled by the close one of extended hours,
    under END the other way: each is held against the bars beside it, by its volume and by how often it is there. A
    quiet bar at the close speaks for START, a loud one says little: real US files have the closing cross in it.
    """
    at_open, at_close = (_presence(labels, edge) + _loudness(labels, edge) for edge in (opening, closing))
    return at_open - min(at_close, CROSS)


def _presence(labels: _Labels, edge: _Edge) -> float:
    """Log odds that the edge's label is one of trading, by the symbol-days that have it and those that trade in it.

    All symbols of a vendor may have or lack one bar together, so that many say no more than `MOST`.
    """
    without = edge.without()
    reached = max((number for number, label in enumerate(without) if labels.at(label)), default=0)
    groups = [[edge.label], edge.within(), without[: reached + 1]]
    own, within, outside = ([labels.count[label % DAY] for label in group] for group in groups)
    days = max(*own, *within)
    rows = _odds_of(own[0], days, (sum(within), days * len(within)), (sum(outside), days * len(outside)))
    traded = [sum(labels.traded[label % DAY] for label in group) for group in groups]
    return rows + _odds_of(traded[0], own[0], (traded[1], sum(within)), (traded[2], sum(outside)))


def _odds_of(count: float, most: float, inside: tuple[float, float], outside: tuple[float, float]) -> float:
    """Log odds of `inside` against `outside`, shares as counts of a number, where `count` of `most` are seen."""
    if not inside[1] or not outside[1]:
        return 0.0
    # Laplace's rule of succession: ten bars that are all there do not show that one is never missing
    here, there = (min(max((some + 1) / (number + 2), RARE), 1 - RARE) for some, number in (inside, outside))
    odds = float(count * np.log(here / there) + (most - count) * np.log((1 - here) / (1 - there)))
    return min(max(odds, -MOST), MOST)


def _loudness(labels: _Labels, edge: _Edge) -> float:
    """Log odds that the traded bars of the edge's label have the volume of trading: two log-normal volumes."""
    trading, extended = (
        [labels.volume[label % DAY] for label in side if labels.traded[label % DAY]]
        for side in (edge.within(), edge.without())
    )
    traded, own = int(labels.traded[edge.label % DAY]), float(labels.volume[edge.label % DAY])
    if not traded or not trading or not extended:
        return 0.0
    loud, quiet = float(np.median(trading)), float(np.median(extended))
    if loud <= quiet:
        return 0.0
    middle, distance = np.log(loud * quiet) / 2, np.log(loud / quiet)
    odds = float((np.log(own) - middle) * distance / WIDTH**2)
    return traded * min(max(odds, -MOST), MOST)


def _by_edges_of_the_file(bars: pl.DataFrame, midnight: int, step: int) -> StampSide:
    """A market that never closes shows its side only at the edges of the file."""
    minute = pl.col("day").cast(pl.Int32).cast(pl.Int64) * DAY + pl.col("label")
    first, last = (
        int(value) % DAY for value in bars.select(minute.min().alias("first"), minute.max().alias("last")).row(0)
    )
    edges = {(midnight, (midnight - step) % DAY): START, ((midnight + step) % DAY, midnight): END}
    return StampSide(edges.get((first, last), ""), f"first bar at {clock(first)}, last at {clock(last)}", {})


def _labels(bars: pl.DataFrame, market: Market) -> _Labels:
    relative = (pl.col("high") - pl.col("low")) / pl.col("low")
    by_label = (
        bars.with_columns(pl.col("label") % DAY)
        .group_by("label")
        .agg(
            pl.col(DAYS).n_unique().alias("count"),
            (pl.col("volume") > 0).sum().alias("traded"),
            pl.col("volume").filter(pl.col("volume") > 0).median().alias("volume"),
            relative.filter((pl.col("low") > 0) & (pl.col("volume") > 0)).median().alias("spread"),
        )
    )
    place = by_label["label"].to_numpy()

    def dense(name: str) -> np.ndarray:
        values: np.ndarray = np.zeros(DAY)
        values[place] = by_label[name].fill_null(0).to_numpy()
        return values

    return _Labels(dense("count"), dense("traded"), dense("volume"), dense("spread"), _call(bars, market))


def _call(bars: pl.DataFrame, market: Market) -> tuple[int, int, float]:
    """`_Labels.call`, of the symbol-days that have a closing call."""
    begins = market.closing_call_begins
    if begins is None:
        return 0, 0, 0.0
    rows = bars.filter(pl.col("label").is_between(begins - BESIDE, begins))
    for suffix, first in market.exchange.closing_call_since.items():
        rows = rows.filter(~pl.col("symbol").str.ends_with(f".{suffix}") | (pl.col("day") >= first))
    own = rows.filter(pl.col("label") == begins)["volume"] > 0
    before = rows.filter(pl.col("label") < begins)["volume"] > 0
    return len(own), int(own.sum()), int(before.sum()) / max(len(before), 1)
