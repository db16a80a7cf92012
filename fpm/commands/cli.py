"""The command line. Names and outputs are a contract: other programs drive them.

Exit codes: 0 done, 1 refused or failed, 2 wrong usage, 75 try later, 130 interrupted (run it again to resume).
Commands parse, call one function and show its answer; heavy imports stay inside, so that `--help` is instant.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from fpm.commands import report_commands
from fpm.commands.arguments import Json, KnownAt, Market, Preset, Role, Rotate, Session, UrlOnly, moment, now, span
from fpm.commands.console import settings as _settings
from fpm.commands.console import show as _show
from fpm.commands.console import stores as _stores
from fpm.commands.model_arguments import PageFile, PlanOnly, Refit, Symbol, Through, Vintage
from fpm.errors import FpmError, UsageError
from fpm.sessions import parse_session

app = typer.Typer(
    help="Minute bars to a trustworthy daily factor.", no_args_is_help=True, pretty_exceptions_enable=False
)
train = typer.Typer(help="Train one model.", no_args_is_help=True)
app.add_typer(train, name="train")

INTERRUPTED = 130
LONG_BACKFILL = 500


def main() -> None:
    """Run a command; turn our errors into one line and an exit code."""
    try:
        app(standalone_mode=True)
    except FpmError as error:
        typer.echo(str(error), err=True)
        sys.exit(error.exit_code)
    except SystemExit as leaving:
        if leaving.code == INTERRUPTED:
            typer.echo("interrupted - nothing half-written is visible - run the same command again to resume", err=True)
        raise


@app.command()
def setup(market: Market = None, preset: Preset = None, rotate: Rotate = False, as_json: Json = False) -> None:
    """Start Postgres, migrate it, apply the feature definitions. Safe to repeat."""
    from fpm.store.http.token import renew_token
    from fpm.store.ledger.stores import open_stores
    from fpm.store.postgres.server import renew_passwords
    from fpm.store.retrieval import features

    settings = _settings(market, preset)
    stores = open_stores(settings)
    for name, value in (("market", market), ("preset", preset)):
        if value:
            stores.ledger.decide(name, value)
    renew_passwords(stores.settings, all_of_them=rotate)
    if rotate:
        renew_token(stores.settings)
    applied = features.apply(stores.settings)
    _show({"home": str(stores.settings.home), "market": stores.market.name, "applied": applied}, as_json)


@app.command()
def ingest(
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

    arrived, stores = now(), _stores(market, preset)
    arrival = bars.Arrival(known_at=moment(known_at) if known_at else arrived, now=arrived)
    refuse_other_bars(paths, stores)
    with bar("ingest") as progress:
        report = (ticks if level2 else bars).ingest(paths, arrival, stores, progress)
    _show(report.to_dict(), as_json)


@app.command()
def run(job: Annotated[str, typer.Argument(help="see `fpm jobs`")], session: Session, as_json: Json = False) -> None:
    """Run one job for one session."""
    from fpm.commands import schedule

    module = schedule.job(job)
    outcome = schedule.run(module, parse_session(session), _stores())
    _show({"job": job, "session": session, **outcome}, as_json)


@app.command()
def backfill(
    job: Annotated[str, typer.Argument(help="see `fpm jobs`")],
    first: Session,
    last: Session,
    yes: Annotated[bool, typer.Option("--yes", help=f"go on above {LONG_BACKFILL} sessions")] = False,
    as_json: Json = False,
) -> None:
    """Run one job for many sessions, resuming where the ledger stopped."""
    from fpm.commands import schedule
    from fpm.progress import bar

    start, end = span(first, last)
    module, stores = schedule.job(job), _stores()
    planned = len(schedule.with_bars(stores, start, end))
    if planned > LONG_BACKFILL and not yes:
        raise UsageError(
            code="FPM-CFG-067", wrong=f"{planned} sessions planned", effect="nothing was done", todo="repeat with --yes"
        )
    with bar(job) as progress:
        counts = schedule.backfill(module, start, end, stores, progress) if planned else {}
    _show({"job": job, "planned": planned, **counts}, as_json)


@train.command("encoder")
def train_encoder(through: Through, as_json: Json = False) -> None:
    """Pre-train one encoder vintage."""
    from fpm.progress import bar
    from producers import encoder

    session, stores = parse_session(through), _stores()
    with bar("encoder") as progress:
        vintage = encoder.train(session, stores, progress)
    _show({"vintage": vintage, "through": through}, as_json)


@train.command("scorer")
def train_scorer(through: Through, as_json: Json = False) -> None:
    """Train one scorer on the vintage in force."""
    from fpm.commands import schedule
    from fpm.progress import bar

    session, stores = parse_session(through), _stores()
    with bar("scorer") as progress:
        model = schedule.train_scorer(session, stores, progress)
    _show({"model": model, "through": through}, as_json)


@app.command("walk-forward")
def walk_forward(
    first: Session, last: Session, refit: Refit = None, plan: PlanOnly = False, as_json: Json = False
) -> None:
    """Vintages, fingerprints, scorers and out-of-sample scores, fold by fold."""
    from fpm.commands import schedule
    from fpm.progress import bar

    start, end = span(first, last)
    stores = _stores()
    folds = schedule.plan(stores, start, end, refit)
    if not plan:
        schedule.walk_forward(stores, folds, bar)
    _show([schedule.describe(fold) for fold in folds], as_json)


@app.command()
def nightly(
    session: Annotated[str | None, typer.Option(help="default: every session that is due")] = None,
    as_json: Json = False,
) -> None:
    """One whole night: every job of one session, in order, then publication and parity."""
    from fpm.commands import schedule

    stores = _stores()
    due = [parse_session(session)] if session else schedule.due(stores, now())
    _show([row for day in due for row in schedule.nightly(day, stores)], as_json)


@app.command()
def schedule(
    every: Annotated[int, typer.Option(min=1, help="minutes between two looks at the ledger")] = 5,
) -> None:
    """The clock: run whatever the ledger says is due, until interrupted."""
    from fpm.commands import schedule as clock

    clock.serve(_stores(), now, every)


@app.command()
def enhance(
    index: Annotated[str, typer.Argument(help="CSI300, CSI500, CSI1000, another ingested index, or ALL")],
    first: Session,
    last: Session,
    as_json: Json = False,
) -> None:
    """Weights by session for one index, and the six figures of the report's table."""
    from consumers import portfolio
    from fpm.progress import bar

    start, end = span(first, last)
    with bar(f"enhance {index}") as progress:
        figures = portfolio.enhance(index, start, end, _stores(), progress)
    _show(figures, as_json)


