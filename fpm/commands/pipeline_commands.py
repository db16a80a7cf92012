"""The commands that fill a home: `setup`, `ingest`, jobs, models and nights."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fpm.commands.arguments import Json, Market, Preset, Rotate, Session, moment, now, span
from fpm.commands.console import home_settings, home_stores, show
from fpm.commands.model_arguments import PlanOnly, Refit, Through
from fpm.errors import UsageError
from fpm.sessions import parse_session

commands = typer.Typer()
train = typer.Typer(help="Train one model.", no_args_is_help=True)

LONG_BACKFILL = 500


@commands.command("setup")
def setup_command(market: Market = None, preset: Preset = None, rotate: Rotate = False, as_json: Json = False) -> None:
    """Start Postgres, migrate it, apply the feature definitions. Safe to repeat."""
    from fpm.store.http.token import renew_token
    from fpm.store.ledger.stores import open_stores
    from fpm.store.postgres.server import renew_passwords
    from fpm.store.retrieval import features

    stores = open_stores(home_settings(market, preset))
    for name, value in (("market", market), ("preset", preset)):
        if value:
            stores.ledger.decide(name, value)
    renew_passwords(stores.settings, rotate=rotate)
    if rotate:
        renew_token(stores.settings)
    applied = features.apply(stores.settings)
    show({"home": str(stores.settings.home), "market": stores.market.name, "applied": applied}, as_json)


@commands.command("ingest")
def ingest_command(
    paths: Annotated[list[Path], typer.Argument(help="a folder of raw tables, or bar files (Parquet, CSV)")],
    market: Annotated[str, typer.Option(help="cn, cn15, us, nse or crypto")],
    known_at: Annotated[str | None, typer.Option(help="when a correction arrived (default: now)")] = None,
    level2: Annotated[bool, typer.Option("--ticks", help="Level-2 trades and orders instead of minute bars")] = False,
    preset: Preset = None,
    as_json: Json = False,
) -> None:
    """Read raw tables in; a session already there with other values is a correction."""
    from fpm.commands.demo import refuse_other_bars
    from fpm.progress import bar
    from producers import bars, ticks

    start, stores = now(), home_stores(market, preset)
    arrival = bars.Arrival(known_at=moment(known_at) if known_at else start, now=start)
    refuse_other_bars(paths, stores)
    with bar("ingest") as progress:
        report = (ticks if level2 else bars).ingest(paths, arrival, stores, progress)
    show(report.to_dict(), as_json)


@commands.command("run")
def run_command(
    job: Annotated[str, typer.Argument(help="see `fpm jobs`")], session: Session, as_json: Json = False
) -> None:
    """Run one job for one session."""
    from fpm.commands import jobs

    jobs.job(job)  # an unknown job is named before anything is opened
    outcome = jobs.run(job, parse_session(session), home_stores())
    show({"job": job, "session": session, **outcome}, as_json)


@commands.command("backfill")
def backfill_command(
    job: Annotated[str, typer.Argument(help="see `fpm jobs`")],
    first: Session,
    last: Session,
    yes: Annotated[bool, typer.Option("--yes", help=f"go on above {LONG_BACKFILL} sessions")] = False,
    as_json: Json = False,
) -> None:
    """Run one job for many sessions, resuming where the ledger stopped."""
    from fpm.commands import jobs
    from fpm.progress import bar

    start, end = span(first, last)
    jobs.job(job)  # an unknown job is named before anything is opened
    stores = home_stores()
    planned = len(jobs.sessions_with_bars(stores, start, end))
    if planned > LONG_BACKFILL and not yes:
        raise UsageError(
            code="FPM-CFG-067", wrong=f"{planned} sessions planned", effect="nothing was done", todo="repeat with --yes"
        )
    with bar(job) as progress:
        counts = jobs.backfill(job, start, end, stores, progress) if planned else {}
    show({"job": job, "planned": planned, **counts}, as_json)


@train.command("encoder")
def train_encoder_command(through: Through, as_json: Json = False) -> None:
    """Pre-train one encoder vintage."""
    from fpm.progress import bar
    from producers import encoder

    session, stores = parse_session(through), home_stores()
    with bar("encoder") as progress:
        vintage = encoder.train(session, stores, progress)
    show({"vintage": vintage, "through": through}, as_json)


@train.command("scorer")
def train_scorer_command(through: Through, as_json: Json = False) -> None:
    """Train one scorer on the vintage in force."""
    from fpm.commands.training import train_scorer
    from fpm.progress import bar

    session, stores = parse_session(through), home_stores()
    with bar("scorer") as progress:
        model = train_scorer(session, stores, progress)
    show({"model": model, "through": through}, as_json)


@commands.command("walk-forward")
def walk_forward_command(
    first: Session, last: Session, refit: Refit = None, plan: PlanOnly = False, as_json: Json = False
) -> None:
    """Vintages, fingerprints, scorers and out-of-sample scores, fold by fold."""
    from fpm.commands import training
    from fpm.progress import bar

    start, end = span(first, last)
    stores = home_stores()
    folds = training.plan(stores, start, end, refit)
    if not plan:
        training.walk_forward(stores, folds, bar)
    show([training.describe(fold) for fold in folds], as_json)


@commands.command("nightly")
def nightly_command(
    session: Annotated[str | None, typer.Option(help="default: every session that is due")] = None,
    as_json: Json = False,
) -> None:
    """One whole night: every job of one session, in order, then publication and parity."""
    from fpm.commands.night import nightly
    from fpm.commands.schedule import due_sessions

    stores = home_stores()
    sessions = [parse_session(session)] if session else due_sessions(stores, now())
    show([row for due in sessions for row in nightly(due, stores)], as_json)


@commands.command("schedule")
def schedule_command(
    every: Annotated[int, typer.Option(min=1, help="minutes between two looks at the ledger")] = 5,
) -> None:
    """The clock: run whatever the ledger says is due, until interrupted."""
    from fpm.commands.schedule import serve

    serve(home_stores(), now, every)
