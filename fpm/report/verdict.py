"""What may be concluded from a report: one sentence each on data, leaks, passport and intervals.

Every sentence is computed from the report's figures and records; none says more than these.
"""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

from fpm.report.figure_text import number, percent, several

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fpm.evaluation.figures import Figures
    from fpm.report.data import ReportData


def verdict(report: ReportData) -> dict[str, str]:
    """Topic -> sentence, in the order of the page."""
    return {
        "Data": _data(report),
        "Leaks": _leaks(report),
        "Passport": _passport(report),
        "Intervals": _intervals(report),
    }


def _data(report: ReportData) -> str:
    lost = sum(part.count for part in report.quarantined)
    count = "1 row or file was" if lost == 1 else f"{number(lost, 0)} rows or files were"
    kept_out = f"{count if lost else 'nothing was'} kept out of the lake"
    if not report.sessions:
        return f"No session has both scores and labels, so there is no figure of a factor; {kept_out}."
    first, last = report.sessions
    names = min(figures.symbols for figures in report.streams.values())
    return (
        f"The figures speak of the labelled sessions from {first} to {last} and of {several(names, 'name')} on a "
        f"median session{_scored(list(report.streams.values()))}; {kept_out}."
    )


def _scored(streams: Sequence[Figures]) -> str:
    shares = [median(share for _, share in figures.scored) for figures in streams if figures.scored]
    return f", {percent(min(shares), 1)} of those that traded" if shares else ""


def _leaks(report: ReportData) -> str:
    failed = {check: finding for check, finding in report.leaks.items() if finding}
    if failed:
        return (
            "No figure here may be believed, " + "; ".join(f"{check}: {what}" for check, what in failed.items()) + "."
        )
    if not report.leaks:
        return "The models' records do not say on which sessions they were trained: fpm leaks can tell more."
    return (
        f"By the records of {several(len(report.folds), 'fold')} no model was trained on what it was judged by "
        f"({', '.join(report.leaks)}); stored values were not computed again here, fpm leaks does that."
    )


def _passport(report: ReportData) -> str:
    if not report.partitions:
        return "No partition is behind this page."
    return (
        f"passport.json beside this page names the {several(report.partitions, 'partition')} and "
        f"{several(report.models, 'model')} behind the figures: fpm passport tells whether they still follow."
    )


def _intervals(report: ReportData) -> str:
    if not report.streams:
        return "There are no scores of fpm's own, so nothing is said about a factor."
    periods = several(report.independent_periods, "independent period")
    if all(figures.newey_west is None for figures in report.streams.values()):
        return f"Nothing about the factor can be concluded from {periods}: there are no intervals."
    certainties = [f"{name} {_certainty(figures)}" for name, figures in report.streams.items()]
    return f"RankIC over {periods}: {', '.join(certainties)}{_pairs(report)}."


def _certainty(figures: Figures) -> str:
    """Above or below 0 where the interval excludes 0 and the mean lies beyond the null band."""
    mean, bounds, band = figures.rank_ic_all_days, figures.newey_west, figures.null_band
    if mean is None or bounds is None or band is None:
        return "is without an interval"
    figure = f"({number(mean)}, 95 % {number(bounds.low)} to {number(bounds.high)})"
    if bounds.low <= 0 <= bounds.high or abs(mean) <= band:
        return f"was not shown to differ from 0 {figure}"
    return f"is {'above' if mean > 0 else 'below'} 0 {figure}"


def _pairs(report: ReportData) -> str:
    bounds = {name: pair.newey_west for name, pair in report.comparisons.items() if pair.newey_west}
    shown = [name for name, ends in bounds.items() if not ends.low <= 0 <= ends.high]
    if not bounds:
        return ""
    return f"; paired differences that exclude 0: {', '.join(shown) or 'none'} (of {number(len(bounds), 0)})"
