"""The whole chain on the synthetic exchange, from raw files to a published session, its report and a query.

Every step asks the ledger (or its own files) what is already there, so a second run, or a run after a kill, resumes.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl

import consumers
from fpm.commands import history, jobs, training
from fpm.errors import UsageError
from fpm.exchange import simulate
from fpm.progress import bar
from fpm.sessions import cut_off
from fpm.store.ledger.stores import Stores, open_stores
from fpm.store.settings import Settings

TEST_SHARE = 0.27  # last part of the sessions, scored out of sample
SEED = 7
SHOWN_SYMBOLS = 5


@dataclass(frozen=True)
class Plan:
    """Size of the demonstration: symbols x sessions, the model preset, and whether the exchange has a signal."""

    symbols: int
    sessions: int
    preset: str
    signal: bool

    def config(self) -> simulate.ExchangeConfig:
        """The exchange of this plan."""
        base = simulate.PRESETS[self.preset]
        return replace(base, symbols=self.symbols, sessions=self.sessions, seed=SEED, signal=self.signal)


def run(plan: Plan, settings: Settings) -> dict[str, Any]:
    """Run the whole chain; the answers that `show` prints.

    Raises UsageError where the home already holds something else than this demonstration.
    """
    from fpm.store.retrieval import features

    started = time.monotonic()
    stores = open_stores(settings)
    _claim(plan, stores)
    features.apply(settings)
    raw = settings.home / "synthetic"
    with bar("synthetic exchange") as progress:
        simulate.write(plan.config(), raw, lambda done, total: progress(done, total, ""))
    first, last = _history(raw, stores)
    stores = open_stores(settings)  # the profile of the bars is known now
    history.backfill(history.stages(), (first, last), stores, bar)
    tested = stores.sessions("minute_features")[-round(TEST_SHARE * plan.sessions) :]
    training.walk_forward(stores, training.plan(stores, tested[0], last, None), bar)
    with bar("risk model") as progress:
        jobs.backfill("factor_returns", first, last, stores, progress)
    with bar("portfolios") as progress:
        jobs.backfill("portfolio", tested[0], last, stores, progress)
    for job in consumers.JOBS[consumers.JOBS.index("portfolio") + 1 :]:  # the rest of the night: its status is green
        jobs.run(job, last, stores)
    return {**_answers(stores, last), "seconds": round(time.monotonic() - started)}


def refuse_other_bars(paths: Sequence[Path], stores: Stores) -> None:
    """Keep other bars out of a home that holds the demonstration.

    Raises UsageError where the home does and a path is not of its own exchange.
    """
    own = (stores.settings.home / "synthetic").resolve()
    others = [path for path in paths if own not in (path.resolve(), *path.resolve().parents)]
    if others and "synthetic" in stores.ledger.deployment():
        raise UsageError(
            code="FPM-DEMO-002",
            wrong=f"{stores.settings.home} holds the demonstration's synthetic bars, {others[0]} is something else",
            effect="nothing was read",
            todo="set FPM_HOME to another folder for real bars",
        )


def _claim(plan: Plan, stores: Stores) -> None:
    """Note the plan in the ledger, which refuses another one: two exchanges would mix two histories."""
    has_bars = stores.sessions("minute_bars") or stores.sessions("daily_bars")
    if "synthetic" not in stores.ledger.deployment() and has_bars:
        raise UsageError(
            code="FPM-DEMO-001",
            wrong=f"{stores.settings.home} holds real bars",
            effect="nothing was done",
            todo="set FPM_HOME to another folder for the demonstration",
        )
    stores.ledger.decide("synthetic", json.dumps(asdict(plan), sort_keys=True))


def _history(raw: Path, stores: Stores) -> tuple[date, date]:
    """Ingest the exchange's files; its first and last session."""
    from producers import bars

    oracle = pl.read_parquet(raw / simulate.ORACLE, columns=["session"])
    first, last = oracle["session"].min(), oracle["session"].max()
    assert isinstance(first, date) and isinstance(last, date)
    arrival = cut_off(stores.market, last)
    with bar("ingest") as progress:
        bars.ingest([raw], bars.Arrival(known_at=arrival, now=arrival), stores, progress).require_content()
    return first, last


def _answers(stores: Stores, last: date) -> dict[str, Any]:
    """Write the report; RankIC by stream, and the published session as read through Feast and through SQL."""
    from consumers.questions import morning, report

    portfolios = morning.write(last, None, stores)  # first: the report links to the pages that are there
    page = report.write(stores)
    figures = report.evaluate(stores)
    return {
        "session": str(last),
        "preset": stores.settings.preset,
        "rank_ic": figures["rank_ic"],
        "sdk": _through_feast(stores, last),
        "sql": _through_sql(stores),
        "report": str(page),
        "morning": str(portfolios),
        "home": str(stores.settings.home),
    }


def _through_feast(stores: Stores, last: date) -> list[dict[str, Any]]:
    from fpm.store.retrieval import features

    symbols = stores.read("scores", last)["symbol"].unique().sort().head(SHOWN_SYMBOLS)
    keys = pl.DataFrame({"symbol": symbols}).with_columns(stream=pl.lit("dual"))
    return features.online(stores.settings, "scores", keys).select("symbol", "score", "spread").to_dicts()


def _through_sql(stores: Stores) -> list[dict[str, Any]]:
    from fpm.store.postgres.server import connect

    query = (
        "SELECT symbol, score, spread, session, published_at FROM serving.scores "
        f"WHERE stream = 'dual' ORDER BY symbol LIMIT {SHOWN_SYMBOLS}"
    )
    with connect(stores.settings, role="reader") as connection:
        cursor = connection.execute(query)
        names = [column.name for column in cursor.description or ()]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def show(answers: dict[str, Any], as_json: bool) -> None:
    """Print the answers, and what to type next."""
    import typer
    from rich.console import Console

    from fpm.commands.console import program
    from fpm.commands.tables import render

    if as_json:
        typer.echo(json.dumps(answers, default=str, indent=2))
        return
    console = Console(width=120)
    console.print(f"\n[bold]RankIC out of sample[/], synthetic exchange, preset {answers['preset']}")
    console.print(render(answers["rank_ic"]))
    console.print(f"\n[bold]scores of {answers['session']}, read through the Feast SDK[/]")
    console.print(render(answers["sdk"]))
    console.print("\n[bold]the same through SQL[/]: SELECT … FROM serving.scores WHERE stream = 'dual'")
    console.print(render(answers["sql"]))
    console.print(
        f"\nreport: {answers['report']}\nmorning: {answers['morning']}\n"
        f"state:  {answers['home']}\ntook:   {answers['seconds']} s"
    )
    fpm = program()
    console.print(
        f"\nnext: [bold]{fpm} status[/] · [bold]{fpm} evaluate[/] · "
        f"[bold]{fpm} export scores --out scores.parquet[/] · open {answers['report']}"
    )
