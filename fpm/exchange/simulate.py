"""The synthetic exchange: seeded A-share-like sessions with a known answer.

A latent intraday style, invisible in any daily total, drives the returns of the sessions after next, beside an
effect that daily tables show. What a perfect forecaster would score is written beside the data, so "how much of
the answer did a factor find" is a number. Every session draws from its own seed: its bytes do not depend on how
many sessions are asked for.
"""

from __future__ import annotations

import io
import json
from dataclasses import asdict, dataclass, field
from datetime import date, timedelta
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from fpm.errors import UsageError
from fpm.exchange.days import (
    NOTICE,
    TICKS,
    Day,
    Events,
    Impact,
    Universe,
    draw_universe,
    evening,
    morning,
    opening_state,
    oracle,
    session_day,
    with_impact,
    with_news,
)
from fpm.exchange.defects import Defects, FirstCopy, first_copy
from fpm.exchange.minutes import minute_flows
from fpm.exchange.tables import (
    Correction,
    SessionTables,
    by_symbol,
    daily_bars,
    index_members,
    index_places,
    listing_dates,
    minute_bars,
    spoil,
    style_columns,
)
from fpm.exchange.tape import with_ticks
from fpm.sessions import cut_off, market, next_sessions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

MARKET = market("cn")
INDEX_REVIEW = 60  # sessions between two reviews of the indices
SPOILED_SYMBOLS = 3
CORRECTION_DELAY = 2  # sessions after which a late or wrong delivery is put right


@dataclass(frozen=True)
class ExchangeConfig:
    """An exchange; equal configs give equal bytes. `signal` off leaves every draw but no impact on returns.

    The oracle is the same formula either way, so with the signal off it shows the null band.
    Measured with preset demo, four seeds, mean RankIC of the oracle and its standard error: intraday 0.312, daily
    0.191, combined 0.368 (0.008 each); signal off 0.007, 0.017, 0.015 (0.009 each).
    `spoiled_every`: of so many sessions one is first delivered late and one wrong (0: none); `defects`: whatever else
    a feed does wrong. `ticks`: Level-2 trades and orders beside the bars, which are then their sums to the share and
    the cent; thousands of records a symbol-session, so for small exchanges.
    """

    symbols: int = 300
    sessions: int = 250
    first: date = date(2024, 1, 2)
    seed: int = 20240102
    signal: bool = True
    impact: Impact = field(default_factory=Impact)
    events: Events = field(default_factory=Events)
    spoiled_every: int = 40
    defects: Defects = field(default_factory=Defects)
    ticks: bool = False


PRESETS = {
    "default": ExchangeConfig(),
    "demo": ExchangeConfig(symbols=120, sessions=150),
    "short": ExchangeConfig(symbols=60, sessions=44),
    "tiny": ExchangeConfig(
        symbols=12,
        sessions=45,
        events=Events(split=1 / 100, halt=1 / 80, jump=1 / 25, delisting=1 / 250, listing=1 / 15, unlisted=0.17),
        spoiled_every=20,
    ),
}


def simulate(config: ExchangeConfig) -> Iterator[SessionTables]:
    """The tables of every session, oldest first, one session in memory at a time.

    Raises UsageError for fewer than three symbols, no session, or a calendar that ends too early.
    """
    if config.symbols < 3 or config.sessions < 1:
        raise UsageError(
            code="FPM-SIM-001",
            wrong=f"an exchange of {config.symbols} symbols and {config.sessions} sessions",
            effect="nothing was simulated",
            todo="ask for at least 3 symbols (one an index) and 1 session",
        )
    calendar = next_sessions(MARKET, config.first - timedelta(days=1), config.sessions + NOTICE + 1)
    universe = draw_universe(config.symbols, config.seed)
    state = opening_state(universe, config.events, config.seed)
    places_S = index_places(universe, state)
    for index, session in enumerate(calendar[: config.sessions]):
        rng = np.random.default_rng([config.seed, 2, index])
        places_S = index_places(universe, state) if index % INDEX_REVIEW == 0 else places_S
        opened, pre_close_S = morning(state, config.events, rng)
        members = index_members(session, universe, state, places_S)
        monday = index == 0 or session.isocalendar()[:2] != calendar[index - 1].isocalendar()[:2]
        day = with_news(session_day(universe, opened, pre_close_S, rng), universe, config.events, rng)
        day = with_impact(day, universe, opened, config.impact) if config.signal else day
        flows = minute_flows(day, rng)
        traded = np.flatnonzero(day.traded_S)
        ticks = None
        if config.ticks:
            names = [universe.symbols[i] for i in traded]
            own = {name: flow_ST[traded] for name, flow_ST in flows.items()}
            summed, ticks = with_ticks(session, names, own, np.random.default_rng([config.seed, 5, index]))
            for name, flow_ST in summed.items():
                flows[name][traded] = flow_ST
        close_S = np.where(day.traded_S, np.rint(flows["close"][:, -1] * TICKS).astype(np.int64), pre_close_S)
        state = evening(opened, day, close_S, config.impact, rng)
        daily = daily_bars(session, universe, state, day, flows, listing_dates(universe, state, calendar, index))
        suspended = daily.filter("suspended").select("symbol", "close")
        copy, correction = delivery(config, calendar, index, traded_bars(session, universe, day, flows), suspended)
        yield SessionTables(
            session=session,
            minute_bars=copy.bars,
            daily_bars=daily,
            index_members=members if monday else members.clear(),
            oracle=of_traded(session, universe, day, oracle(universe, state, config.impact)),
            styles=of_traded(session, universe, day, style_columns(day.style_SK)),
            correction=correction,
            truncated=copy.truncated,
            ticks=ticks,
        )


