"""The log: structlog on standard error, as text for people or JSON for machines, without secrets.

``log.info("what happened", key=value)``; `context(job=..., session=..., attempt=...)` adds fields to every line
inside its block.
"""

from __future__ import annotations

import logging
import os
import sys
from typing import TYPE_CHECKING, Any

import structlog

from fpm.store.addresses import hidden

if TYPE_CHECKING:
    from fpm.store.settings import Settings

context = structlog.contextvars.bound_contextvars


_secrets: tuple[str, ...] = ()  # those of the settings in force


def configure(settings: Settings) -> None:
    """Set format and level at the start of a process, and what no line may show."""
    global _secrets  # noqa: PLW0603  a process has one log
    _secrets = settings.secrets
    _configure(settings.log_format, settings.log_level)
    _take_libraries(settings.log_format == "json")


def without_secrets(text: str) -> str:
    """A text for others to read: the secrets of the settings in force are hidden in it."""
    return hidden(text, _secrets)


def _configure(form: str, level: str) -> None:
    renderer: Any = structlog.processors.JSONRenderer()
    if form == "console":
        colors = sys.stderr.isatty() and not os.environ.get("NO_COLOR")  # https://no-color.org
        renderer = structlog.dev.ConsoleRenderer(colors=colors)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            lambda *parts: without_secrets(renderer(*parts)),  # whatever a driver put into its exception
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),
        cache_logger_on_first_use=False,
    )


class _Library(logging.Handler):
    """Lines of libraries (uvicorn, psycopg, Feast) as lines of ours, so that every line has one form."""

    def emit(self, record: logging.LogRecord) -> None:
        line = {"library": record.name, "exc_info": record.exc_info} if record.exc_info else {"library": record.name}
        log.log(record.levelno, record.getMessage(), **line)


def _take_libraries(is_machine: bool) -> None:
    """Libraries write through our log where a machine reads it; else as they like."""
    root = logging.getLogger()
    root.handlers = [each for each in root.handlers if not isinstance(each, _Library)]
    if is_machine:
        root.addHandler(_Library(logging.WARNING))


_configure("console", "info")  # structlog's default is standard output, which belongs to the answers of commands
log: Any = structlog.get_logger()
