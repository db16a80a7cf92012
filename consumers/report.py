"""The figures of every stream, and the page: read from the lake and the ledger, computed by the pure code.

What is judged is what was served: the scores in the lake, each made before its session's label existed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl

from consumers import portfolio
from fpm import evaluation, report
from fpm.backtest import Performance
from fpm.errors import TryLater
from fpm.evaluation import Comparison, EvaluationConfig, Figures, Share, Surroundings
from fpm.schema import STREAMS, TABLES
from fpm.sessions import cut_off
from fpm.store.small_files import place
from fpm.store.stores import Stores

PAGE, TWIN = "report.html", "report.json"
ORACLE = {"fingerprint": "intraday", "traditional": "daily", "dual": "combined"}
DAYS_OF_LABEL = 25  # sessions after the last score that decay may need
LONG = ("series", "weeks", "curve")  # whole series: in the page and its twin, not in what a command prints


@dataclass(frozen=True)
class Judged:
    """All scores in the lake and what they are judged by: labels (session, symbol, label), adjusted closes, sizes,
    and on the synthetic exchange the oracle (session, symbol, intraday, daily, combined)."""

    scores: pl.DataFrame
    labels: pl.DataFrame
    around: Surroundings
    oracle: pl.DataFrame | None

    def stream(self, name: str) -> pl.DataFrame:
        return self.scores.filter(pl.col("stream") == name)


def evaluate(stores: Stores) -> dict[str, Any]:
    """Figures of every stream and portfolio, without their series. Raises TryLater where nothing was scored."""
    judged = _judged(stores)
    config = evaluation.PRESETS[stores.settings.preset]
    streams, shares = _figures(judged, config), _shares(judged, config)
    return {
        "rank_ic": [_line(name, figures, shares.get(name)) for name, figures in streams.items()],
        "paired": [
            {"pair": pair, "difference": each.difference, **_ends(each.newey_west)}
            for pair, each in _comparisons(judged, config).items()
        ],
        "portfolios": [_short({"index": name} | each.to_dict()) for name, each in _portfolios(judged, stores).items()],
        "streams": {name: _short(figures.to_dict()) for name, figures in streams.items()},
    }


def write(stores: Stores) -> Path:
    """Write the page and its JSON twin under `home/reports`; the page's path. Same store, same bytes."""
    gathered = gather(stores)
    folder = stores.settings.reports
    place(folder / TWIN, report.twin(gathered).encode())
    place(folder / PAGE, report.build(gathered).encode())
    return folder / PAGE


def gather(stores: Stores) -> report.ReportData:
    """Everything the page shows."""
    judged = _judged(stores)
    config = evaluation.PRESETS[stores.settings.preset]
    last = max(judged.scores["session"].to_list())
    made_by = "the synthetic exchange" if judged.oracle is not None else "ingested bars"
    return report.ReportData(
        title=f"Volume-price fingerprints on {made_by}",
        as_of=last.isoformat(),
        market=stores.market.name,
        preset=stores.settings.preset,
        streams=_figures(judged, config),
        comparisons=_comparisons(judged, config),
        oracles=_shares(judged, config),
        spreads={name: spread(judged.stream(name)) for name in STREAMS},
        portfolios=_portfolios(judged, stores),
        rebalances=_rebalances(stores),
        coverage=_coverage(stores),
        quarantined=quarantined(stores.settings.quarantine),
        encoders=_encoders(stores),
        folds=folds(judged.scores),
        trials=_trials(stores),
    )


# --- what is judged -----------------------------------------------------------------------------------------------


def _judged(stores: Stores) -> Judged:
    sessions = stores.sessions("scores")
    if not sessions:
        raise TryLater(
            "FPM-REP-075", "nothing was scored yet", "no figures were computed", "run fpm walk-forward FIRST LAST first"
        )
    first, last = sessions[0], sessions[-1]
    after = [session for session in stores.sessions("daily_bars") if session > last][:DAYS_OF_LABEL]
    scores = stores.read_served(
        "scores", first, last, columns=["symbol", "stream", "score", "spread", "vintage", "model"]
    )
    daily = stores.read("daily_bars", first, max([last, *after]), columns=["symbol", "close", "adj_factor"])
    sizes = stores.read("daily_factors", first, last, columns=["symbol", "log_size"]).rename({"log_size": "size"})
    return Judged(
        scores,
        stores.read("labels", first, last, columns=["symbol", "label"]),
        Surroundings(
            daily.select("session", "symbol", pl.col("close") * pl.col("adj_factor").fill_null(1.0)),
            sizes if sizes["size"].count() else None,
        ),
        _oracle(stores.settings.home / "synthetic" / "oracle.parquet"),
    )


def _oracle(path: Path) -> pl.DataFrame | None:
    return pl.read_parquet(path) if path.is_file() else None


def _figures(judged: Judged, config: EvaluationConfig) -> dict[str, Figures]:
    return {name: evaluation.evaluate(judged.stream(name), judged.labels, config, judged.around) for name in STREAMS}


def _shares(judged: Judged, config: EvaluationConfig) -> dict[str, Share]:
    if judged.oracle is None:
        return {}
    return {
        name: evaluation.oracle_share(
            judged.stream(name), judged.oracle.select("session", "symbol", score=column), judged.labels, config
        )
        for name, column in ORACLE.items()
    }


def _comparisons(judged: Judged, config: EvaluationConfig) -> dict[str, Comparison]:
    pairs = (("dual", "fingerprint"), ("dual", "traditional"), ("fingerprint", "traditional"))
    return {
        f"{left} {report.MINUS} {right}": evaluation.compare(
            judged.stream(left), judged.stream(right), judged.labels, config
        )
        for left, right in pairs
    }


