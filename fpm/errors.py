"""Errors: few, one for each kind of fault; each says what is wrong, what was done and what to do.

Every message has the form ``CODE  what is wrong - what was done - what to do``. The class decides
the exit code of the command line: 2 for usage, 75 (``EX_TEMPFAIL`` of sysexits.h) for "try later", 1 for the rest.
"""

from __future__ import annotations


class FpmError(Exception):
    """Base of every error for a user to read.

    Parameters are the parts of the message: a stable `code` that programs may match, what is `wrong`, the `effect` it
    had (what was done or left undone), and what to do (`todo`).
    """

    exit_code = 1

    def __init__(self, *, code: str, wrong: str, effect: str, todo: str) -> None:
        super().__init__(f"{code}  {wrong} - {effect} - {todo}")
        self.code, self.wrong, self.effect, self.todo = code, wrong, effect, todo

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return _restored, (type(self), self.code, self.wrong, self.effect, self.todo)


def _restored(kind: type[FpmError], code: str, wrong: str, effect: str, todo: str) -> FpmError:
    """The error that another process raised: pickle calls with positional arguments."""
    return kind(code=code, wrong=wrong, effect=effect, todo=todo)


class UsageError(FpmError):
    """The call itself is wrong: unknown name, impossible date, reversed range."""

    exit_code = 2


class TryLater(FpmError):
    """Nothing is broken, something is not there yet: a missing input, a held lock, a stopped database."""

    exit_code = 75


class InputRefused(FpmError):
    """A file or a partition is refused whole; the lake holds nothing of it."""


class LookAhead(FpmError):
    """A value would depend on later knowledge: wrong vintage, future data, overlapping label."""


class ModelRefused(FpmError):
    """A model may not be promoted or used: collapsed, non-finite, of another profile. The previous one stays."""


class StoreCorrupt(FpmError):
    """Stored bytes are not the bytes the ledger recorded."""
