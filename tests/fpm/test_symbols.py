"""Spellings from vendor files, each with its one symbol."""

import pytest

from fpm.sessions import market
from fpm.symbols import Reading, normalise


@pytest.mark.parametrize(
    ("name", "spelling", "symbol"),
    [
        ("cn", "600000", "600000.SH"),
        ("cn", "sh600000", "600000.SH"),
        ("cn", "sh.600000", "600000.SH"),
        ("cn", "600000.XSHG", "600000.SH"),
        ("cn", "600000.SS", "600000.SH"),
        ("cn", "000001", "000001.SZ"),
        ("cn", "SZ300750", "300750.SZ"),
        ("cn", "430047", "430047.BJ"),
        ("us", "AAPL", "AAPL.US"),
        ("us", "brk.b", "BRK.B.US"),
        ("us", "AAPL.US", "AAPL.US"),
        ("crypto", "1000PEPEUSDT", "1000PEPEUSDT.BN"),
        ("us", " MSFT ", "MSFT.US"),
        ("nse", "BAJAJ_AUTO", "BAJAJ_AUTO.NS"),
        ("nse", "M&M", "M&M.NS"),
        ("nse", "J&KBANK", "J&KBANK.NS"),
        ("XHKG", "00700", "00700.HKG"),
    ],
)
def test_one_symbol_for_every_spelling(name: str, spelling: str, symbol: str) -> None:
    assert normalise(spelling, market(name)) == Reading(symbol)


@pytest.mark.parametrize(
    "spelling",
    [
        "../../etc/passwd",
        "a/b",
        "A\x00B",
        "A" * 10_000,
        "\N{ROCKET}",
        "\uff16\uff10\uff10\uff10\uff10\uff10",
        "\u202e600000",
        "",
        " ",
        "A..B",
    ],
)
def test_an_unsafe_symbol_is_refused(spelling: str) -> None:
    reading = normalise(spelling, market("us"))
    assert (reading.symbol, reading.reason_code) == (None, "FPM-IN-031")
    assert len(reading.reason) < 200


@pytest.mark.parametrize(
    ("name", "spelling"), [("cn", "712345"), ("cn", "SH600000.SZ"), ("cn", "AAPL"), ("us", "600000.SH")]
)
def test_an_ambiguous_symbol_is_refused(name: str, spelling: str) -> None:
    reading = normalise(spelling, market(name))
    assert (reading.symbol, reading.reason_code) == (None, "FPM-IN-030")


@pytest.mark.parametrize("spelling", ["sh000300", "000300", "000001.SH", "399001.SZ", "399006"])
def test_an_index_is_no_stock(spelling: str) -> None:
    reading = normalise(spelling, market("cn"))
    assert (reading.symbol, reading.reason_code) == (None, "FPM-IN-037")
    assert "is an index" in reading.reason
