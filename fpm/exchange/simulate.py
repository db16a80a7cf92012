"""The synthetic exchange: seeded A-share-like sessions with a known answer.

A latent intraday style, invisible in any daily total, drives the returns of later sessions; so does an effect that
daily tables show. The scores of a perfect forecaster are written beside the data, so "which share of the answer did a
factor find" is a number. Every session has its own seed, so its bytes do not depend on the number of sessions.
"""

from __future__ import annotations

import io
import json
from dataclasses import asdict, dataclass, field, replace
from datetime import date, timedelta
from functools import cache
from itertools import count
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from fpm.errors import UsageError
from fpm.exchange.day_bars import day_flows
from fpm.exchange.days import (
    NOTICE,
    REMAINING_L,
    SPREAD,
    TICKS,
    Day,
    Events,
    Impact,
    Universe,
    draw_universe,
    evening,
    ex_dividend,
    morning,
    opening_state,
    oracle,
    session_day,
    with_impact,
    with_news,
)
from fpm.exchange.defects import Defects, FirstCopy, first_copy
from fpm.exchange.lottery import Lottery, drawn
from fpm.exchange.minutes import minute_flows
from fpm.exchange.styles import STYLES
from fpm.exchange.tables import (
    Correction,
    SessionTables,
    by_symbol,
    daily_bars,
    index_members,
    index_numbers,
    listing_dates,
    minute_bars,
    spoil,
    style_columns,
)
from fpm.exchange.tape import with_ticks
from fpm.json_documents import from_json
from fpm.sessions import cut_off, market, next_sessions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from fpm.exchange.tape import TickTables

MARKET = market("cn")
ORACLE = "answers/oracle.parquet"  # beside a delivery, not in it: no vendor knows the answer
INDEX_REVIEW = 60  # sessions between two reviews of the indices
SPOILED_SYMBOLS = 3
LEAST_RANK_IC = 0.10  # of a lottery's oracle
CORRECTION_DELAY = 2  # sessions between a late or wrong delivery and its correction


