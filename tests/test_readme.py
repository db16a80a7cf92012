"""The README's shell and Python blocks, run as a reader would: one after the other, on the reader's own bars."""

import re
import sys
from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from fpm.sessions import market, sessions_between
from fpm.store.postgres.server import connect, stop_server
from fpm.store.settings import Settings
from tests.shell import bash, run

README = (Path(__file__).parent.parent / "README.md").read_text()
SYMBOLS = ("AAA", "BBB", "CCC", "DDD", "EEE", "FFF")
FIRST, LAST = date(2018, 2, 16), date(2018, 4, 20)


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def own_bars(path: Path) -> None:
    """Minute bars as the README describes them: naive New York time, stamped by END, raw prices in cents, shares."""
    rng = np.random.default_rng(20180216)
    frames = [_session(symbol, day, rng) for day in sessions_between(market("us"), FIRST, LAST) for symbol in SYMBOLS]
    pl.concat(frames).sort("symbol", "minute").write_parquet(path)


def _session(symbol: str, day: date, rng: np.random.Generator) -> pl.DataFrame:
    start = datetime.combine(day, time(9, 30))  # naive, as the README says
    price = np.round(40 + 5 * SYMBOLS.index(symbol) + np.cumsum(rng.normal(0, 0.02, 391)), 2)
    opened, closed = price[:-1], price[1:]
    return pl.DataFrame(
        {
            "symbol": symbol,
            "minute": [start + timedelta(minutes=number) for number in range(1, 391)],
            "open": opened,
            "high": np.round(np.maximum(opened, closed) + 0.01, 2),
            "low": np.round(np.minimum(opened, closed) - 0.01, 2),
            "close": closed,
            "volume": rng.integers(100, 5000, 390),
        }
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where the reader works: own bars, then everything the first shell block says."""
    folder = tmp_path_factory.mktemp("reader")
    own_bars(folder / "bars-2018.parquet")
    yield folder
    stop_server(Settings(home=folder / ".fpm-us"))


def test_the_blocks_run_in_the_order_of_the_page(folder: Path) -> None:
    bring, export, frame = blocks("bash")
    (python,) = blocks("python")
    home = folder / ".fpm-us"
    bash(bring, folder, home)
    assert (home / "reports" / "report.html").stat().st_size > 100_000
    bash(export, folder, home)
    assert pl.read_parquet(folder / "scores.parquet")["stream"].n_unique() == 3
    run([sys.executable, "-c", python + "\nassert frame.height == latest.height == 6"], folder, home)
    bash(frame, folder, home)
    rows = pl.read_parquet(folder / "frame.parquet")
    assert rows["symbol"].to_list() == [f"{symbol}.US" for symbol in SYMBOLS] and rows["fingerprint"].null_count() == 0


def test_the_query_runs_for_a_reader(folder: Path) -> None:
    (query,) = blocks("sql")
    with connect(Settings(home=folder / ".fpm-us"), role="reader") as connection:
        columns = [column.name for column in connection.execute(query.encode()).description or ()]
    assert columns == ["symbol", "score", "spread", "session", "published_at"]
