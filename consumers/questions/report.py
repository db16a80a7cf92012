"""What is told of the figures: the page with its twins and its passport, and what a command prints."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from consumers.questions import judgement, passport
from fpm.evaluation.evaluate import PRESETS
from fpm.report import page
from fpm.report.data import plain
from fpm.report.markdown import markdown
from fpm.report.passport import SERIES
from fpm.store.lake.small_files import place

if TYPE_CHECKING:
    from pathlib import Path

    from fpm.evaluation.figures import Comparison, Figures, Share
    from fpm.store.ledger.stores import Stores

PAGE, TWIN, TEXT = "report.html", "report.json", "report.md"


def evaluate(stores: Stores) -> dict[str, Any]:
    """Figures of every stream and portfolio, without their series. Raises TryLater where nothing was scored."""
    judged = judgement.judge(stores)
    config = PRESETS[stores.settings.preset]
    streams, shares = judgement.stream_figures(judged, config), judgement.oracle_shares(judged, config)
    return {
        "rank_ic": [line(name, figures, shares.get(name)) for name, figures in streams.items()],
        "paired": [difference(pair, each) for pair, each in judgement.comparisons(judged, config).items()],
        "portfolios": [
            plain({"index": name} | each.to_dict(), SERIES)
            for name, each in judgement.portfolios(judged, stores).items()
        ],
        "streams": {name: plain(figures.to_dict(), SERIES) for name, figures in streams.items()},
    }


def write(stores: Stores) -> Path:
    """Write page, JSON and Markdown twins and passport under `home/reports`; the page's path. Same store, same bytes.

    The passport comes last: it names the hashes of the others.
    """
    data = judgement.gather(stores)
    files = {PAGE: page.build(data), TWIN: page.twin(data), TEXT: markdown(data)}
    encoded = {name: text.encode() for name, text in files.items()}
    issued = passport.issue(data, encoded, stores)
    for name, content in (encoded | {passport.NAME: issued}).items():
        place(stores.settings.reports / name, content)
    return stores.settings.reports / PAGE


# --- what a command prints ----------------------------------------------------------------------------------------


def line(name: str, figures: Figures, share: Share | None = None) -> dict[str, Any]:
    """RankIC of one stream with its interval and null band; on the synthetic exchange the oracle's beside it."""
    told = {
        "stream": name,
        "rank_ic": figures.rank_ic_paths,
        **_ends(figures.newey_west),
        "null_band": figures.null_band,
        "periods": figures.independent_periods,
    }
    return told if share is None else told | {"oracle": share.oracle_rank_ic, "share": share.share}


def difference(pair: str, of: Comparison) -> dict[str, Any]:
    """A paired difference with its interval."""
    return {"pair": pair, "difference": of.difference, **_ends(of.newey_west)}


def _ends(interval: Any) -> dict[str, float | None]:
    return {"low": interval and interval.low, "high": interval and interval.high}