@dataclass(frozen=True)
class ExchangeConfig:
    """Configuration of an exchange; equal configurations give equal bytes.

    `signal` off keeps every draw and removes the impact on returns; the oracle's formula stays, so it then shows the
    null band. Mean RankIC of the oracle and its standard error, measured with preset demo on four seeds: intraday
    0.312, daily 0.191, combined 0.368 (0.008 each); signal off 0.007, 0.017, 0.015 (0.009 each).
    `spoiled_every`: in that many sessions, one first copy is late and one is wrong (0: none). `defects`: all other
    defects of the feed. `ticks`: Level-2 trades and orders beside the bars, which are then the ticks' sums to the share
    and the cent; with thousands of records per symbol and session, only for small exchanges. `daily`: no minutes, so
    that years take seconds; the daily tables come from other draws than with them. `styles`: seed of a lottery that
    replaces the planted styles by others (`fpm.exchange.lottery`).
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
    daily: bool = False
    styles: int | None = None


YEARS = Events(dividend=1 / 250, delisting=1 / 20_000, listing=1 / 500, unlisted=0.2)  # a market that lasts for years

REFERENCE = ExchangeConfig(symbols=150, sessions=120, seed=1, events=YEARS, spoiled_every=0, daily=True)

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


def simulate(config: ExchangeConfig, lottery: Lottery | None = None) -> Iterator[SessionTables]:
    """Yield the tables of every session, oldest first; one session is in memory at a time.

    `lottery`: the styles, where they are not those that the configuration draws.

    Raises UsageError for fewer than three symbols, no session, an ending calendar, or ticks without minutes.
    """
    require_possible(config)
    calendar = _calendar(config)
    lottery = lottery or styles_of(config)
    impact = config.impact if lottery is None else replace(config.impact, styles=lottery, intraday=lottery.impact)
    universe = draw_universe(config.symbols, config.seed)
    state = opening_state(universe, config.events, config.seed)
    names = tuple(STYLES) if lottery is None else lottery.names
    index_S = index_numbers(universe, state)
    for index, session in enumerate(calendar[: config.sessions]):
        rng = np.random.default_rng([config.seed, 2, index])
        index_S = index_numbers(universe, state) if index % INDEX_REVIEW == 0 else index_S
        opened, pre_close_S = morning(state, config.events, rng)
        if config.events.dividend:
            payer = np.random.default_rng([config.seed, 6, index])
            opened, pre_close_S = ex_dividend(opened, pre_close_S, config.events, payer)
        members = index_members(session, universe, state, index_S)
        monday = index == 0 or session.isocalendar()[:2] != calendar[index - 1].isocalendar()[:2]
        day = with_news(session_day(universe, opened, pre_close_S, rng), universe, config.events, rng)
        day = with_impact(day, universe, opened, impact) if config.signal else day
        day = day if lottery is None else with_lottery(day, lottery, config.seed, index)
        flows, ticks = (day_flows if config.daily else minute_flows)(day, rng), None
        if config.ticks:
            flows, ticks = tick_flows(session, universe, day, flows, np.random.default_rng([config.seed, 5, index]))
        close_S = np.where(day.traded_S, np.rint(flows["close"][:, -1] * TICKS).astype(np.int64), pre_close_S)
        state = evening(opened, day, close_S, impact, rng)
        ahead_S = 0.0 if lottery is None else lottery.ahead(day.style_SK, REMAINING_L)
        daily = daily_bars(session, universe, state, day, flows, listing_dates(universe, state, calendar, index))
        suspended = daily.filter("suspended").select("symbol", "close")
        copy, correction = FirstCopy(pl.DataFrame()), None
        if not config.daily:
            copy, correction = delivery(config, calendar, index, traded_bars(session, universe, day, flows), suspended)
        yield SessionTables(
            session=session,
            minute_bars=copy.bars,
            daily_bars=daily,
            index_members=members if monday else members.clear(),
            oracle=traded_rows(session, universe, day, oracle(universe, state, impact, ahead_S)),
            styles=traded_rows(session, universe, day, style_columns(names, day.style_SK)),
            correction=correction,
            truncated=copy.truncated,
            ticks=ticks,
        )


def with_lottery(day: Day, lottery: Lottery, seed: int, index: int) -> Day:
    """Put a lottery's styles in the place of the planted ones; every other draw stays."""
    style_SK = lottery.values(seed, index, len(day.style_SK))
    return replace(day, style_SK=style_SK, tilts=lottery.tilts(style_SK, np.random.default_rng([seed, 8, index])))


@cache
def lottery_of(seed: int) -> Lottery:
    """Return the styles of a seed: the first draw whose oracle finds enough in a reference exchange.

    An exchange's own size and seed do not enter, so a seed means the same styles in every exchange.
    """
    return next(each for attempt in count() if oracle_rank_ic(each := drawn(seed, attempt)) >= LEAST_RANK_IC)


def styles_of(config: ExchangeConfig) -> Lottery | None:
    """Return the styles that a configuration draws, None for the planted ones."""
    return None if config.styles is None else lottery_of(config.styles)


def oracle_rank_ic(lottery: Lottery, config: ExchangeConfig = REFERENCE) -> float:
    """Return the mean RankIC of the styles' oracle with the return from the close of t + 1 to that of t + 6."""
    history = list(simulate(config, lottery))
    price, ahead = pl.col("close") * pl.col("adj_factor"), SPREAD + 1
    moves = (price.shift(-ahead) / price.shift(-1)).over("symbol", order_by="session")
    labelled = pl.concat(tables.daily_bars for tables in history).with_columns(label=moves)
    both = labelled.join(pl.concat(tables.oracle for tables in history), on=["session", "symbol"]).drop_nulls("label")
    by_session = both.group_by("session").agg(pl.corr("intraday", "label", method="spearman").alias("rank_ic"))
    return float(by_session.select(pl.col("rank_ic").mean()).item())


