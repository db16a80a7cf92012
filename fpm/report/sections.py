"""The order of a report: headings, and the plots and tables below each by name.

Parts without content and sections without parts are left out. Page and Markdown twin share this order.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from fpm.schema import HORIZON

if TYPE_CHECKING:
    from collections.abc import Collection


@dataclass(frozen=True)
class Part:
    """A table of `tables` or a plot of `page` by its name; `text` says how to read it."""

    kind: Literal["table", "plot"]
    name: str
    title: str
    text: str
    wide: bool = True


@dataclass(frozen=True)
class Section:
    """A heading and its parts."""

    heading: str
    parts: tuple[Part, ...]

    def among(self, names: Collection[tuple[str, str]]) -> Section:
        """The section with only those parts whose (kind, name) is among `names`."""
        return replace(self, parts=tuple(part for part in self.parts if (part.kind, part.name) in names))

    def about(self, horizon: int) -> Section:
        """The section with texts about labels of so many sessions."""
        parts = (replace(part, text=part.text.format(horizon=horizon, end=horizon + 1)) for part in self.parts)
        return replace(self, parts=tuple(parts))


def ends(horizon: int) -> list[str]:
    """What stands at the foot of the report."""
    return [text.format(horizon=horizon) for text in ENDS]


def _table(name: str, title: str, text: str = "", wide: bool = True) -> Part:
    return Part("table", name, title, text, wide)


def _plot(name: str, title: str, text: str, wide: bool = False) -> Part:
    return Part("plot", name, title, text, wide)


PUBLISHED = (
    "Their rows are the source report's own claim (Golden Sun Securities, 2026-01-16) on private Level-2 data of "
    "2017-2025: not reproduced here, not comparable with other data."
)

TODAY = Section(
    "The newest session's names",
    (
        _table(
            "longs",
            "Highest scores",
            "Of the dual stream. Percentile: share of the session's scores below, half of its own tie included. "
            "Spread: deviation of the seeds' scores, in the score's unit. Float value: at the session's close.",
            wide=False,
        ),
        _table("shorts", "Lowest scores", "Names to leave out, or to sell short where that can be done.", wide=False),
    ),
)
FACTORS = Section(
    "Factors",
    (
        _table(
            "headline",
            "Headline figures",
            "Return: close of t+1 to close of t+{end}. Long-short: top minus bottom group, equal weight, not halved, "
            "before costs, weekly. Turnover: share of an outer group replaced each week. A dash: not computable from "
            "this history, or not told; what would be dashes alone is left out. "
            f"{PUBLISHED}",
        ),
        _table(
            "certainty",
            "How sure",
            "All days: mean over every session with equal weight, to which intervals and null band belong. Null band: "
            "what a factor that knows nothing would show at 95 %.",
        ),
        _table(
            "hits",
            "How often",
            "Weekly: the last session of each week. Start days: labels that do not overlap, every {horizon} sessions "
            "from each of the first {horizon}, and the mean of these. Scores with a label: of the labelled sessions.",
        ),
        _table(
            "earned",
            "How sure of what was earned: 95 % intervals, and the Sharpe ratio",
            "Long-short figures and turnover by block bootstrap over the weeks, four together, from 13 weeks on. "
            "P(true > 0): probabilistic Sharpe ratio, of so many weeks with their skewness and kurtosis; deflated: "
            "that the true one is above the best that so many settings without skill would show (Bailey and Lopez de "
            "Prado 2014). Before costs.",
        ),
        _table(
            "oracle",
            "Beside the known answer",
            "The synthetic exchange knows what drives its returns; the oracle scores with exactly that, on the same "
            "sessions and symbols. The fingerprint stream also reads the day's six price and volume columns, so it can "
            "pass the intraday oracle.",
        ),
        _table(
            "paired",
            "Paired differences",
            "Session by session, over the symbols that both score: what one stream adds to another. An interval that "
            "holds 0 says that no difference was shown.",
        ),
    ),
)
OVER_TIME = Section(
    "Over time",
    (
        _plot(
            "cumulative",
            "Cumulative RankIC",
            "Sum of each session's RankIC. A straight line is a factor that keeps working.",
            wide=True,
        ),
        *(
            _plot(
                f"rank-ic-{name}",
                f"RankIC by session: {name}",
                "Overlapping {horizon}-session returns: neighbouring bars are not independent.",
                wide=name == "dual",
            )
            for name in ("fingerprint", "traditional", "dual")
        ),
        _table(
            "by-year",
            "RankIC by year",
            "Mean over the labelled sessions of each year, their number in brackets; Newey-West 95 % intervals.",
        ),
        _table("by-month", "RankIC by month", "As by year. A month has four periods: its interval is wide."),
        _table(
            "persistence",
            "Autocorrelation of the scores",
            "Mean rank correlation of a session's scores with those so many sessions later, over the names of both; "
            "95 % intervals. Near 1 an order of names lasts, near 0 it is made anew.",
        ),
        _plot("scored", "Coverage", "Share of the names traded on each session that were scored.", wide=True),
    ),
)
GROUPS = Section(
    "Groups and long-short",
    (
        _plot("groups", "Mean return by score group", "Equal weight inside a group, {horizon} sessions, before costs."),
        _plot("long-short", "Top minus bottom, compounded weekly", "Not halved, before costs; drawdown below."),
        *(
            _plot(
                f"group-curves-{name}",
                f"Every group, compounded weekly: {name}",
                "Lowest scores to highest; a factor that orders all names fans out evenly.",
            )
            for name in ("fingerprint", "traditional", "dual")
        ),
        _plot("turnover", "Turnover", "Share of the outer groups' names replaced each week."),
        _table("by-group", "Mean return by score group", "As in the plot, with Newey-West 95 % intervals."),
    ),
)
COSTS = Section(
    "What it costs, and how much it holds",
    (
        _table(
            "costs",
            "Long-short before and after costs",
            "A purchase and a sale each cost so many basis points (bp) of their value, by the changes of the target "
            "weights of each week; the first week buys both sides, the last sale is not charged.",
        ),
        _table(
            "trades",
            "What is traded",
            "Mean over the weeks of the sum of all changes of weights, where each side is 1. Break-even: the mean week "
            "earns nothing.",
        ),
        _table(
            "capacity",
            "Capacity, million a side",
            "Largest portfolio of which nine tenths of a week's trades, by value, stay within the share of each name's "
            "amount on the day of the fill. Median of the weeks after the first, and what nine weeks in ten hold. "
            "No price impact is estimated.",
        ),
    ),
)
WHERE = Section(
    "Where it works, and what it is",
    (
        _plot("decay", "Decay", "RankIC with the return of one single session after the fill; bars: 95 %."),
        _plot("by-size", "By size group", "RankIC inside thirds of log size; bars: 95 %."),
        _table("by-size", "RankIC by size group", "Newey-West 95 % intervals, here and below."),
        _table(
            "variants",
            "What could be bought, and what is left without the known",
            "Fillable: names that trade at the next close and are not at their upper limit. Neutral: the score's "
            "residual across the symbols of each session on industries, on styles, on both.",
        ),
        _table(
            "bases",
            "Four ways to be filled",
            "RankIC with the return over {horizon} sessions from each price. The close of t itself cannot be had: a "
            "score of t is known after it. It is shown to expose the gap.",
        ),
        _table("by-industry", "RankIC by industry", "Among the names of each industry alone; 95 % intervals."),
        _plot(
            "exposures",
            "Style exposure",
            "Mean rank correlation of score and style across symbols, last session of each week; bars: 95 %. Size: log "
            "of float value; momentum: 60 sessions; reversal: 5 sessions.",
        ),
        _plot(
            "spread",
            "Seeds",
            "Spread over the seeds in units of the scores' cross-sectional deviation; it is served beside every score.",
        ),
        _plot(
            "reliability",
            "What a score promises",
            "Share of the intervals that held the place of the return, by tenth of the score from lowest to highest. "
            "Dotted: what they state.",
        ),
        _table(
            "promises",
            "Intervals of the forward rank",
            "Conformal by score group and adaptive over sessions (Gibbs and Candes 2021), from labels known at the "
            "session. Place: 0 the lowest return of the session's scored names, 1 the highest. Thirds of log size.",
        ),
        _table(
            "correlations",
            "Correlation with the traditional factors",
            "Mean rank correlation of score and factor across the symbols, last session of each week; 95 % intervals. "
            "Styles first. Formulas: fpm/features/daily_factors.py.",
        ),
    ),
)
PORTFOLIOS = Section(
    "Index-enhanced portfolios",
    (
        _table(
            "portfolios",
            "Six figures of each index",
            "Weekly, filled at the next session's vwap (open where amounts are missing), 0.3 % for a purchase and its "
            "sale together, untradable names held, daily compounding; first purchase not charged. Yearly figures need "
            f"20 sessions; from less than a year they are a way of speaking, not a forecast. {PUBLISHED}",
        ),
        _plot("excess", "Excess over the index", "Daily differences, compounded, after costs.", wide=True),
        _table("rebalances", "Last rebalance", "What the optimiser gave up, and what its bounds cost."),
    ),
)
RISK = Section(
    "Did portfolios move as much as the risk model said?",
    (
        _table(
            "risk",
            "B, the deviation of realised over predicted",
            "1: as predicted; above: risk was understated. The last year of sessions, each by the model of the last "
            "decision. Own: the index's portfolio less its index. Optimised: active portfolios of the members that "
            "seek what the model overlooks; random: a tenth of the members against all. Band: 95 % of what a perfect "
            "model shows with as many sessions and such tails. Share: of the year-long windows, those with B near 1.",
        ),
        *(
            _plot(f"risk-{kind}", f"B over time: {kind}", "Dotted: the band of a perfect model.", wide=kind == "own")
            for kind in ("own", "optimised", "random")
        ),
    ),
)
MODELS = Section(
    "Models",
    (
        _table("folds", "Folds", "Sessions, their number in brackets. Nothing was chosen by the last column."),
        _table("tried", "Settings tried", "Every setting of encoder and scorer trained here was a chance to be lucky."),
        _table("encoders", "Encoder vintages", "Figures of the collapse gate, on sessions held out of the training."),
        _plot(
            "losses",
            "Encoder, last vintage",
            "Validation loss by epoch in units of its trivial baseline; 1 is no better than guessing.",
            wide=True,
        ),
    ),
)
DATA = Section(
    "Data",
    (
        _plot("symbols", "Symbols by session", "How many had daily bars, a dual score, and a label.", wide=True),
        _table("coverage", "In the lake", "", wide=False),
        _table("quarantined", "Quarantined", "Kept out of the lake, with one reason as an example.", wide=False),
    ),
)
SECTIONS = (TODAY, FACTORS, OVER_TIME, GROUPS, COSTS, WHERE, PORTFOLIOS, RISK, MODELS, DATA)

ENDS = (
    (
        "RankIC: Spearman correlation over symbols, average ranks. Weekly: last session of each week; all days: every "
        "session with equal weight. Intervals: mean ± t times error, degrees of freedom one less than independent "
        "periods; Newey-West with {horizon} lags, circular block bootstrap with blocks of {horizon}. Null band: the "
        "larger of exchanging symbols at random and the series' own error. Encoder and scorer saw no session they are "
        "judged on."
    ),
)


def sections_with(names: Collection[tuple[str, str]], horizon: int = HORIZON) -> list[Section]:
    """The sections with any part whose (kind, name) is among `names`, reduced to those parts.

    `horizon`: sessions that a label spans, which the texts name.
    """
    sections = [section.among(names).about(horizon) for section in SECTIONS]
    return [section for section in sections if section.parts]
