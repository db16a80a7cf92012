"""Price limits as data: what a file may say, and which limit holds."""

import subprocess
import sys
from datetime import date
from pathlib import Path

import polars as pl
import pytest

from fpm.errors import UsageError
from fpm.exchange_facts import read_exchanges
from fpm.price_limits import Limit, with_limits

SECTION = '[th]\ncalendar = "XBKK"\nsuffix = "BK"\n'


def test_an_operators_exchange_may_have_limits(tmp_path: Path) -> None:
    path = tmp_path / "markets.toml"
    path.write_text(SECTION + '[[th.limits]]\ncodes = ".*"\nshare = 0.3\nfree = 1\n')
    assert read_exchanges(path)["th"].limits == (Limit(".*", 0.3, free=1),)


@pytest.mark.parametrize(
    ("table", "wrong"),
    [
        ("share = 0.3", "it lacks codes"),
        ('codes = ".*"\nshare = 30', "share is '30'"),
        ('codes = ".*"\nshare = 3.0', "no share between 0 and 1"),
        ('codes = "("\nshare = 0.3', "no regular expression"),
        ('codes = "(?=a)"\nshare = 0.3', "no regular expression"),
        ('codes = ".*"\nshare = 0.3\nfree = true', "free is 'True'"),
        ('codes = ".*"\nshare = 0.3\nfrom = 2020-01-01', "unknown key from"),
    ],
)
def test_what_is_no_limit_is_refused(tmp_path: Path, table: str, wrong: str) -> None:
    path = tmp_path / "markets.toml"
    path.write_text(f"{SECTION}[[th.limits]]\n{table}\n")
    with pytest.raises(UsageError, match=rf"FPM-CFG-015 .*\[th\] limits, table 1: .*{wrong}"):
        read_exchanges(path)


def test_the_last_limit_that_fits_holds() -> None:
    limits = [Limit("A.*", 0.1), Limit("A.*", 0.05, st=True, last=date(2024, 1, 2)), Limit("AB", 0.2, free=1)]
    rows = pl.DataFrame(
        {
            "symbol": ["A", "A", "A", "AB", "B", "BA"],
            "session": [date(2024, 1, 2)] * 2 + [date(2024, 1, 3)] * 4,
            "st": [None, True, True, True, False, None],
        }
    )
    assert with_limits(rows, limits)["share"].to_list() == [0.1, 0.05, 0.1, 0.2, None, None]
    assert with_limits(rows, limits)["free"].to_list() == [5, 5, 5, 1, None, None]


def test_facts_of_exchanges_start_no_thread() -> None:
    """A process that has threads of Polars' pool forks children whose pool never answers."""
    code = (
        "import os; from fpm.exchange_facts import shipped; "
        "assert any(exchange.limits for exchange in shipped().values()); print(len(os.listdir('/proc/self/task')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "1\n"
