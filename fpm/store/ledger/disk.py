"""How long the disk of a home lasts, at the rate of its last sessions."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, LiteralString

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date

    from fpm.store.ledger.ledger import Ledger
    from fpm.store.settings import Settings

SESSIONS = 20  # whose median is the rate: the newest ones still lack their labels, a new vintage writes many at once
_SIZES: LiteralString = """
SELECT session, sum(split_part(identity, ':', 3)::bigint)::bigint FROM fpm.files
WHERE identity IS NOT NULL GROUP BY session ORDER BY session DESC LIMIT %s
"""


@dataclass(frozen=True)
class Disk:
    """Bytes that are free, bytes of a session in the lake, calendar days until the disk is full (None: no rate yet)."""

    free: int
    session: int | None
    days: float | None

    def is_short(self, bound: float) -> bool:
        """Whether it is full before so many days."""
        return self.days is not None and self.days < bound


def disk(settings: Settings, ledger: Ledger) -> Disk:
    """The forecast of a home's disk, by the sizes of the files that the ledger published."""
    return forecast(shutil.disk_usage(settings.home).free, dict(ledger.query(_SIZES, (SESSIONS,))))


def forecast(free: int, sizes: Mapping[date, int]) -> Disk:
    """The forecast by the bytes of the last sessions.

    >>> from datetime import date
    >>> forecast(900, {date(2025, 1, 3): 100, date(2025, 1, 6): 300, date(2025, 1, 7): 110}).days  # 2 days a session
    16.363636363636363
    """
    days = sorted(sizes)
    if len(days) < 2:
        return Disk(free, sizes[days[0]] if days else None, None)
    rate = median(sizes.values())
    pace = (days[-1] - days[0]).days / (len(days) - 1)
    return Disk(free, round(rate), free / rate * pace if rate else None)
