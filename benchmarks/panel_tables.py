"""Tables of real panels: from answers of `fpm evaluate protocol` to what stands between the marks of a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from fpm.evaluation.pooling import pooled

BEGIN, END = "<!-- made by benchmarks/panels.py: run it again -->", "<!-- end of what it made -->"
LEVEL = 0.95
POINTS = (5, 10, 20)


def days(files: Sequence[Path]) -> list[str]:
    """Return the days of bars with a column `datetime`, in order."""
    return [
        str(day)
        for day in pl.scan_parquet(files).select(pl.col("datetime").dt.date().unique()).collect()["datetime"].sort()
    ]


def write(page: Path, answers: Mapping[str, Any], part: str) -> None:
    """Replace what stands between the marks of a page by the tables of these panels; without panels nothing changes."""
    if not answers:
        return
    text = page.read_text()
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    parts = [section(title, answer, part) for title, answer in answers.items()]
    page.write_text("\n\n".join([f"{before}{BEGIN}", *parts, pooled_line(answers), f"{END}{after}"]))


def section(title: str, answer: Mapping[str, Any], part: str) -> str:
    """Return one panel's tables as Markdown."""
    primary = next(row for row in answer["rank_ic"] if row["model"] == "dual")
    served = "; ".join(
        f"learnt {fold['train']}, validated {fold['validation']}, scored {fold['served']}" for fold in answer["folds"]
    )
    words = (
        f"**{title}**, {part if 'before' not in title else 'all sessions'}: labels of {answer['horizon']} "
        f"session{'s' if answer['horizon'] > 1 else ''}, {primary['sessions']} sessions with labels, "
        f"{primary['periods']} independent periods. Folds: {served}. Best peer by validation: {answer['best_peer']}."
    )
    return "\n\n".join([words, rank_ic_table(answer), book_table(answer), *promise_lines(answer)])


def rank_ic_table(answer: Mapping[str, Any]) -> str:
    """Return RankIC by model, and what the dual stream has more."""
    less = {row["less"]: row for row in answer["paired"]}
    rows = [
        [
            row["model"],
            decimal(row["validation"]),
            f"{bounded(row, 'rank_ic')} ± {decimal(row['null_band'])}",
            bounded(less[row["model"]], "difference") if row["model"] in less else "",
        ]
        for row in answer["rank_ic"]
    ]
    return table(["model", "RankIC, validation", "RankIC, out of sample", "dual less this one"], rows)


def book_table(answer: Mapping[str, Any]) -> str:
    """Return the books of the dual stream and the best peer: per mille a rebalance, gross and net."""
    rows = [
        [
            row["model"],
            row["book"],
            str(row["rebalances"]),
            decimal(row["traded"], 2),
            *(decimal(1000 * row[name], 2) for name in ("gross", *(f"net_{points}" for points in POINTS))),
            "" if row["capacity"] is None else f"{row['capacity'] / 1e6:,.2f}",
        ]
        for row in answer["books"]
        if row["model"] in ("dual", answer["best_peer"]) and "gross" in row
    ]
    heads = ["model", "book", "rebalances", "traded", "gross ‰", *(f"net of {points} bp" for points in POINTS)]
    return table([*heads, "capacity, millions"], rows)


def promise_lines(answer: Mapping[str, Any]) -> list[str]:
    """Return how often the intervals of the dual stream's ranks held, in all and by part; nothing without intervals."""
    rows = {row["part"]: row for row in answer["promises"]}
    if "all" not in rows:
        return []
    whole = rows["all"]
    words = (
        f"Intervals of the dual stream's ranks, stated {decimal(whole['stated'])}: held {decimal(whole['observed'])} "
        f"in {whole['sessions']} sessions"
    )
    kinds = dict.fromkeys(part.partition(": ")[0] for part in rows if part != "all")
    shares = {kind: [row["observed"] for part, row in rows.items() if part.startswith(f"{kind}: ")] for kind in kinds}
    parts = [f"by {kind} {decimal(min(each))} to {decimal(max(each))}" for kind, each in shares.items()]
    return ["; ".join([words, *parts]) + "."]


def pooled_line(answers: Mapping[str, Any]) -> str:
    """Return the paired difference of dual and traditional over all panels as one sentence."""
    rows = [next(row for row in answer["paired"] if row["less"] == "traditional") for answer in answers.values()]
    estimates = [(row["difference"], row["error"], row["periods"]) for row in rows if row["error"] is not None]
    value = pooled(estimates, LEVEL)
    if value is None or value[1] is None:
        return "Dual less traditional over the panels: no interval."
    mean, interval = value
    own = {"difference": mean, "low": interval.low, "high": interval.high}
    panels = f"{len(estimates)} panel{'s' if len(estimates) > 1 else ''}"
    return f"Dual less traditional over {panels}, pooled: {bounded(own, 'difference')}."


def bounded(row: Mapping[str, Any], name: str) -> str:
    """Return a figure with its interval."""
    return f"{decimal(row[name])} [{decimal(row['low'])}, {decimal(row['high'])}]"


def decimal(value: float | None, digits: int = 3) -> str:
    """Return a figure, "none" where there is none."""
    return "none" if value is None else f"{value:.{digits}f}"


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
