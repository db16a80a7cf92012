"""Weights of an index that came as intervals without any: by capitalisation, from the bars delivered and stored."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from fpm.ingest.member_intervals import CURRENT, SHARE_COUNTS, by_capitalisation, capitalisations

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fpm.ingest.daily_files import ReferenceRows
    from fpm.store.ledger.stores import Stores


def weighed(
    files: Sequence[ReferenceRows], daily: Sequence[ReferenceRows], stores: Stores | None
) -> list[ReferenceRows]:
    """`files` of index members; those without weights have capitalisation's where it is known (`by_capitalisation`).

    `daily`: files of daily bars of the same delivery, which come before what is stored. `stores`: None for no home yet.
    """
    return [file if file.has_weights else by_capitalisation(file, _known(file, daily, stores)) for file in files]


def _known(file: ReferenceRows, daily: Sequence[ReferenceRows], stores: Stores | None) -> pl.DataFrame:
    """session, symbol, capitalisation of the file's members, from `CURRENT` days before its first snapshot on."""
    first, last = file.frame["session"].min(), file.frame["session"].max()
    parts = [capitalisations(each.frame) for each in daily]
    if stores and first is not None:
        oldest = pl.select(pl.lit(first).dt.offset_by(f"-{CURRENT}")).item()
        columns = ["symbol", "close", *SHARE_COUNTS]
        parts.insert(0, capitalisations(stores.read("daily_bars", oldest, last, columns=columns)))  # type: ignore[arg-type]
    rows = pl.concat([capitalisations(pl.DataFrame()), *parts])
    members = file.frame.select("symbol").unique()
    return rows.join(members, on="symbol", how="semi").unique(["session", "symbol"], keep="last", maintain_order=True)
