"""Publish a session in one transaction, if complete: fingerprints, factors, scores, weights, orders, fills, decisions.

While a new vintage takes over, the fingerprints of the former one go online beside its own.

Running it again changes nothing; a correction of the published session replaces it; an older session never does: its
corrections are entered in the history.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING

import polars as pl

from fpm.errors import InputRefused, TryLater
from fpm.schema import CLOCKS, STREAMS, TABLES
from fpm.store.jobs.inputs import Window
from fpm.store.lake.files import empty
from fpm.store.ledger.ledger import Publication
from fpm.store.log import log
from fpm.store.online.history import retire
from fpm.store.online.publication import former_vintage, publish_online, published_session
from fpm.store.online.webhook import announce
from fpm.universe import COLUMNS, excused

if TYPE_CHECKING:
    from datetime import date

    from fpm.store.ledger.stores import Stores

NAME = "publish"
VIEWS = ("daily_factors", "fingerprints", "scores", "score_intervals", "weights", "orders", "trades", "decisions")
YOUNG = ("score_intervals",)  # a session of before has no rows of it
NEEDED = {view: Window(required=view not in YOUNG) for view in VIEWS}
READS = {**NEEDED, "daily_bars": Window()}
WRITES = ()
MODELS = ("scorer",)  # names the vintage whose fingerprints are needed


@dataclass(frozen=True)
class PublishConfig:
    """The bounds of a complete session.

    `scored`: least share of the symbols that traded, for fingerprints and every stream. `empty`: largest share of empty
    cells among these symbols' daily factors. `universe`: least share of the symbols of the last published session, less
    those halted or delisted since, that have a score.
    """

    scored: float = 0.9
    empty: float = 0.2
    universe: float = 0.95


PRESETS = {
    "default": PublishConfig(),
    "demo": PublishConfig(scored=0.8),
    "short": PublishConfig(scored=0.5, empty=0.6, universe=0.9),  # 60-session factors cannot exist in 44 sessions
    "tiny": PublishConfig(scored=0.5, empty=0.9, universe=0.75),  # one of twelve is more than a twentieth
}


def run(session: date, stores: Stores) -> None:
    """Publish the session as it is known now; else what is online stays.

    Raises TryLater where it is incomplete, InputRefused where its universe shrank.
    """
    current = stores.as_of(None)
    vintage, model = served_models(session, current)
    former = former_vintage(session, vintage, current)
    beside = with_fingerprints(session, former, current)
    frames = offline_views(session, vintage, current)
    _refuse_incomplete(session, frames, current)
    _refuse_shrunken(session, frames["scores"], current)
    frames["fingerprints"] = pl.concat([frames["fingerprints"], former_fingerprints(session, beside, current)])
    attempt = current.ledger.latest(NAME, session.isoformat())
    content = _content(session, vintage, beside, current)
    publication = Publication(session, VIEWS, attempt.attempt if attempt else 0, content, vintage, model)
    status = publish_online(publication, frames, current)
    retire(published_session(current) or session, current)
    announce(current)
    words = _words(status, session, current)
    if beside:
        words += f"; {former} beside it"
    elif former:
        log.error("the hand-over ends early", session=session.isoformat(), former=former)
        words += f"; {former} not beside it: it has no fingerprints of the session"
    if attempt is not None:
        current.ledger.note(attempt, words)
    log.info(status, session=session.isoformat(), vintage=vintage, model=model, what=words)


def _words(status: str, session: date, stores: Stores) -> str:
    """The outcome of the publication, for the ledger and its readers."""
    if status == "superseded":
        return f"not put online: {published_session(stores)} is"
    number, publication = stores.ledger.publications(session)[0]
    place = "" if status != "corrected" else f" of the history ({published_session(stores)} is online)"
    return f"publication {number}{place}" + (f", in place of {publication.replaces}" if publication.replaces else "")


def served_models(session: date, stores: Stores) -> tuple[str, str]:
    """Vintage and scorer of the session's scores. Raises TryLater where the scores come from several."""
    scores = stores.read("scores", session, columns=["vintage", "model"]).drop_nulls()
    pairs = scores.unique().rows()
    if len(pairs) != 1:
        raise _incomplete(session, f"its scores come from {len(pairs)} pairs of vintage and scorer")
    return str(pairs[0][1]), str(pairs[0][2])


def offline_views(session: date, vintage: str, stores: Stores) -> dict[str, pl.DataFrame]:
    """Every view of the session from the lake: keys, columns, clocks; withdrawn rows are left out."""
    return {view: _offline(view, session, vintage if TABLES[view].by_vintage else None, stores) for view in VIEWS}


def _offline(view: str, session: date, vintage: str | None, stores: Stores) -> pl.DataFrame:
    rows = stores.read(view, session, session if view in YOUNG else None, vintage=vintage)
    younger = [pl.lit(None).alias(name) for name in TABLES[view].columns if name not in rows.columns]
    return standing(view, rows.with_columns(younger).select(*TABLES[view].columns, *CLOCKS))


