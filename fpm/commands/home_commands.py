"""The commands about a home itself: what ran in it, the synthetic exchange, connections and servers."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fpm.commands.arguments import Json, Role, UrlOnly, journal_head, now, require_all, span
from fpm.commands.console import home_settings, home_stores, show, show_lines
from fpm.errors import UsageError
from fpm.sessions import parse_session

if TYPE_CHECKING:
    from fpm.store.settings import Settings

commands = typer.Typer()


@commands.command("status")
def status_command(session: Annotated[str | None, typer.Argument()] = None, as_json: Json = False) -> None:
    """What is open, served, expected next, what to type; each index's newest decision. Exit 1 where a night is red.

    Of a session: its jobs and decisions.
    """
    from fpm.commands.night import require_session
    from fpm.commands.status import compact, of_session, screen

    stores = home_stores()
    if session is None:
        answer, is_red = screen(stores, now())
    else:
        require_session(parse_session(session), stores)
        answer, is_red = of_session(parse_session(session), stores), False
    show(answer if as_json else compact(answer), as_json)
    raise typer.Exit(int(is_red))


@commands.command("metrics")
def metrics_command(as_json: Json = False) -> None:
    """The home's figures as Prometheus text, as /metrics of `fpm serve` gives them."""
    from fpm.store.online.metrics import QUERY, exposition

    rows = home_stores().ledger.query(QUERY)
    if as_json:
        show([{"name": name, "labels": labels, "value": value} for name, labels, value in rows], as_json)
    else:
        typer.echo(exposition(rows).decode(), nl=False)


@commands.command("alerts")
def alerts_command(
    test: Annotated[bool, typer.Option("--test", help="send a trial message through every channel")] = False,
    as_json: Json = False,
) -> None:
    """The newest alerts and whether they were delivered; exit 1 where a trial message was not.

    Publications that the webhook did not take come first.
    """
    from fpm.commands.alerts import trial
    from fpm.store.ledger.alerts import recent
    from fpm.store.online.webhook import undelivered

    stores = home_stores()
    rows = trial(stores, now().date()) if test else [*undelivered(stores.ledger), *recent(stores.ledger)]
    show(rows, as_json)
    raise typer.Exit(int(test and not all(row["delivered"] for row in rows)))


@commands.command("lineage")
def lineage_command(as_json: Json = False) -> None:
    """Send finished attempts to FPM_LINEAGE as OpenLineage events, as every night does; those sent before are not."""
    from fpm.commands.lineage import send

    show({"attempts": send(home_stores())}, as_json)


@commands.command("verify")
def verify_command(
    table: Annotated[str | None, typer.Argument(help="default: all, and the models")] = None,
    first: Annotated[str | None, typer.Argument()] = None,
    last: Annotated[str | None, typer.Argument()] = None,
    head: Annotated[
        str | None, typer.Option(help="of the journal, as an earlier verify or backup named it: must be in the chain")
    ] = None,
    as_json: Json = False,
) -> None:
    """Hash lake, models and the ledger's journal again, compare online rows with the lake; exit 1 if one is wrong.

    Every fault comes with what to run. FIRST alone is one session. Copied or restored files that are right are read
    faster afterwards.
    """
    from consumers.questions.integrity import integrity
    from fpm.progress import bar

    sessions, known = span(first, last or first) if first else None, journal_head(head)
    stores = home_stores()
    with bar("verify") as progress:
        answer = integrity(table, sessions, stores, progress, known)
    show(answer.to_dict(), as_json)
    if not answer.sound:
        raise typer.Exit(1)


@commands.command("backup")
def backup_command(
    folder: Annotated[Path, typer.Argument(help="a folder that does not exist yet, or an unfinished backup's")],
    as_json: Json = False,
) -> None:
    """Copy home and database as of one moment, while nights may run, and hash every copy again."""
    from fpm.progress import bar
    from fpm.store.backups.backup import back_up
    from fpm.store.postgres.server import ensure_server

    settings = home_stores().settings
    with bar("backup") as progress:
        whole = back_up(settings, ensure_server(settings), folder.absolute(), progress)
    show({"backup": str(folder), **whole.summary()}, as_json)


