"""Truncate or distort history after t and run the whole chain again: everything up to t keeps its bytes.

Two deployments get the same raw files up to session t. One gets no more; the other also gets later sessions with
distorted prices and volumes. Features, factors, fingerprints, models, scores and weights up to t must be equal byte for
byte; anything that differs would use the future.
"""

from dataclasses import replace
from datetime import date
from pathlib import Path

import polars as pl
import pytest

from fpm.commands import jobs
from fpm.exchange import simulate
from fpm.leaks.checks import Frames, first_leak
from fpm.schema import L2_32, PRICES
from fpm.sessions import cut_off
from fpm.store.ledger.stores import Stores
from fpm.store.postgres.server import Server
from producers import bars
from tests.small_chain import compute, opened, quiet

SESSIONS, TRUNCATED_AT, FIRST_SCORED = 44, 40, 36
HIGHER = 1.04  # further than the limit of a board, and the session would be set aside
DERIVED = ("session_totals", "minute_features", "daily_factors", "fingerprints", "scores", "weights")


def deliver(source: Path, target: Path, last: date, distort_after: date | None) -> None:
    """Copy a delivery up to `last`; sessions after `distort_after` get other prices and volumes."""
    (target / "minute_bars").mkdir(parents=True)
    for path in sorted((source / "minute_bars").glob("*.parquet")):
        session = date.fromisoformat(path.stem)
        if session <= last:
            rows = pl.read_parquet(path)
            late = distort_after is not None and session > distort_after
            (_distorted(rows) if late else rows).write_parquet(target / "minute_bars" / path.name)
    for name in ("daily_bars", "index_members"):
        rows = pl.read_parquet(source / f"{name}.parquet").filter(pl.col("session") <= last)
        if name == "daily_bars" and distort_after is not None:  # both sources agree, or the session is set aside
            late_rows = _distorted_days(rows.filter(pl.col("session") > distort_after))
            rows = pl.concat([rows.filter(pl.col("session") <= distort_after), late_rows])
        rows.write_parquet(target / f"{name}.parquet")


def _distorted(rows: pl.DataFrame) -> pl.DataFrame:
    """Multiply prices by `HIGHER` and volumes by 3: valid bars with other values."""
    prices = [pl.col(c) * HIGHER for c in PRICES]
    flows = [c for c in rows.columns if c not in ("symbol", "minute", *PRICES)]
    return rows.with_columns(*prices, *[pl.col(c) * (3 * HIGHER if c.endswith("amount") else 3) for c in flows])


def _distorted_days(rows: pl.DataFrame) -> pl.DataFrame:
    """The daily rows of distorted minutes."""
    prices = [pl.col(c) * HIGHER for c in (*PRICES, "pre_close", "limit_up", "limit_down")]
    return rows.with_columns(*prices, pl.col("volume") * 3, pl.col("amount") * 3 * HIGHER)


def chain(stores: Stores, raw: Path) -> None:
    """Ingest and every job up to the portfolio, over all sessions delivered."""
    sessions = sorted(date.fromisoformat(path.stem) for path in (raw / "minute_bars").glob("*.parquet"))
    arrival = cut_off(stores.market, sessions[-1])
    bars.ingest([raw], bars.Arrival(known_at=arrival, now=arrival), stores, quiet)
    compute(stores, sessions[0], sessions[FIRST_SCORED], sessions[-1])
    jobs.backfill("factor_returns", sessions[0], sessions[-1], stores, quiet)
    jobs.backfill("portfolio", sessions[FIRST_SCORED], sessions[-1], stores, quiet)


def visible(home: Path, last: date) -> dict[str, bytes]:
    """Every derived partition up to a session, and every model that one of them used."""
    files = [path for table in DERIVED for path in (home / "lake" / table).rglob("part-0.parquet")]
    contents = {
        str(path.relative_to(home)): path.read_bytes()
        for path in files
        if date.fromisoformat(path.parent.name.removeprefix("session=")) <= last
    }
    used = {name.split("vintage=")[1].split("/")[0] for name in contents if "vintage=" in name}
    models = [path for path in (home / "models").rglob("weights.safetensors") if path.parent.name[:24] in used]
    return contents | {str(path.relative_to(home)): path.read_bytes() for path in models}


@pytest.fixture(scope="module")
def homes(tmp_path_factory: pytest.TempPathFactory, postgres_server: Server) -> tuple[Path, Path, date]:
    """The truncated home, the distorted one, and the session t."""
    source = tmp_path_factory.mktemp("source")
    simulate.write(replace(simulate.PRESETS["tiny"], sessions=SESSIONS, symbols=10, seed=5), source)
    sessions = sorted(date.fromisoformat(path.stem) for path in (source / "minute_bars").glob("*.parquet"))
    t, last = sessions[TRUNCATED_AT], sessions[-1]
    folders = []
    for name, end, distort_after in (("truncated", t, None), ("distorted", last, t)):
        home = tmp_path_factory.mktemp(name)
        deliver(source, home / "raw", end, distort_after)
        with opened(home, postgres_server) as stores:
            chain(stores, home / "raw")
        folders.append(home)
    return folders[0], folders[1], t


@pytest.mark.parametrize("table", [*DERIVED, "models"])
def test_everything_up_to_t_keeps_its_bytes(table: str, homes: tuple[Path, Path, date]) -> None:
    truncated, distorted, t = homes
    expected = {name: data for name, data in visible(truncated, t).items() if table in name.split("/")}
    actual = {name: data for name, data in visible(distorted, t).items() if table in name.split("/")}
    assert expected, f"the chain wrote no {table}"
    differing = [name for name in expected if actual.get(name) != expected[name]]
    assert not differing and set(expected) == {name for name in actual if name in expected}


def test_the_distorted_home_has_later_sessions(homes: tuple[Path, Path, date]) -> None:
    """The distorted home has scores of sessions after t, and the truncated home has none."""
    truncated, distorted, t = homes
    later = [path for path in (distorted / "lake" / "scores").rglob("part-0.parquet") if path.parent.name[8:] > str(t)]
    assert later and not any((truncated / path.relative_to(distorted)).exists() for path in later)


def test_a_planted_leak_in_the_scores_is_caught() -> None:
    """The checker that guards every feature also stops a score that adds tomorrow's return."""
    days = [date(2024, 1, 1 + number) for number in range(8)]
    frame = pl.DataFrame({"session": days, "score": [float(n) for n in range(8)], "close": [1.0 + n for n in range(8)]})

    def leaking(inputs: Frames) -> pl.DataFrame:
        rows = inputs["prices"]
        future = pl.col("close").shift(-1) / pl.col("close") - 1
        return rows.select("session", (pl.col("score") + future.fill_null(0)).alias("score"))

    def honest(inputs: Frames) -> pl.DataFrame:
        return inputs["prices"].select("session", "score")

    assert first_leak(leaking, {"prices": frame}, "session", days[3:6]) == ("score", days[3])
    assert first_leak(honest, {"prices": frame}, "session", days[3:6]) is None


def test_the_features_of_the_profile_are_all_covered(homes: tuple[Path, Path, date]) -> None:
    path = next((homes[0] / "lake" / "minute_features").rglob("part-0.parquet"))
    assert set(L2_32) <= set(pl.read_parquet_schema(path))
