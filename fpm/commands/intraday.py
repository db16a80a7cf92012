"""The running session at one minute: its bars so far, then features, fingerprints, scores, and their publication."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from consumers import intraday_scores
from fpm.allocation import memory_reuse
from fpm.commands.upgrade import require_confirmed
from fpm.running_session import cut
from producers import intraday_bars, intraday_fingerprints, intraday_minute_features

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date, datetime
    from pathlib import Path

    from fpm.store.ledger.stores import Stores

STEPS = (intraday_minute_features, intraday_fingerprints, intraday_scores)


@memory_reuse()
def intraday(session: date, text: str, paths: Sequence[Path], now: datetime, stores: Stores) -> dict[str, Any]:
    """Take what `paths` have of the session up to a minute, compute and publish it; without paths, what is stored.

    Running it again changes nothing. Raises what its steps raise; what was online then stays.
    """
    require_confirmed(stores)
    at = cut(session, text, stores.market, stores.profile.view)
    bars = asdict(intraday_bars.take(paths, at, now, stores)) if paths else {}
    rows = {step.NAME: step.run(at, stores).rows for step in STEPS}
    online = intraday_scores.publish(at, stores)
    return {"session": str(session), "minute": text, "bars": bars, "rows": rows, "online": online}