@app.command()
def frame(
    name: Annotated[str, typer.Argument(metavar="SERVICE_OR_VIEW")],
    entities: Annotated[Path, typer.Option(help="Parquet or CSV: symbol, event_timestamp, perhaps vintage")],
    out: Annotated[Path, typer.Option(help="Parquet file to write")],
    known_at: Annotated[str | None, typer.Option(help="second clock; default: each row's event_timestamp")] = None,
    as_json: Json = False,
) -> None:
    """A point-in-time frame through Feast, written in blocks, in the order of the entities."""
    from fpm.progress import bar
    from fpm.store.retrieval import exports

    with bar(f"frame {name}") as progress:
        rows = exports.frame(name, entities, moment(known_at) if known_at else None, out, _stores(), progress)
    _show({"rows": rows, "out": str(out)}, as_json)


@app.command()
def export(
    table: Annotated[str, typer.Argument(help="any table of the lake")],
    first: Annotated[str | None, typer.Argument()] = None,
    last: Annotated[str | None, typer.Argument()] = None,
    out: Annotated[Path, typer.Option(help="Parquet file to write")] = Path("export.parquet"),
    as_json: Json = False,
) -> None:
    """Any table as Parquet, the latest version of every row."""
    from fpm.store.retrieval import exports

    chosen = span(first, last or first) if first else None
    rows = exports.table(table, chosen, out, _stores())
    _show({"table": table, "rows": rows, "out": str(out)}, as_json)


@app.command()
def replay(session: Session, known_at: KnownAt = None, as_json: Json = False) -> None:
    """That night's scores again from the store as known then; exit 1 where a bit differs from the stored ones."""
    from consumers.questions import replay as night

    day, moment_known = parse_session(session), moment(known_at) if known_at else None
    answer = night.replay(day, moment_known, _stores())
    _show(answer.to_dict(), as_json)
    if not answer.equal:
        raise typer.Exit(1)


@app.command()
def diff(
    before: Annotated[str, typer.Argument(metavar="K1", help="a moment, e.g. 2026-01-05T20:00+08:00")],
    after: Annotated[str, typer.Argument(metavar="K2", help="a later one")],
    session: Annotated[str | None, typer.Argument(help="default: all")] = None,
    as_json: Json = False,
) -> None:
    """What changed between two moments of knowledge: rows by table and session, and the scores that moved."""
    from consumers.questions import diff as differences

    first, second, day = moment(before), moment(after), parse_session(session) if session else None
    _show(differences.diff(first, second, day, _stores()).to_dict(), as_json)