def traded_bars(session: date, universe: Universe, day: Day, flows: dict[str, np.ndarray]) -> pl.DataFrame:
    """True minute bars of the symbols that traded."""
    traded = np.flatnonzero(day.traded_S)
    names = [universe.symbols[i] for i in traded]
    return minute_bars(session, names, {name: flow_ST[traded] for name, flow_ST in flows.items()})


def of_traded(session: date, universe: Universe, day: Day, columns: dict[str, np.ndarray]) -> pl.DataFrame:
    """One row a traded symbol."""
    traded = np.flatnonzero(day.traded_S)
    names = [universe.symbols[i] for i in traded]
    return by_symbol(session, names, {name: value_S[traded] for name, value_S in columns.items()})


def delivery(
    config: ExchangeConfig, calendar: list[date], index: int, true_bars: pl.DataFrame, suspended: pl.DataFrame
) -> tuple[FirstCopy, Correction | None]:
    """The first copy of a session and, where that is late or wrong for some symbols, what puts it right."""
    every = config.spoiled_every
    place = index % every if every else -1
    bars, struck = true_bars, frozenset[str]()
    if place in (every // 4, 3 * every // 4):
        rng = np.random.default_rng([config.seed, 3, index])
        symbols = true_bars["symbol"].unique(maintain_order=True)
        chosen = rng.choice(len(symbols), min(SPOILED_SYMBOLS, len(symbols)), replace=False)
        struck = frozenset(symbols.gather(np.sort(chosen)))
        bars = spoil(true_bars, sorted(struck), late=place == every // 4)
    copy = first_copy(bars, suspended, config.defects, [config.seed, 4, index])
    wrong = struck | copy.spoiled
    if not wrong:
        return copy, None
    known_at = cut_off(MARKET, calendar[index + CORRECTION_DELAY]) - timedelta(hours=6)
    return copy, Correction(known_at, true_bars.filter(pl.col("symbol").is_in(list(wrong))))


def write(config: ExchangeConfig, folder: Path, progress: Callable[[int, int], None] | None = None) -> None:
    """Write the exchange as vendor files; `exchange.json` says which exchange and whether it is complete.

    A complete folder of the same config is left alone; a broken-off one is completed with the same bytes. Every
    file appears whole, by rename. `progress` is told (sessions done, sessions) after each session.
    Raises UsageError where the folder holds anything else.
    """
    text = _settings(config)
    if _is_complete(folder, text):
        return
    for sub in ("minute_bars", "corrections/minute_bars"):
        (folder / sub).mkdir(parents=True, exist_ok=True)
    _place(folder / "exchange.json", json.dumps({"complete": False, "config": text}, indent=1).encode())
    daily, members, answers, known_at = [], [], [], {}
    for done, tables in enumerate(simulate(config), start=1):
        name = f"minute_bars/{tables.session}.parquet"
        if len(tables.minute_bars):  # a late file comes with the corrections
            content = _parquet(tables.minute_bars)
            _place(folder / name, content[: len(content) // 2] if tables.truncated else content)
        if tables.correction is not None:
            _place(folder / "corrections" / name, _parquet(tables.correction.minute_bars))
            known_at[name] = tables.correction.known_at.isoformat()
        if tables.ticks is not None:
            for stream, records in vars(tables.ticks).items():
                (folder / stream).mkdir(exist_ok=True)
                _place(folder / stream / f"{tables.session}.parquet", _parquet(records))
        daily.append(tables.daily_bars)
        members.append(tables.index_members)
        answers.append(tables.oracle)
        if progress is not None:
            progress(done, config.sessions)
    for table, frames in (("daily_bars", daily), ("index_members", members), ("oracle", answers)):
        _place(folder / f"{table}.parquet", _parquet(pl.concat(frames)))
    _place(folder / "corrections" / "known_at.json", json.dumps(known_at, indent=1).encode())
    _place(folder / "exchange.json", json.dumps({"complete": True, "config": text}, indent=1).encode())


def _settings(config: ExchangeConfig) -> dict[str, object]:
    return {**asdict(config), "first": config.first.isoformat()}


def _is_complete(folder: Path, settings: dict[str, object]) -> bool:
    """Whether the folder already holds this exchange, whole. Raises UsageError if it holds something else."""
    note = folder / "exchange.json"
    found = json.loads(note.read_bytes()) if note.exists() else None
    strange = any(folder.glob("[!.]*")) if found is None else found["config"] != settings
    if strange:
        raise UsageError(
            code="FPM-SIM-002",
            wrong=f"{folder} holds {'other files' if found is None else 'an exchange of another config'}",
            effect="nothing was written",
            todo="name an empty folder, or remove this one yourself",
        )
    return found is not None and bool(found["complete"])


def _parquet(frame: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.write_parquet(buffer, compression="zstd", compression_level=1)
    return buffer.getvalue()


def _place(path: Path, content: bytes) -> None:
    """Appear whole or not at all; the same name beside it is overwritten by a repeated run."""
    unfinished = path.with_name(f".{path.name}.unfinished")
    unfinished.write_bytes(content)
    unfinished.replace(path)