@commands.command("retention")
def retention_command(
    apply: Annotated[bool, typer.Option("--apply", help="remove what nothing needs; cannot be undone")] = False,
    reason: Annotated[str | None, typer.Option(help="of --apply, for the record")] = None,
    by: Annotated[str | None, typer.Option(help="who says so; default: the login")] = None,
    as_json: Json = False,
) -> None:
    """What FPM_RETENTION would remove of the tables of minutes, and who still needs it; exit 1 where somebody does.

    With --apply it goes, as a row of the ledger with its person; a killed removal is finished by the next.
    """
    from getpass import getuser

    from fpm.commands import retention
    from fpm.progress import bar

    words = require_all(reason) if apply else None
    stores = home_stores()
    excesses = retention.plan(stores, now())
    answer = retention.rows(excesses, stores)
    if words:
        with bar("retention") as progress:
            gone = retention.apply(excesses, retention.Decision(words[0], by or getuser()), stores, progress)
        show({"removed files": gone, "tables": answer}, as_json)
    else:
        show(answer, as_json)
    if error := retention.refusal(excesses):
        raise error


@commands.command("restore")
def restore_command(
    folder: Annotated[Path, typer.Argument(help="a folder that `fpm backup` finished")],
    check: Annotated[bool, typer.Option("--check", help="hash the backup and restore nothing")] = False,
    as_json: Json = False,
) -> None:
    """Make the home FPM_HOME, which must not exist yet, and its database from a backup."""
    from fpm.progress import bar
    from fpm.store.backups.restore import checked, restore
    from fpm.store.ledger.stores import open_stores
    from fpm.store.retrieval import features

    settings = home_settings()
    with bar("restore") as progress:
        whole = checked(folder, progress) if check else restore(folder, settings, progress)
    if not check:
        features.apply(open_stores(settings).settings)
    show({"checked" if check else "home": str(folder if check else settings.home), **whole.summary()}, as_json)


@commands.command("jobs")
def jobs_command(as_json: Json = False) -> None:
    """The jobs, in nightly order, with what they read and write."""
    home_settings()  # a misspelt setting is named here, too
    table = resources.files("fpm.commands") / "jobs.json"  # by docs/generate.py; the jobs themselves import torch
    show(json.loads(table.read_text(encoding="utf-8")), as_json)


@commands.command("demo")
def demo_command(
    symbols: Annotated[int, typer.Option(min=8)] = 120,
    sessions: Annotated[int, typer.Option(min=40)] = 150,
    preset: Annotated[str, typer.Option(help="size of the models")] = "demo",
    signal: Annotated[bool, typer.Option(help="--no-signal: an exchange with nothing to find")] = True,
    as_json: Json = False,
) -> None:
    """The whole chain on a synthetic exchange; a second run resumes and does nothing twice."""
    from fpm.commands import demo

    plan = demo.Plan(symbols, sessions, preset, signal)
    demo.show(demo.run(plan, home_settings("cn", preset)), as_json)


@commands.command("simulate")
def simulate_command(
    out: Annotated[Path, typer.Argument(help="folder to write")],
    symbols: Annotated[int, typer.Option(min=1)] = 120,
    sessions: Annotated[int, typer.Option(min=1)] = 150,
    seed: int = 7,
    signal: Annotated[bool, typer.Option(help="--no-signal: an exchange with nothing to find")] = True,
    ticks: Annotated[bool, typer.Option("--ticks", help="Level-2 trades and orders, too; large")] = False,
    defects: Annotated[float, typer.Option(min=0.0, max=1.0, help="how often a feed does each thing wrong")] = 0.0,
    daily: Annotated[
        bool, typer.Option("--daily", help="daily tables and scores alone, with dividends: years")
    ] = False,
    first: Annotated[str, typer.Option(help="the first session, or a day before it")] = "2024-01-02",
    styles: Annotated[
        int | None, typer.Option(min=0, help="seed of a lottery of intraday styles, in the place of the planted ones")
    ] = None,
    as_json: Json = False,
) -> None:
    """The synthetic exchange alone: raw files as a vendor would deliver them."""
    from fpm.exchange.defects import all_defects
    from fpm.exchange.simulate import YEARS, ExchangeConfig, write
    from fpm.progress import bar

    config = ExchangeConfig(symbols, sessions, parse_session(first), seed, signal, ticks=ticks, styles=styles)
    config = replace(config, defects=all_defects(defects), daily=daily)
    if daily:
        config = replace(config, events=YEARS, spoiled_every=0)
    with bar("simulate") as progress:
        write(config, out, lambda done, total: progress(done, total, ""))
    show({"out": str(out), "symbols": symbols, "sessions": sessions}, as_json)