@app.command()
def similar(
    symbol: Symbol,
    session: Session,
    before: KnownAt = None,
    k: Annotated[int, typer.Option(help="how many stock-days")] = 20,
    vintage: Annotated[str | None, typer.Option(help="needed where the query has fingerprints of several")] = None,
    latest: Annotated[bool, typer.Option("--latest", help="among the published session, online")] = False,
    as_json: Json = False,
) -> None:
    """The stock-days most like one, as known then, and what happened next beside matched random ones."""
    from consumers.questions import similar as found

    question = found.Question(symbol, parse_session(session), moment(before) if before else None, k, vintage)
    _show((found.similar_online if latest else found.similar)(question, _stores()).to_dict(), as_json)


@app.command()
def explain(
    symbol: Symbol, session: Session, vintage: Vintage = None, out: PageFile = None, as_json: Json = False
) -> None:
    """What the encoder saw in one session: its fingerprint by half-hour and family, and in words; a page."""
    from consumers.questions import explain as seen

    seen.require_page(out)
    stores = _stores()
    found = seen.explain(symbol, parse_session(session), vintage, stores)
    _show({**(found.to_dict() if as_json else found.short()), "page": str(seen.write(found, out, stores))}, as_json)


report_commands.add_to(app)


@app.command()
def status(session: Annotated[str | None, typer.Argument()] = None, as_json: Json = False) -> None:
    """What ran and what is red."""
    from fpm.commands import schedule

    _show(schedule.status(_stores(), parse_session(session) if session else None), as_json)


@app.command()
def jobs(as_json: Json = False) -> None:
    """The jobs, in nightly order, with what they read and write."""
    from fpm.commands import schedule

    _settings()  # a misspelt setting is named here, too
    _show(schedule.describe_jobs(), as_json)


@app.command()
def demo(
    symbols: Annotated[int, typer.Option(min=8)] = 120,
    sessions: Annotated[int, typer.Option(min=40)] = 150,
    preset: Annotated[str, typer.Option(help="size of the models")] = "demo",
    signal: Annotated[bool, typer.Option(help="--no-signal: an exchange with nothing to find")] = True,
    as_json: Json = False,
) -> None:
    """The whole chain on a synthetic exchange; a second run resumes and does nothing twice."""
    from fpm.commands import demo as whole_chain

    plan = whole_chain.Plan(symbols, sessions, preset, signal)
    whole_chain.show(whole_chain.run(plan, _settings("cn", preset)), as_json)


@app.command()
def simulate(
    out: Annotated[Path, typer.Argument(help="folder to write")],
    symbols: Annotated[int, typer.Option(min=1)] = 120,
    sessions: Annotated[int, typer.Option(min=1)] = 150,
    seed: int = 7,
    signal: Annotated[bool, typer.Option(help="--no-signal: an exchange with nothing to find")] = True,
    ticks: Annotated[bool, typer.Option("--ticks", help="Level-2 trades and orders, too; large")] = False,
    defects: Annotated[float, typer.Option(min=0.0, max=1.0, help="how often a feed does each thing wrong")] = 0.0,
    as_json: Json = False,
) -> None:
    """The synthetic exchange alone: raw files as a vendor would deliver them."""
    from fpm.exchange.defects import all_defects
    from fpm.exchange.simulate import ExchangeConfig, write
    from fpm.progress import bar

    config = ExchangeConfig(
        symbols=symbols, sessions=sessions, seed=seed, signal=signal, ticks=ticks, defects=all_defects(defects)
    )
    with bar("simulate") as progress:
        write(config, out, lambda done, total: progress(done, total, ""))
    _show({"out": str(out), "symbols": symbols, "sessions": sessions}, as_json)


@app.command()
def connection(role: Role = "reader", url: UrlOnly = False, as_json: Json = False) -> None:
    """How psql, pandas and other clients connect to the database; never a password."""
    from fpm.store.postgres.server import directions

    answer = directions(_settings(), role)
    typer.echo(answer["url"]) if url else _show(answer, as_json)


@app.command()
def serve(
    host: Annotated[str, typer.Option(help="loopback, unless --insecure-bind")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any free one")] = 6566,
    insecure: Annotated[bool, typer.Option("--insecure-bind", help="other machines may connect, unencrypted")] = False,
    as_json: Json = False,
) -> None:
    """Feast's feature server, reading only, behind a token; until interrupted."""
    from fpm.store.http import server as feature_server

    feature_server.serve(_stores().settings, host, port, insecure, lambda where: _show(where, as_json))


@app.command()
def stop(as_json: Json = False) -> None:
    """Stop the embedded Postgres of this home, if one runs."""
    from fpm.store.postgres.server import stop_server

    _show({"stopped": stop_server(_settings())}, as_json)


if __name__ == "__main__":
    main()
