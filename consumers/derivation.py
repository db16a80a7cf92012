"""A sample of the published session derived again from its raw bars and compared with the stored rows bit for bit.

A random few symbols per night go from raw minutes and raw days through the same formulas as the whole market did:
session totals, minute features, fingerprint, daily factors; as known at the session's cut-off, and once more as last
known where a correction came. The scales use the stored totals of earlier sessions. Decisions are
derived again where they are made: here a session is red whose decision a second solver contradicts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from consumers.publish import served_models, standing
from fpm.errors import StoreCorrupt
from fpm.features import daily_factors as factors
from fpm.features.bars import grid
from fpm.features.minute_features import PRESETS, by_symbol, from_frame, minute_features, raw_features, standardise
from fpm.features.session_totals import MEDIAN_INPUTS, scales, session_totals, slot_median
from fpm.nn.encoder.vintage import load
from fpm.nn.fit import deterministic
from fpm.portfolio.second_solver import refuse_contradicted
from fpm.schema import CLOCKS, TABLES
from fpm.sessions import cut_off, previous_sessions
from fpm.store.jobs.inputs import Window
from fpm.store.log import log

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import date, datetime

    from fpm.store.ledger.stores import Stores

NAME = "derivation"
DERIVED = ("session_totals", "minute_features", "fingerprints", "daily_factors")
READS = {
    "minute_bars": Window(back=lambda settings: PRESETS[settings.preset].history),
    "daily_bars": Window(back=factors.HISTORY),
    "session_totals": Window(back=lambda settings: PRESETS[settings.preset].window),
    "minute_features": Window(),
    "fingerprints": Window(),
    "daily_factors": Window(),
    "scores": Window(),  # name the published vintage
    "decisions": Window(required=False),
}
WRITES = ()
MODELS = ("scorer",)
SYMBOLS = 5
EVENT, CREATED = CLOCKS


def run(session: date, stores: Stores) -> None:
    """Derive the sample again.

    Raises FpmError for a decision that the second solver contradicts, StoreCorrupt at the first table, symbol and
    column that differs.
    """
    refuse_contradicted(stores.read("decisions", session, session).drop_nulls("status"))
    vintage, _ = served_models(session, stores.as_of(None))
    moments = _moments(session, vintage, stores.as_of(None))
    for known_at in moments:
        then = stores.as_of(known_at)
        symbols = sample(session, then)
        for table, derived in derivation(session, symbols, vintage, then):
            stored = then.read(table, session, vintage=vintage if TABLES[table].by_vintage else None)
            difference = first_difference(table, derived, stored.filter(pl.col("symbol").is_in(symbols)))
            if difference:
                raise _not_derivable(session, known_at, difference)
    log.info("sample derived again", session=session.isoformat(), symbols=len(symbols), moments=len(moments))


def sample(session: date, stores: Stores, count: int = SYMBOLS) -> list[str]:
    """Random symbols that traded in the session, in order; the deployment's seed and the session decide which."""
    daily = stores.read("daily_bars", session, columns=["symbol", "volume"])
    traded = daily.filter(pl.col("volume") > 0)["symbol"].sort().to_list()
    rng = np.random.default_rng([stores.settings.seed, session.toordinal()])
    return sorted(rng.choice(traded, min(count, len(traded)), replace=False).tolist())


def derivation(session: date, symbols: list[str], vintage: str, stores: Stores) -> Iterator[tuple[str, pl.DataFrame]]:
    """Every derived table's rows of these symbols, in the order in which they depend on each other."""
    stores = stores.named(session)
    profile, market = stores.profile, stores.market
    window, history = profile.constants.window, profile.constants.history
    before = previous_sessions(market, session, max(window, history, factors.HISTORY))
    ours = pl.col("symbol").is_in(symbols)
    days = stores.read("daily_bars", before[-factors.HISTORY], session)
    today = days.filter(ours, pl.col("session") == session)
    earlier = (stores.read("minute_bars", day, day, columns=MEDIAN_INPUTS).filter(ours) for day in before[-history:])
    dense = grid(stores.read("minute_bars", session).filter(ours), market, profile.view, symbols)
    raw_STF = raw_features(dense, today, slot_median(earlier, symbols, market, profile), profile)
    yield "session_totals", session_totals(raw_STF, dense, today, profile)
    totals = stores.read("session_totals", before[-window], before[-1])
    scales_SF = scales(totals, symbols, by_symbol(today, symbols, "adj_factor"), profile)
    minutes = minute_features(dense, standardise(raw_STF, scales_SF, profile), profile)
    yield "minute_features", minutes
    yield "fingerprints", _fingerprints(minutes, vintage, stores)
    yield "daily_factors", factors.daily_factors(days, session).filter(ours)


