"""Online equals offline: every value of the published session compared with the lake's, or the night is red.

The session's rows in the history are compared, too.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import polars as pl

from consumers.publish import NEEDED, former_fingerprints, offline_views, served_models, with_fingerprints
from fpm.errors import StoreCorrupt
from fpm.schema import HISTORIES, TABLES
from fpm.store.log import log
from fpm.store.online import history
from fpm.store.online.publication import former_vintage, published_session, served

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

    from fpm.store.ledger.stores import Stores

NAME = "parity"
READS = NEEDED
WRITES = ()
MODELS = ("scorer",)


@dataclass(frozen=True)
class Cells:
    """Counts of one column's values: offline but not online, online but not offline, in both but different."""

    missing: int
    extra: int
    different: int


@dataclass(frozen=True)
class Parity:
    """The comparison of one view.

    `rows`: rows offline; `missing`: rows not online; `extra`: rows only online; `different`: cells that differ where a
    row is in both; `columns`: the columns of these cells; `cells`: every column's own counts over all rows.
    """

    view: str
    rows: int
    missing: int
    extra: int
    different: int
    columns: tuple[str, ...]
    cells: dict[str, Cells]

    @property
    def equal(self) -> bool:
        """Whether online equals offline."""
        return not (self.missing or self.extra or self.different)

    def to_dict(self) -> dict[str, Any]:
        """As a JSON document."""
        return asdict(self)


def run(session: date, stores: Stores) -> None:
    """Compare, unless a newer session is online. Raises StoreCorrupt for any difference."""
    online = published_session(stores)
    if online is not None and online > session:
        log.info("a newer session is online", session=session.isoformat(), online=online.isoformat())
        return
    views = check(session, stores)
    wrong = [view for view in views if not view.equal]
    if wrong:
        raise StoreCorrupt(
            code="FPM-PUB-210",
            wrong=f"online differs from offline at {session}: {', '.join(map(_words, wrong))}",
            effect="nothing was changed",
            todo=f"publish again: fpm run publish {session}",
        )
    log.info("online equals offline", session=session.isoformat(), rows=sum(view.rows for view in views))


def check(session: date, stores: Stores) -> list[Parity]:
    """Every view of the session, all symbols and all columns, and what the history says of it.

    Also the former vintage's fingerprints, while it is handed over.
    """
    current = stores.as_of(None)
    vintage, _ = served_models(session, current)
    former = with_fingerprints(session, former_vintage(session, vintage, current), current)
    frames = offline_views(session, vintage, current)
    views = [compare(view, frame, served(view, current)) for view, frame in frames.items()]
    if stores.settings.online_history:
        views += [
            replace(compare(view, frames[view], history.served(view, session, current)), view=name)
            for view, name in HISTORIES.items()
        ]
    offline = former_fingerprints(session, former, current)
    beside = compare("fingerprints", offline, served("fingerprints", current, former=True))
    return [*views, replace(beside, view="former_fingerprints")] if beside.rows or beside.extra else views


def compare(view: str, offline: pl.DataFrame, online: pl.DataFrame) -> Parity:
    """Rows matched by key; values are equal bit for bit, and null equals null only."""
    keys = list(TABLES[view].keys)
    offline, online = _lists(offline), _lists(online)
    values = [name for name in offline.columns if name not in keys]
    both = offline.join(online, on=keys, how="inner", suffix=" online")
    missing, extra = offline.join(online, on=keys, how="anti"), online.join(offline, on=keys, how="anti")
    cells = _cells(values, both, missing, extra)
    differing = both.select(_differs(name).alias(name) for name in values).row(0, named=True)
    return Parity(
        view,
        offline.height,
        missing.height,
        extra.height,
        sum(differing.values()),
        tuple(name for name, count in differing.items() if count),
        cells,
    )


def _differs(name: str) -> pl.Expr:
    return pl.col(name).ne_missing(pl.col(f"{name} online")).sum()


def _cells(names: Sequence[str], both: pl.DataFrame, missing: pl.DataFrame, extra: pl.DataFrame) -> dict[str, Cells]:
    """The counts of every column: in rows of both, and the values of rows that only one has."""
    left, right = (pl.col(name) for name in names), [pl.col(f"{name} online") for name in names]
    pairs = list(zip(left, right, strict=True))
    kinds = (
        [own.is_not_null() & other.is_null() for own, other in pairs],
        [own.is_null() & other.is_not_null() for own, other in pairs],
        [own.ne(other) for own, other in pairs],
    )
    counts = [
        both.select(part.sum().alias(name) for name, part in zip(names, kind, strict=True)).row(0) for kind in kinds
    ]
    alone = [rows.select(pl.col(name).count() for name in names).row(0) for rows in (missing, extra)]
    lacking, surplus = ([a + b for a, b in zip(*sums, strict=True)] for sums in zip(counts[:2], alone, strict=True))
    return {name: Cells(*cells) for name, *cells in zip(names, lacking, surplus, counts[2], strict=True)}


def _lists(frame: pl.DataFrame) -> pl.DataFrame:
    """Vectors as lists on both sides."""
    arrays = [name for name, kind in frame.schema.items() if isinstance(kind, pl.Array)]
    return frame.with_columns(pl.col(name).arr.to_list() for name in arrays)


def _words(wrong: Parity) -> str:
    """Rows first, then every column with a fault: values missing / extra / different."""
    rows = [f"{count} rows {what}" for what, count in (("missing", wrong.missing), ("extra", wrong.extra)) if count]
    columns = [
        f"{name} {cells.missing}/{cells.extra}/{cells.different}"
        for name, cells in wrong.cells.items()
        if cells.missing or cells.extra or cells.different
    ]
    return f"{wrong.view}: {', '.join([*rows, *columns])} (values missing/extra/different)"
