"""The commands about consumers: each has a login of its own, with limits, and is let in and put out by name."""

from __future__ import annotations

from typing import Annotated

import typer

from fpm.commands.arguments import Json
from fpm.commands.console import home_stores, show, show_lines

readers = typer.Typer(
    help="Consumers with a login of their own: let one in, list them, put one out.", no_args_is_help=True
)
Name = Annotated[str, typer.Argument(help="a consumer, e.g. risk_desk: a-z, 0-9 and _")]


@readers.command("add")
def add_command(
    name: Name,
    connections: Annotated[int, typer.Option(help="at once")] = 5,
    statement: Annotated[str, typer.Option(help="the longest statement")] = "60s",
    temp_file: Annotated[str, typer.Option("--temp-file", help="temporary files of one session")] = "1GB",
    work_mem: Annotated[str, typer.Option("--work-mem", help="memory of one sort or hash")] = "16MB",
    by: Annotated[str | None, typer.Option(help="who says so; default: the login")] = None,
    as_json: Json = False,
) -> None:
    """Let a consumer in, with a login that reads schema serving and nothing else; the journal says who did it.

    Prints how it connects. The password is in the file that is named, and nowhere else.
    """
    from getpass import getuser

    from fpm.store.postgres.fence import Limits
    from fpm.store.postgres.readers import add
    from fpm.store.postgres.server import consumer_directions

    settings = home_stores().settings
    add(name, Limits(connections, statement, temp_file, work_mem), by or getuser(), settings)
    show_lines(consumer_directions(settings, name), as_json)


@readers.command("list")
def list_command(as_json: Json = False) -> None:
    """Every consumer: its login, limits, connections open now, who let it in and when."""
    from fpm.store.postgres.readers import listed

    show(listed(home_stores().settings), as_json)


@readers.command("remove")
def remove_command(name: Name, as_json: Json = False) -> None:
    """Put a consumer out: its sessions end at once, its login and password go; the journal keeps that it was in."""
    from fpm.store.postgres.readers import remove

    show({"reader": name, "ended_sessions": remove(name, home_stores().settings)}, as_json)