def _fingerprints(minutes: pl.DataFrame, vintage: str, stores: Stores) -> pl.DataFrame:
    model = stores.models.load("encoder", vintage)
    encoder = load(model.manifest, model.files())
    symbols, x_STF = from_frame(minutes, stores.profile)
    with deterministic(0):
        z_SD = encoder.embed(x_STF) if symbols else np.empty((0, encoder.encoder.config.width), np.float32)
    return pl.DataFrame({"symbol": pl.Series(symbols, dtype=pl.String), "vintage": vintage}).with_columns(
        pl.Series("fingerprint", z_SD, dtype=pl.Array(pl.Float32, z_SD.shape[1]))
    )


def first_difference(table: str, derived: pl.DataFrame, stored: pl.DataFrame) -> str | None:
    """The first symbol and column in which the rows differ by a bit, in words; None where there is none."""
    keys = list(TABLES[table].keys)
    stored = standing(table, stored).drop("session", *CLOCKS).sort(keys)
    if unmatched := set(derived.columns) ^ set(stored.columns):
        return f"{table} has another column {min(unmatched)}"
    derived = derived.cast(stored.schema).sort(keys)
    for rows, others, words in ((derived, stored, "is not stored"), (stored, derived, "cannot be derived")):
        alone = rows.join(others, on=keys, how="anti", maintain_order="left")
        if alone.height:
            return f"{table} of {alone['symbol'][0]} {words}"
    differing = pl.DataFrame(
        _bits(derived[name]).ne_missing(_bits(stored[name])).alias(name) for name in stored.columns
    )
    positions = differing.select(pl.any_horizontal(pl.all())).to_series().arg_true()
    if positions.is_empty():
        return None
    row = int(positions[0])
    column = next(name for name in differing.columns if differing[name][row])
    return f"{table} of {stored['symbol'][row]} differs in {column}"


def _bits(column: pl.Series) -> pl.Series:
    """Every cell as its bytes: 0.0 differs from -0.0, and null counts as NaN."""
    if column.dtype.is_float() or isinstance(column.dtype, pl.Array):
        cells = (column.fill_null(float("nan")) if column.dtype.is_float() else column).to_numpy()
        return pl.Series(column.name, [cell.tobytes() for cell in cells], dtype=pl.Binary)
    return column.cast(pl.String)


def _moments(session: date, vintage: str, stores: Stores) -> list[datetime]:
    """The session's cut-off, or its first moment of knowledge if later, and the last at which a derived row changed."""
    files = stores.ledger.current(["session_totals", "minute_features", "daily_factors"], session, session).values()
    first = max([cut_off(stores.market, session), *(min(file.knowledge) for file in files if file.knowledge)])
    partitions = [
        stores.read(table, session, vintage=vintage if TABLES[table].by_vintage else None)[CREATED] for table in DERIVED
    ]
    last = max([first, *(moment for created in partitions for moment in created.unique().to_list())])
    return sorted({first, last})


def _not_derivable(session: date, known_at: datetime, difference: str) -> StoreCorrupt:
    return StoreCorrupt(
        code="FPM-PUB-220",
        wrong=f"{session} derived again from raw bars, as known at {known_at.isoformat()}: {difference}",
        effect="nothing was changed; what is online came from it",
        todo="restore the file from a backup, or delete it and run its "
        f"job again, then publish again: fpm nightly --session {session}",
    )
