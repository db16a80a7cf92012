"""Ctrl-C that no library can swallow.

Python raises KeyboardInterrupt wherever it stands. Native code that called Python there may clear it, or turn it into
another error: polars panics while numpy is imported for it. So the signal leaves a mark, and who carries on asks.
"""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from types import FrameType

_is_interrupted = False


def attend() -> None:
    """From now on SIGINT leaves a mark before it raises KeyboardInterrupt. Handlers that are not Python's own stay."""
    global _is_interrupted  # noqa: PLW0603  signals belong to the process
    _is_interrupted = False
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt)


def is_interrupted() -> bool:
    """Whether SIGINT has come since `attend`."""
    return _is_interrupted


def stop_if_interrupted() -> None:
    """Raise KeyboardInterrupt, once more, where SIGINT has come and somebody carried on."""
    if _is_interrupted:
        raise KeyboardInterrupt


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    global _is_interrupted  # noqa: PLW0603  signals belong to the process
    _is_interrupted = True
    raise KeyboardInterrupt