def require_possible(config: ExchangeConfig) -> None:
    """Raise UsageError for fewer than three symbols, no session, an ending calendar, or ticks without minutes."""
    if config.daily and (config.ticks or config.defects != Defects()):
        raise UsageError(
            code="FPM-SIM-003",
            wrong="an exchange without minutes has neither ticks nor defects of minutes",
            effect="nothing was simulated",
            todo="leave out --daily, or --ticks and --defects",
        )
    if config.symbols < 3 or config.sessions < 1:
        raise UsageError(
            code="FPM-SIM-001",
            wrong=f"an exchange of {config.symbols} symbols and {config.sessions} sessions",
            effect="nothing was simulated",
            todo="use at least 3 symbols (one per index) and 1 session",
        )
    _calendar(config)


def _calendar(config: ExchangeConfig) -> list[date]:
    """The exchange's sessions and those after them whose news is known before."""
    return next_sessions(MARKET, config.first - timedelta(days=1), config.sessions + NOTICE + 1)


def tick_flows(
    session: date, universe: Universe, day: Day, flows: dict[str, np.ndarray], rng: np.random.Generator
) -> tuple[dict[str, np.ndarray], TickTables]:
    """Return the flows as sums of generated ticks, and these ticks; symbols that did not trade keep their flows."""
    traded = np.flatnonzero(day.traded_S)
    names = [universe.symbols[i] for i in traded]
    sums, ticks = with_ticks(session, names, {name: flow_ST[traded] for name, flow_ST in flows.items()}, rng)
    merged = {name: flow_ST.copy() for name, flow_ST in flows.items()}
    for name, flow_ST in sums.items():
        merged[name][traded] = flow_ST
    return merged, ticks


def traded_bars(session: date, universe: Universe, day: Day, flows: dict[str, np.ndarray]) -> pl.DataFrame:
    """Return the true minute bars of the symbols that traded."""
    traded = np.flatnonzero(day.traded_S)
    names = [universe.symbols[i] for i in traded]
    return minute_bars(session, names, {name: flow_ST[traded] for name, flow_ST in flows.items()})


def traded_rows(session: date, universe: Universe, day: Day, columns: dict[str, np.ndarray]) -> pl.DataFrame:
    """Return one row of the columns, (S,) each, for every symbol that traded."""
    traded = np.flatnonzero(day.traded_S)
    names = [universe.symbols[i] for i in traded]
    return by_symbol(session, names, {name: value_S[traded] for name, value_S in columns.items()})