def with_fingerprints(session: date, former: str | None, stores: Stores) -> str | None:
    """The former vintage, or None where it has no fingerprints of the session.

    A vintage that fails, or that this code cannot read, ends its hand-over early and never delays the one in force.
    """
    return former if former and session in stores.sessions("fingerprints", former) else None


def former_fingerprints(session: date, former: str | None, stores: Stores) -> pl.DataFrame:
    """The session's fingerprints under the vintage that is being handed over; no rows where that is None."""
    if former is None:
        return empty(TABLES["fingerprints"]).select(*TABLES["fingerprints"].columns, *CLOCKS)
    return _offline("fingerprints", session, former, stores)


def standing(table: str, rows: pl.DataFrame) -> pl.DataFrame:
    """The rows that have a value: a correction withdraws a row by a version without any."""
    values = [name for name in rows.columns if name not in (*TABLES[table].keys, *CLOCKS, "session")]
    return rows.filter(pl.any_horizontal(pl.col(*values).is_not_null()))


def _refuse_incomplete(session: date, frames: dict[str, pl.DataFrame], stores: Stores) -> None:
    config = PRESETS[stores.settings.preset]
    daily = stores.read("daily_bars", session, columns=["symbol", "volume"])
    traded = set(daily.filter(pl.col("volume") > 0)["symbol"].to_list())
    scores = frames["scores"].drop_nulls("score")
    present = {"fingerprints": frames["fingerprints"].drop_nulls("fingerprint")["symbol"]} | {
        f"{stream} scores": scores.filter(pl.col("stream") == stream)["symbol"] for stream in STREAMS
    }
    for name, symbols in present.items():
        share = len(traded & set(symbols.to_list())) / max(1, len(traded))
        if share < config.scored:
            raise _incomplete(
                session, f"{name} for {share:.0%} of {len(traded)} traded symbols, {config.scored:.0%} needed"
            )
    share = _empty_share(frames["daily_factors"].drop(CLOCKS), traded)
    if share > config.empty:
        raise _incomplete(session, f"{share:.0%} of the daily factors are empty, {config.empty:.0%} allowed")
    if frames["weights"].is_empty():
        raise _incomplete(session, "no weights")


def _refuse_shrunken(session: date, scores: pl.DataFrame, stores: Stores) -> None:
    """Refuse a session that lost symbols of the last published one before it without a reason."""
    earlier = [publication.session for _, publication in stores.ledger.publications() if publication.session < session]
    if not earlier:
        return
    last, config = max(earlier), PRESETS[stores.settings.preset]
    today, before = (stores.read("daily_bars", day, columns=COLUMNS) for day in (session, last))
    expected = _scored(standing("scores", stores.read("scores", last))) - excused(session, today, before)
    lost = sorted(expected - _scored(scores))
    share = 1 - len(lost) / max(1, len(expected))
    if share < config.universe:
        shown = ", ".join(lost[:5]) + (f" and {len(lost) - 5} more" if len(lost) > 5 else "")
        raise InputRefused(
            code="FPM-PUB-010",
            wrong=f"{session} has scores of {len(expected) - len(lost)} of {len(expected)} symbols of {last} that are"
            f" neither halted nor delisted ({share:.0%}, {config.universe:.0%} needed): {shown} are missing",
            effect="nothing was published, what was online stays",
            todo="ingest their bars and run the night again; where they left the market, give daily_bars that say so"
            " (suspended, delist_date)",
        )


def _scored(scores: pl.DataFrame) -> set[str]:
    """Symbols with a score in every stream."""
    counts = scores.drop_nulls("score").group_by("symbol").agg(pl.col("stream").n_unique())
    return set(counts.filter(pl.col("stream") == len(STREAMS))["symbol"].to_list())


def _empty_share(factors: pl.DataFrame, traded: set[str]) -> float:
    """Share of empty cells among the factors of the symbols that traded; a symbol without a row has only empty ones."""
    ours = factors.filter(pl.col("symbol").is_in(list(traded))).drop("symbol")
    filled = ours.height * ours.width - sum(ours.null_count().row(0))
    cells = len(traded) * ours.width
    return float(cells - filled) / max(1, cells)


def _content(session: date, vintage: str, former: str | None, stores: Stores) -> str:
    """Digest of the published files, after a check of their bytes against the ledger."""
    absent = [view for view in YOUNG if not stores.lake.files(view, session, session)]
    files = [(view, vintage if TABLES[view].by_vintage else None) for view in VIEWS if view not in absent]
    if former:
        files.append(("fingerprints", former))
    for view, of_vintage in files:
        stores.verify(view, session, of_vintage)
    paths = [stores.lake.relative(view, session, of_vintage) for view, of_vintage in files]
    current = stores.ledger.current(list(VIEWS))
    return sha256("\n".join(f"{path} {current[path].sha256}" for path in paths).encode()).hexdigest()


def _incomplete(session: date, reason: str) -> TryLater:
    return TryLater(
        code="FPM-PUB-200",
        wrong=f"{session} is not complete: {reason}",
        effect="nothing was published, what was online stays",
        todo=f"see `fpm status {session}`, run what is missing, publish again",
    )
