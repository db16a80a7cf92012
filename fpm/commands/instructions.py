"""What a person says with `fpm enhance --approve` or `--hold`, from words to rows of the ledger."""

from __future__ import annotations

import os
import pwd
from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING, Any

from fpm.commands.arguments import now
from fpm.errors import UsageError
from fpm.sessions import parse_session

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fpm.store.ledger.stores import Stores


@dataclass(frozen=True)
class Words:
    """The options of one call, as typed."""

    approve: str | None = None
    index: str | None = None
    hold: str | None = None
    begin: str | None = None
    until: str | None = None
    reason: str = ""
    by: str | None = None

    def given(self, others: Sequence[object]) -> bool:
        """Whether the call says something about decisions.

        Raises UsageError where it says two things, or asks for a computation (`others`) too.
        """
        if not any(astuple(self)):
            return False
        of_hold, of_approval = (self.begin, self.until, self.reason), (self.index,)
        wrong = (self.approve is None) == (self.hold is None) or any(others)
        if wrong or any(of_hold if self.approve else of_approval) or not (self.approve or self.hold):
            raise UsageError(
                code="FPM-CFG-085",
                wrong="the options of an approval, of a hold and the sessions to compute do not go together",
                effect="nothing was done",
                todo="say --approve SESSION [--index INDEX], --hold INDEX [--from --until --reason], or the arguments",
            )
        return True


def say(words: Words, stores: Stores) -> list[dict[str, Any]] | dict[str, Any]:
    """Record an approval or a hold; who said it, from when it counts, and what it does."""
    from consumers.questions import instructions

    by = words.by or login()
    if words.approve:
        return instructions.approve(parse_session(words.approve), words.index, by, now(), stores)
    first, last = (parse_session(text) if text else None for text in (words.begin, words.until))
    return instructions.hold(words.hold or "", (first, last), words.reason, by, now(), stores)


def login() -> str:
    """The name of the user that this process runs as; its number where it has no name."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())
