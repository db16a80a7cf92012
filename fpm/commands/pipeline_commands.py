"""The commands that fill a home: `setup`, `ingest`, jobs, models and nights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from fpm.commands.arguments import (
    AcceptUniverse,
    Bar,
    Born,
    CheckOnly,
    Json,
    Market,
    Preset,
    Prices,
    Rotate,
    Session,
    StampSide,
    StreamName,
    VintageName,
    VolumeUnit,
    moment,
    now,
    span,
)
from fpm.commands.console import home_settings, home_stores, show
from fpm.commands.model_arguments import EARLIEST, FirstTested, OutsideVintage, PlanOnly, Refit, Through
from fpm.errors import TryLater, UsageError
from fpm.sessions import parse_session

commands = typer.Typer()
train = typer.Typer(help="Train one model.", no_args_is_help=True)

LONG_BACKFILL = 500


@commands.command("setup")
def setup_command(
    market: Market = None,
    bar: Bar = None,
    preset: Preset = None,
    rotate: Rotate = False,
    plan_only: Annotated[bool, typer.Option("--plan", help="say what an upgrade would do, and do nothing")] = False,
    upgrade: Annotated[bool, typer.Option("--upgrade", help="migrate an older home, let its nights run")] = False,
    as_json: Json = False,
) -> None:
    """Start Postgres, migrate it, apply the feature definitions. Safe to repeat."""
    from getpass import getuser

    from fpm.commands.upgrade import plan, this_program
    from fpm.store.http.token import renew_token
    from fpm.store.ledger.programs import confirm, confirmed
    from fpm.store.ledger.stores import open_stores
    from fpm.store.postgres.readers import require_fence, statements
    from fpm.store.postgres.server import ensure_server, hold_fence, rotate_passwords
    from fpm.store.retrieval import features

    if plan_only:
        show(plan(home_settings(market, preset, bar)), as_json)
        return
    stores = open_stores(home_settings(market, preset, bar), upgrade=upgrade)
    if upgrade or confirmed(stores.ledger) is None:
        confirm(this_program(), getuser(), stores.ledger)
    for name, value in (("market", market or bar), ("preset", preset)):
        if value:
            stores.ledger.decide(name, getattr(stores.settings, name))
    if rotate:
        rotate_passwords(stores.settings)
        renew_token(stores.settings)
    applied = features.apply(stores.settings)
    gaps = hold_fence(stores.settings, ensure_server(stores.settings))
    if gaps and not as_json:
        typer.echo(statements(gaps))
    answer = {"home": str(stores.settings.home), "market": stores.market.name, "applied": applied}
    show(answer | ({"superuser": statements(gaps)} if gaps and as_json else {}), as_json)
    require_fence(gaps)


@commands.command("ingest")
def ingest_command(
    paths: Annotated[list[Path], typer.Argument(help="a folder of raw tables, or bar files (Parquet, CSV)")],
    market: Market = None,
    known_at: Annotated[str | None, typer.Option(help="from when the rows are known (default: now)")] = None,
    level2: Annotated[bool, typer.Option("--ticks", help="Level-2 trades and orders instead of minute bars")] = False,
    preset: Preset = None,
    volume_unit: VolumeUnit = None,
    prices: Prices = None,
    stamp_side: StampSide = None,
    stream: StreamName = None,
    vintage: VintageName = None,
    born: Born = None,
    accept_universe: AcceptUniverse = False,
    check: CheckOnly = False,
    as_json: Json = False,
) -> None:
    """Read raw tables in; a session already there with other values is a correction.

    What files cannot show can be said; the home remembers it. Exit 0: every file is in; 1: one was refused, or would be
    (--check), and the report names it; the others are in.
    """
    from getpass import getuser

    from fpm.commands.delivery import Request, check_delivery, ingest_delivery
    from fpm.ingest.score_files import require_stream_name
    from fpm.ingest.units import Stated
    from fpm.ingest.vector_files import require_vintage_name
    from producers.bars import Arrival
    from producers.shrinkage import Acceptance
    from producers.vectors import Statement

    start, stated = now(), Stated(stamp_side, volume_unit, prices)
    if stream is not None:
        require_stream_name(stream)
    if vintage is not None:
        require_vintage_name(vintage)
    moments = moment(known_at) if known_at else start, start
    by = getuser()
    acceptance = Acceptance(by, start) if accept_universe else None
    arrival = Arrival(*moments, stated, known_at_stated=known_at is not None, stream=stream, acceptance=acceptance)
    arrival = replace(arrival, of_vectors=Statement(vintage, parse_session(born) if born else None))
    request = Request(paths, arrival, by, level2, market, preset)
    if not check:
        report = ingest_delivery(request)
        show(report.to_dict(), as_json)
        report.require_content()
        report.require_whole()
        return
    answer = check_delivery(request)
    show(answer.to_dict() if as_json else answer.summary(), as_json)
    if not answer.whole:
        raise typer.Exit(1)


@commands.command("inbox")
def inbox_command(
    at_once: Annotated[bool, typer.Option("--now", help="all there is, without a second look")] = False,
    as_json: Json = False,
) -> None:
    """Look once into FPM_INBOX: ingest what is complete and move it to taken or refused, with a report.

    Complete: unchanged over two looks at least 10 s apart, or with a file NAME.done beside it (.done in a folder). A
    folder is one delivery. Exit 0: taken, or nothing there; 1: something was refused; 75: all of it waits.
    """
    from fpm.commands.console import delivery_stores
    from fpm.commands.inbox import exit_code, look
    from fpm.progress import bar

    with bar("inbox") as progress:
        rows = look(delivery_stores(), now(), progress, at_once=at_once)
    show(rows, as_json)
    raise typer.Exit(exit_code(rows))


@commands.command("run")
def run_command(
    job: Annotated[str, typer.Argument(help="see `fpm jobs`")], session: Session, as_json: Json = False
) -> None:
    """Run one job for one session."""
    from fpm.commands import history, jobs

    jobs.job(job)  # an unknown job is named before anything is opened
    day, stores = parse_session(session), home_stores()
    try:
        outcome = jobs.run(job, day, stores)
    except TryLater as later:
        raise history.waiting(later, [job], (day, day), stores) from None
    show({"job": job, "session": session, **outcome}, as_json)


@commands.command("backfill")
def backfill_command(
    job: Annotated[str, typer.Argument(help="see `fpm jobs`; all: every one of a night that needs no model")],
    first: Session,
    last: Session,
    yes: Annotated[bool, typer.Option("--yes", help=f"go on above {LONG_BACKFILL} sessions")] = False,
    as_json: Json = False,
) -> None:
    """Run one job for many sessions, or all in order, resuming where the ledger stopped."""
    from fpm.commands import history, jobs
    from fpm.progress import bar

    start, end = span(first, last)
    names = history.stages() if job == history.ALL else [job]
    jobs.job(names[0])  # an unknown job is named before anything is opened
    stores = home_stores()
    planned = len(history.visited(names, start, end, stores))
    if planned > LONG_BACKFILL and not yes:
        raise UsageError(
            code="FPM-CFG-067", wrong=f"{planned} sessions planned", effect="nothing was done", todo="repeat with --yes"
        )
    rows = history.backfill(names, (start, end), stores, bar)
    show(rows if job == history.ALL else rows[0], as_json)


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
    first: FirstTested,
    last: Session,
    refit: Refit = None,
    plan: PlanOnly = False,
    vintage: OutsideVintage = None,
    as_json: Json = False,
) -> None:
    """Features and labels that are missing, then vintages, fingerprints, scorers and out-of-sample scores by fold.

    --vintage: scorers and scores under vectors from outside, as streams NAME and NAME.dual beside ours.
    """
    from fpm.commands import history, training
    from fpm.progress import bar
    from fpm.store.retrieval import features

    start, end = (None, parse_session(last)) if first == EARLIEST else span(first, last)
    stores = home_stores()
    rules = stores.settings.folds
    if vintage is not None:
        encoded = training.require_vintage(vintage, start or end, stores)
        folds = training.plan(stores, start or training.earliest(encoded, rules), end, refit, encoded)
        if not plan:
            features.apply(stores.settings)
            history.backfill(history.OF_DAYS, (min(stores.sessions("daily_bars")), end), stores, bar)
            training.walk_forward_beside(vintage, stores, folds, bar)
        show([training.describe(fold) for fold in folds], as_json)
        return
    sessions = history.with_features(stores)
    if not sessions:
        raise history.nothing_computed(history.stages(), (start or end, end), stores)
    start = start or training.earliest(sessions, rules)
    folds = training.plan(stores, start, end, refit, sessions)  # a history too short is named before hours of work
    if not plan:
        features.apply(stores.settings)  # the scorer's frames need them, at the end of hours
        history.complete(end, stores, bar)
        folds = training.plan(stores, start, end, refit)
        training.walk_forward(stores, folds, bar)
    show([training.describe(fold) for fold in folds], as_json)


@commands.command("nightly")
def nightly_command(
    session: Annotated[str | None, typer.Option(help="default: every session that is due")] = None,
    as_json: Json = False,
) -> None:
    """One whole night: every job of one session, in order, then publication and parity.

    Without a session: every night that is due. Exit 1 where a night is red (failed, unfinished after its hours, or no
    bars at the cut-off), 75 where one still waits.
    """
    from fpm.commands import agenda, alerts, lineage
    from fpm.commands.night import nightly, require_session

    stores = home_stores()
    if session:
        day = parse_session(session)
        require_session(day, stores)
        try:
            rows = nightly(day, stores)
        finally:
            alerts.watch_session(day, stores, now())
            lineage.watch(stores)
        show(rows, as_json)
        return
    rows, rest = agenda.run_due(stores, now())
    alerts.watch(rest, stores, now())
    lineage.watch(stores)
    show(rows, as_json)
    if error := agenda.refusal(rest):
        raise error


@commands.command("intraday")
def intraday_command(
    session: Session,
    at: Annotated[str, typer.Option("--at", help="end of a bar on the exchange's clock, e.g. 14:30")],
    paths: Annotated[list[Path] | None, typer.Argument(help="bars so far; none: those that are stored")] = None,
    as_json: Json = False,
) -> None:
    """Score the session that still trades, as it is at a minute, and publish it in serving.intraday_scores.

    The bars are no delivery of the session: its night needs all of them by `fpm ingest`, and stays the same.
    """
    from fpm.commands.intraday import intraday

    day, stores = parse_session(session), home_stores()
    show(intraday(day, at, paths or [], now(), stores), as_json)


@commands.command("absent")
def absent_command(
    session: Session,
    reason: Annotated[str, typer.Option(help="why, for the record")],
    by: Annotated[str | None, typer.Option(help="who says so; default: the login")] = None,
    as_json: Json = False,
) -> None:
    """Declare that nobody will ever deliver a session's bars: what waits for them goes on without."""
    from getpass import getuser

    from fpm.commands.agenda import declare_absent

    show(declare_absent(parse_session(session), reason, by or getuser(), home_stores()), as_json)


@commands.command("accept")
def accept_command(
    session: Session,
    reason: Annotated[str, typer.Option(help="why, for the record")],
    by: Annotated[str | None, typer.Option(help="who says so; default: the login")] = None,
    as_json: Json = False,
) -> None:
    """Take a session's bars for all that will ever come, although a part of it is missing: its night runs."""
    from getpass import getuser

    from fpm.commands.agenda import accept_session

    show(accept_session(parse_session(session), reason, by or getuser(), home_stores()), as_json)


@commands.command("schedule")
def schedule_command(
    every: Annotated[int, typer.Option(min=1, help="minutes between two looks at the ledger")] = 5,
) -> None:
    """The clock: take what is complete in FPM_INBOX and run whatever the ledger says is due, until interrupted.

    Of several, one is at work. SIGTERM (exit 0) and Ctrl-C (130) end it after the running job, a second one at once.
    """
    from fpm.commands.console import delivery_stores
    from fpm.commands.schedule import serve

    code = serve((home_stores if home_settings().inbox is None else delivery_stores)(), now, every)
    raise typer.Exit(code)