@commands.command("connection")
def connection_command(
    role: Role = "reader",
    reader: Annotated[str | None, typer.Option(help="a consumer of `fpm reader list`, instead of a role")] = None,
    url: UrlOnly = False,
    feast: Annotated[
        bool, typer.Option("--feast", help="what Feast's own FeatureStore and the `feast` command need, for eval")
    ] = False,
    as_json: Json = False,
) -> None:
    """How psql, pandas and other clients connect to the database; never a password, and no line is wrapped."""
    from fpm.store.postgres.identity import require_pair
    from fpm.store.postgres.server import consumer_directions, directions, ensure_server

    settings = home_settings()
    require_pair(settings, ensure_server(settings))
    if feast:
        show_feast(settings, role, as_json)
        return
    answer = directions(settings, role) if reader is None else consumer_directions(settings, reader)
    if url:
        typer.echo(answer["url"])
    else:
        show_lines(answer, as_json)


def show_feast(settings: Settings, role: str, as_json: bool) -> None:
    """Print Feast's variables as the shell reads them, or as one document. Raises UsageError for the owner."""
    import shlex

    from fpm.store.retrieval.configuration import feast_file, variables

    if role == "owner":
        raise UsageError(
            code="FPM-CFG-087",
            wrong="Feast's entry is for a reader or a producer: who writes the registry, writes code that it runs",
            effect="nothing was done",
            todo="say --role reader or --role producer; `fpm setup` applies definitions",
        )
    answer = variables(settings, "producer" if role == "producer" else "reader")
    answer |= {"FEAST_FS_YAML_FILE_PATH": feast_file()}
    if as_json:
        show(answer, as_json)
    else:
        typer.echo("\n".join(f"export {name}={shlex.quote(value)}" for name, value in answer.items()))


@commands.command("serve")
def serve_command(
    host: Annotated[str, typer.Option(help="loopback, unless --insecure-bind")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any free one")] = 6566,
    insecure: Annotated[bool, typer.Option("--insecure-bind", help="other machines may connect, unencrypted")] = False,
    as_json: Json = False,
) -> None:
    """Feast's feature server, reading only, behind a token; until interrupted."""
    from fpm.store.http.server import serve

    serve(home_stores().settings, host, port, insecure, lambda address: show_lines(address, as_json))


@commands.command("page")
def page_command(
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any free one")] = 8470,
    browser: Annotated[bool, typer.Option("--open", help="open it in the browser")] = False,
) -> None:
    """The home as a page that one keeps open, on this machine alone and only reading; until interrupted.

    The link that it prints works once; then it prints another, for another browser.
    """
    from tempfile import TemporaryDirectory

    from fpm.commands.page import Page, announcer
    from fpm.store.http.page_server import serve_page
    from fpm.store.ledger.stores import open_for_reading

    settings = home_settings()
    with TemporaryDirectory(prefix="fpm-page-") as scratch:
        page = Page(open_for_reading(settings), now, Path(scratch))
        page.keep_ready()
        serve_page(settings, page.answer, port, announcer(browser=browser))
    typer.echo("page stopped")


@commands.command("stop")
def stop_command(as_json: Json = False) -> None:
    """Stop the embedded Postgres of this home, if one runs."""
    from fpm.store.postgres.server import stop_server

    show({"stopped": stop_server(home_settings())}, as_json)
