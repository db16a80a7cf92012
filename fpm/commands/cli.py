"""The command line. Names and outputs are a contract: other programs drive them.

Exit codes: 0 done, 1 refused or failed, 2 wrong usage, 75 try later, 130 interrupted (run it again to resume). SIGTERM
ends a command at once, 143 to a shell; what it had not published is begun again by the next run.
Commands parse, call one function and show its answer; heavy imports stay inside, so that `--help` is instant.
"""

from __future__ import annotations

import errno
import json
import os
import sys
import tempfile
import traceback
from contextlib import contextmanager
from importlib.metadata import version as package_version
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from fpm.commands import (
    home_commands,
    model_commands,
    pipeline_commands,
    question_commands,
    reader_commands,
    report_commands,
)
from fpm.commands.console import begin, is_answered
from fpm.errors import FpmError, UsageError
from fpm.interruption import is_interrupted

if TYPE_CHECKING:
    from collections.abc import Iterator

INTERRUPTED = 130
RESUMABLE = "interrupted - nothing half-written is visible - run the same command again to resume"
LONGEST_REASON = 200  # characters of an exception that a line repeats

# Of every fault that Typer finds in a command's words; Typer keeps click inside, and exports neither this nor Context.
WrongUsage: Any = typer.BadParameter.__bases__[0]


class Commands(TyperGroup):
    """The commands. A fault in their words, which Typer explains on standard error, is JSON, too, if that is wanted."""

    def make_context(self, *arguments: Any, **named: Any) -> Any:
        """Read the words before the command."""
        with _faults_as_json():
            return super().make_context(*arguments, **named)

    def invoke(self, ctx: Any) -> object:
        """Run the command that the words name."""
        with _faults_as_json():
            return super().invoke(ctx)


@contextmanager
def _faults_as_json() -> Iterator[None]:
    try:
        yield
    except WrongUsage as fault:
        _refuse_as_json(
            UsageError(
                code="FPM-IO-003",
                wrong=fault.format_message().rstrip("."),
                effect="nothing was done",
                todo="see the command's -h",
            )
        )
        raise


app = typer.Typer(
    cls=Commands,
    help="Minute bars to a trustworthy daily factor.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for group in (pipeline_commands, question_commands, report_commands, home_commands):
    app.add_typer(group.commands)
app.add_typer(pipeline_commands.train, name="train")
app.add_typer(model_commands.models, name="models")
app.add_typer(reader_commands.readers, name="reader")


def main() -> None:
    """Run a command; turn our errors into one line and an exit code."""
    begin()
    try:
        app(standalone_mode=True)
    except SystemExit as leaving:
        if leaving.code == INTERRUPTED:
            typer.echo(RESUMABLE, err=True)
        raise
    except BaseException as wrong:  # noqa: BLE001  a panic of native code is no Exception, and no traceback for a user
        if isinstance(wrong, KeyboardInterrupt) or is_interrupted():  # the rest is what a library made of Ctrl-C
            typer.echo(RESUMABLE, err=True)
            sys.exit(INTERRUPTED)
        _refuse(_refusal(wrong))


def _refusal(wrong: BaseException) -> FpmError:
    if isinstance(wrong, FpmError):
        return wrong
    return machine_refusal(wrong) if isinstance(wrong, OSError) else fault_refusal(wrong)


def _refuse(error: FpmError) -> NoReturn:
    """One line on standard error; where JSON was asked for, the same as an object on standard output."""
    _say(str(error))
    _refuse_as_json(error)
    sys.exit(error.exit_code)


def _refuse_as_json(error: FpmError) -> None:
    from fpm.store.log import without_secrets

    if "--json" in sys.argv and not is_answered():
        words = {"code": error.code, "wrong": error.wrong, "effect": error.effect, "todo": error.todo}
        typer.echo(without_secrets(json.dumps({"error": words}, ensure_ascii=False)))


def _say(text: str) -> None:
    from fpm.store.log import without_secrets

    typer.echo(without_secrets(text), err=True)


def machine_refusal(error: OSError) -> FpmError:
    """What the machine refused (a full disk, a folder that may not be written to) in our words."""
    where = f": {error.filename}" if error.filename is not None else ""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    return FpmError(
        code="FPM-IO-001",
        wrong=f"{error.strerror or error}{where}",
        effect="the command stopped, nothing half-written is visible",
        todo=f"{'free space' if full else 'set this right'} and run the same command again",
    )


def fault_refusal(fault: BaseException) -> FpmError:
    """A fault of ours in one line. The traceback lies in a file of its own (mode 0600), without what is secret."""
    from fpm.store.log import without_secrets

    try:
        handle, where = tempfile.mkstemp(prefix="fpm-fault-", suffix=".txt")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(without_secrets("".join(traceback.format_exception(fault))))
    except OSError:
        where = "these words"
    first = (str(fault).strip().splitlines() or [""])[0][:LONGEST_REASON]
    return FpmError(
        code="FPM-IO-002",
        wrong=f"fpm itself failed: {type(fault).__name__}: {first}",
        effect="the command stopped, nothing half-written is visible",
        todo=f"give {where} to whoever maintains fpm; the same command may be run again",
    )


def _print_version(requested: bool) -> None:
    if requested:
        typer.echo(f"fpm {package_version('fpm')}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="print the version and stop")
    ] = False,
) -> None:
    """Options before the command."""


if __name__ == "__main__":
    main()