def _portfolios(judged: Judged, stores: Stores) -> dict[str, Performance]:
    sessions = stores.sessions("weights")
    if not sessions:
        return {}
    last = max([*sessions, *judged.scores["session"].to_list()])
    indices = stores.read_served("weights", sessions[0], last, columns=["index"])["index"].unique().sort().to_list()
    return {index: portfolio.performance(index, sessions[0], last, stores) for index in indices}


def _rebalances(stores: Stores) -> list[report.Rebalance]:
    """The optimiser's answers at the last rebalance, solved again: weights alone do not tell what a bound costs."""
    sessions = stores.sessions("weights")
    if not sessions:
        return []
    last = portfolio.decided_sessions(sessions, stores.market)[-1]
    return [
        report.Rebalance(each.index, last, each.solution.relaxed, each.solution.shadow)
        for each in portfolio.decisions(last, stores.as_of(cut_off(stores.market, last)))
        if each.solution is not None
    ]


# --- what it rests on ---------------------------------------------------------------------------------------------


def spread(scores: pl.DataFrame) -> list[tuple[date, float]]:
    """Per session: mean spread over the seeds, in units of the scores' cross-sectional deviation."""
    rows = []
    for (session,), part in scores.sort("session", "symbol").partition_by("session", as_dict=True).items():
        deviation = part["score"].to_numpy().std()
        mean = part["spread"].mean()
        if deviation > 0 and isinstance(mean, float):
            rows.append((session, mean / float(deviation)))
    return rows


def folds(scores: pl.DataFrame) -> list[report.Fold]:
    """The stretches of sessions that one vintage and one scorer served."""
    served = scores.group_by("vintage", "model").agg(
        first=pl.col("session").min(), last=pl.col("session").max(), sessions=pl.col("session").n_unique()
    )
    return [report.Fold(**row) for row in served.sort("first", "model").to_dicts()]


def _coverage(stores: Stores) -> list[report.Coverage]:
    current = stores.ledger.current(list(TABLES))
    rows = []
    for table in TABLES:
        sessions = stores.sessions(table)
        count = sum(file.rows for path, file in current.items() if path.split("/")[0] == table)
        if sessions:
            rows.append(report.Coverage(table, len(sessions), count, sessions[0], sessions[-1]))
    return rows


def quarantined(folder: Path) -> list[report.Quarantined]:
    """Rows by table and code, with one reason as an example; whole files by code."""
    rows = []
    for table in sorted(path.name for path in folder.glob("*") if path.is_dir() and path.name != "files"):
        kept = [
            pl.read_parquet(path, columns=["reason_code", "reason"]) for path in (folder / table).rglob("*.parquet")
        ]
        if kept:
            counted = pl.concat(kept).group_by("reason_code").agg(pl.len(), pl.col("reason").min()).sort("reason_code")
            rows += [report.Quarantined(table, code, reason, count) for code, count, reason in counted.rows()]
    for note in sorted((folder / "files").glob("*.json")):
        refused = json.loads(note.read_bytes())
        rows.append(report.Quarantined(f"file {refused['file']}", refused["code"], refused["wrong"], 1))
    return rows


def _trials(stores: Stores) -> int:
    """How many settings of encoder and scorer together have been trained here: each was a chance to be lucky."""
    encoders = {model.id: model.manifest for model in stores.models.list("encoder")}
    settings = set()
    for scorer in stores.models.list("scorer"):
        of = encoders.get(scorer.manifest.get("vintage", ""), {})
        parts = [of.get("encoder"), of.get("pretraining"), scorer.manifest.get("config")]
        settings.add(json.dumps(parts, sort_keys=True))
    return max(1, len(settings))


def _encoders(stores: Stores) -> list[report.Encoder]:
    return [encoder(model.id, model.through, model.status, model.manifest) for model in stores.models.list("encoder")]


def encoder(vintage: str, through: date, status: str, manifest: Mapping[str, Any]) -> report.Encoder:
    """What a manifest says of a training: collapse figures, the untrained encoder's rank, losses by epoch in units of
    their baselines (1: the last price stays, the mean flow)."""
    epochs = [losses for epoch in manifest.get("history", ()) if (losses := baseline_losses(epoch))]
    figures = {name: float(value) for name, value in manifest.get("figures", {}).items() if _is_number(value)}
    if "rank" in manifest.get("untrained", {}):
        figures["rank_untrained"] = float(manifest["untrained"]["rank"])
    if told := manifest.get("alignment"):
        figures["residual_to_former"] = float(told["residual"])
    return report.Encoder(vintage, through, status, figures, epochs)


def baseline_losses(epoch: Mapping[str, float]) -> dict[str, float]:
    """Both pretext losses of an epoch's history entry over their baselines; validation where anything was held out."""
    part = "validation" if "validation/forward" in epoch else "train"
    found = {}
    for name in ("forward", "backward"):
        loss, baseline = epoch.get(f"{part}/{name}"), epoch.get(f"{part}/{name}_baseline", 1.0)
        if loss is not None and baseline > 0:
            found[name] = loss / baseline
    return found


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


# --- what a command prints ----------------------------------------------------------------------------------------


def _line(name: str, figures: Figures, share: Share | None) -> dict[str, Any]:
    line = {
        "stream": name,
        "rank_ic": figures.rank_ic_paths,
        **_ends(figures.newey_west),
        "null_band": figures.null_band,
        "periods": figures.independent_periods,
    }
    return line if share is None else line | {"oracle": share.oracle_rank_ic, "share": share.share}


def _ends(interval: Any) -> dict[str, float | None]:
    return {"low": interval and interval.low, "high": interval and interval.high}


def _short(figures: dict[str, Any]) -> dict[str, Any]:
    return {
        name: _short(value) if isinstance(value, dict) else value for name, value in figures.items() if name not in LONG
    }
