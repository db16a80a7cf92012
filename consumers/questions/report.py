"""The report: the page with its twins and its passport, and the figures as a command prints them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from consumers.questions import judgement, passport
from fpm.report import page
from fpm.report.data import plain
from fpm.report.markdown import markdown
from fpm.report.passport import SERIES
from fpm.store.lake.small_files import write_whole

if TYPE_CHECKING:
    from pathlib import Path

    from fpm.evaluation.figures import Comparison, Figures, Share
    from fpm.store.ledger.stores import Stores

PAGE, TWIN, TEXT = "report.html", "report.json", "report.md"


def evaluate(stores: Stores) -> dict[str, Any]:
    """Figures of every stream and portfolio, without their series. Raises TryLater where nothing was scored."""
    evidence = judgement.read_evidence(stores)
    config = judgement.evaluation_config(stores.settings)
    streams, shares = judgement.stream_figures(evidence, config), judgement.oracle_shares(evidence, config)
    return {
        "rank_ic": [line(name, figures, shares.get(name)) for name, figures in streams.items()],
        "paired": [difference(pair, value) for pair, value in judgement.comparisons(evidence, config).items()],
        "portfolios": [
            plain({"index": name} | performance.to_dict(), SERIES)
            for name, performance in judgement.portfolios(stores, max(evidence.scores["session"].to_list())).items()
        ],
        "streams": {name: plain(figures.to_dict(), SERIES) for name, figures in streams.items()},
    }


def write(stores: Stores) -> Path:
    """Write page, JSON and Markdown twins and passport under `home/reports`; the page's path.

    The same store gives the same bytes. The passport comes last: it holds the hashes of the others.
    """
    data = judgement.gather(stores)
    files = {PAGE: page.build(data), TWIN: page.twin(data), TEXT: markdown(data)}
    encoded = {name: text.encode() for name, text in files.items()}
    issued = passport.issue(data, encoded, stores)
    for name, content in (encoded | {passport.NAME: issued}).items():
        write_whole(stores.settings.reports / name, content)
    return stores.settings.reports / PAGE


# --- what a command prints ----------------------------------------------------------------------------------------


def line(name: str, figures: Figures, share: Share | None = None) -> dict[str, Any]:
    """RankIC of one stream with its interval and null band, and on the synthetic exchange the oracle's share."""
    row = {
        "stream": name,
        "rank_ic": figures.rank_ic_paths,
        **_ends(figures.newey_west),
        "null_band": figures.null_band,
        "periods": figures.independent_periods,
    }
    return row if share is None else row | {"oracle": share.oracle_rank_ic, "share": share.share}


def difference(pair: str, comparison: Comparison) -> dict[str, Any]:
    """A paired difference with its interval."""
    return {"pair": pair, "difference": comparison.difference, **_ends(comparison.newey_west)}


def _ends(interval: Any) -> dict[str, float | None]:
    return {"low": interval and interval.low, "high": interval and interval.high}