def delivery(
    config: ExchangeConfig, calendar: list[date], index: int, true_bars: pl.DataFrame, suspended: pl.DataFrame
) -> tuple[FirstCopy, Correction | None]:
    """Return the first copy of a session and, if it is late or wrong for some symbols, the correction."""
    every = config.spoiled_every
    phase = index % every if every else -1
    bars, spoiled = true_bars, frozenset[str]()
    if phase in (every // 4, 3 * every // 4):
        rng = np.random.default_rng([config.seed, 3, index])
        symbols = true_bars["symbol"].unique(maintain_order=True)
        numbers = rng.choice(len(symbols), min(SPOILED_SYMBOLS, len(symbols)), replace=False)
        spoiled = frozenset(symbols.gather(np.sort(numbers)))
        bars = spoil(true_bars, sorted(spoiled), late=phase == every // 4)
    copy = first_copy(bars, suspended, config.defects, [config.seed, 4, index])
    wrong = spoiled | copy.spoiled
    if not wrong:
        return copy, None
    known_at = cut_off(MARKET, calendar[index + CORRECTION_DELAY]) - timedelta(hours=6)
    return copy, Correction(known_at, true_bars.filter(pl.col("symbol").is_in(list(wrong))))


def write(config: ExchangeConfig, folder: Path, progress: Callable[[int, int], None] | None = None) -> None:
    """Write the exchange as vendor files; `exchange.json` names its configuration and whether it is complete.

    What no vendor has, the oracle, lies in a folder of its own, which no ingest of `folder` reads (`ORACLE`).
    An exchange without minutes also writes the oracle's scores as somebody's own, `scores.parquet`.
    A complete folder of the same configuration stays untouched; an interrupted one is completed with the same bytes.
    Every file appears whole, by rename. `progress` gets (sessions written, all sessions) after every session.
    Raises UsageError if the folder holds anything else.
    """
    require_possible(config)
    text = _settings(config)
    if _is_complete(folder, text):
        return
    folder.mkdir(parents=True, exist_ok=True)
    for sub in () if config.daily else ("minute_bars", "corrections/minute_bars"):
        (folder / sub).mkdir(parents=True, exist_ok=True)
    _write_whole(folder / "exchange.json", json.dumps({"complete": False, "config": text}, indent=1).encode())
    daily, members, answers, known_at = [], [], [], {}
    for done, tables in enumerate(simulate(config), start=1):
        name = f"minute_bars/{tables.session}.parquet"
        if len(tables.minute_bars):  # a late file comes with the corrections
            content = _parquet(tables.minute_bars)
            _write_whole(folder / name, content[: len(content) // 2] if tables.truncated else content)
        if tables.correction is not None:
            _write_whole(folder / "corrections" / name, _parquet(tables.correction.minute_bars))
            known_at[name] = tables.correction.known_at.isoformat()
        if tables.ticks is not None:
            for stream, records in vars(tables.ticks).items():
                (folder / stream).mkdir(exist_ok=True)
                _write_whole(folder / stream / f"{tables.session}.parquet", _parquet(records))
        daily.append(tables.daily_bars)
        members.append(tables.index_members)
        answers.append(tables.oracle)
        if progress is not None:
            progress(done, config.sessions)
    for table, frames in (("daily_bars", daily), ("index_members", members)):
        _write_whole(folder / f"{table}.parquet", _parquet(pl.concat(frames)))
    (folder / ORACLE).parent.mkdir(exist_ok=True)
    _write_whole(folder / ORACLE, _parquet(pl.concat(answers)))
    if config.daily:
        scores = pl.concat(answers).select("symbol", "session", score="combined", stream=pl.lit("oracle"))
        _write_whole(folder / "scores.parquet", _parquet(scores))
    if not config.daily:
        _write_whole(folder / "corrections" / "known_at.json", json.dumps(known_at, indent=1).encode())
    _write_whole(folder / "exchange.json", json.dumps({"complete": True, "config": text}, indent=1).encode())


def _settings(config: ExchangeConfig) -> dict[str, object]:
    settings = {**asdict(config), "first": config.first.isoformat()}
    return {name: value for name, value in settings.items() if name != "styles" or value is not None}


def _is_complete(folder: Path, settings: dict[str, object]) -> bool:
    """Return whether the folder holds all of this exchange; raises UsageError if it holds something else."""
    path = folder / "exchange.json"
    manifest = _manifest(path) if path.exists() else None
    conflict = any(folder.glob("[!.]*")) if manifest is None else manifest.get("config") != settings
    if conflict:
        raise UsageError(
            code="FPM-SIM-002",
            wrong=f"{folder} holds {'other files' if manifest is None else 'an exchange of another config'}",
            effect="nothing was written",
            todo="name an empty folder, or remove this one yourself",
        )
    return manifest is not None and bool(manifest.get("complete")) and (folder / ORACLE).is_file()


def _manifest(path: Path) -> dict[str, object]:
    """What a manifest says; a damaged one says nothing, so that its folder is another exchange's."""
    try:
        content = from_json(path.read_bytes())
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def _parquet(frame: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.write_parquet(buffer, compression="zstd", compression_level=1)
    return buffer.getvalue()


def _write_whole(path: Path, content: bytes) -> None:
    """Write a file that appears whole or not at all; a repeated run overwrites an unfinished one beside it."""
    unfinished = path.with_name(f".{path.name}.unfinished")
    unfinished.write_bytes(content)
    unfinished.replace(path)
