"""Snapshots of a delivery of ticks: sorted into buckets by session and symbol, judged, and the exchange's totals."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import polars as pl

from fpm.errors import FpmError
from fpm.ingest.deliveries import Refused
from fpm.ingest.vendor_files import refusal
from fpm.ticks.files import SNAPSHOTS, batches
from fpm.ticks.snapshots import ODD, TOTALS, judged, odd_sessions, snapshot_rows, totals_of
from fpm.ticks.tape import TickRules

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from fpm.markets import Market
    from fpm.store.lake.tick_buckets import Buckets
    from fpm.ticks.files import TickFile
    from fpm.ticks.report import TickAccount


@dataclass
class Judged:
    """What the snapshots say.

    `totals` (`TOTALS`), `odd` (`ODD`), `faults`: file -> rows (row, session, reason_code, reason) for quarantine.
    """

    totals: pl.DataFrame
    odd: pl.DataFrame
    faults: dict[int, list[pl.DataFrame]] = field(default_factory=dict)
    refused: list[Refused] = field(default_factory=list)


def judge_snapshots(
    files: Sequence[TickFile], buckets: Buckets, account: TickAccount, market: Market, now: datetime
) -> Judged:
    """Read the files of snapshots among `files` (a file's position is its number), and judge every symbol-session."""
    outcome = Judged(pl.DataFrame(schema=TOTALS), pl.DataFrame(schema=ODD))
    for number, file in ((number, file) for number, file in enumerate(files) if file.stream == SNAPSHOTS):
        before = buckets.left_out
        try:
            outcome.faults[number] = _scatter(number, file, buckets, account, market, now)
        except FpmError as error:
            buckets.drop(str(number))
            buckets.left_out = before
            outcome.refused.append(Refused(file.path, error))
    if buckets.left_out:
        account.snapshots["too_many"] = buckets.left_out
    for session in buckets.sessions():
        for bucket in buckets.numbers(session):
            rows = judged(buckets.read(session, bucket).with_columns(pl.lit(session).alias("session")))
            odd = rows.filter(pl.col("reason_code").is_not_null())
            for (number,), part in odd.partition_by("file", as_dict=True).items():
                outcome.faults.setdefault(int(str(number)), []).append(
                    part.select("row", "session", "reason_code", "reason")
                )
            account.add_snapshots(0, odd, rows.height - odd.height)
            outcome.totals = pl.concat([outcome.totals, totals_of(rows)])
            outcome.odd = pl.concat([outcome.odd, odd_sessions(rows)])
    return outcome


def _scatter(
    number: int, file: TickFile, buckets: Buckets, account: TickAccount, market: Market, now: datetime
) -> list[pl.DataFrame]:
    """Put one file's snapshots into the buckets; returns its rows without a place.

    Raises InputRefused 150 where these are more than a sound file has.
    """
    rules, bad, rows = TickRules(), [], 0
    for batch in batches(file):
        part = snapshot_rows(batch, file, number, market, now)
        buckets.add(part.rows, str(number))
        bad.append(part.faults)
        rows += batch.height
        count = sum(faults.height for faults in bad)
        if count > rules.few + rules.bad * file.rows:
            example = next(faults for faults in bad if faults.height).row(0, named=True)
            raise refusal(
                file.path,
                code="FPM-IN-150",
                wrong=f"{count} bad rows, e.g. row {example['row']}: {example['reason_code']} {example['reason']}",
                todo="repair the file; a sound one has few bad rows",
            )
    faults = pl.concat(bad)
    account.add_snapshots(rows, faults, 0)
    return [faults] if faults.height else []
