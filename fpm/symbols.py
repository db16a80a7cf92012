"""Symbols: one canonical form for every spelling of a code; anything that is no code is refused.

The canonical form carries the exchange: `600519.SH`, `AAPL.US`, `BTCUSDT.BN`, `RELIANCE.NS`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fpm.markets import Market

ALLOWED = re.compile(r"[0-9A-Z&._-]{1,24}")
# Exchange names in vendor files: ISO 10383 codes, Wind and Tushare suffixes, Sina and baostock (`sh.600000`) prefixes.
EXCHANGES = {
    "SH": "SH",
    "SS": "SH",
    "SSE": "SH",
    "XSHG": "SH",
    "SZ": "SZ",
    "SZSE": "SZ",
    "XSHE": "SZ",
    "BJ": "BJ",
    "BSE": "BJ",
    "XBSE": "BJ",
}
# First digits of equity and fund codes: Shanghai 60 68 90 5, Shenzhen 00 30 20 15 16, Beijing 43 83 87 88 92.
CN_CODES = re.compile(r"(?P<SH>60|68|90|5\d)|(?P<SZ>00|30|20|15|16|399)|(?P<BJ>43|83|87|88|92)")
CN_FORMS = re.compile(r"(?:(?P<before>SH|SZ|BJ)\.?)?(?P<code>\d{6})(?:\.(?P<after>[A-Z]{2,4}))?")
# Index codes of Shanghai and CSI (000xxx.SH), and of Shenzhen (399xxx.SZ). No stock of Shenzhen has the code 000300.
INDEX_CODES = re.compile(r"000\d{3}\.SH|399\d{3}\.SZ|000300\.SZ")
CHINESE = "XSHG"  # the calendar of every market with six-digit codes


@dataclass(frozen=True)
class Reading:
    """The canonical symbol of a spelling, or None with the code and the reason of the refusal."""

    symbol: str | None
    reason_code: str = ""
    reason: str = ""


def refused(*, code: str, wrong: str) -> Reading:
    """The reading of a spelling that is no symbol."""
    return Reading(None, code, wrong)


def normalise(spelling: str, market: Market) -> Reading:
    """The canonical symbol of one spelling, or a refusal.

    A bare Chinese code takes its exchange from its first two digits; one that no exchange claims is ambiguous.

    >>> from fpm.sessions import market
    >>> [normalise(spelling, market("cn")).symbol for spelling in ("600519", "sh600519", "600519.XSHG")]
    ['600519.SH', '600519.SH', '600519.SH']
    >>> normalise("SH600519.SZ", market("cn")).reason_code
    'FPM-IN-030'
    """
    upper = spelling.strip(" \t").upper() if spelling.isascii() else ""
    if not ALLOWED.fullmatch(upper) or ".." in upper:
        shown = spelling[:40]
        return refused(
            code="FPM-IN-031", wrong=f"symbol {shown!r} has characters or a length outside [0-9A-Z&._-]{{1,24}}"
        )
    reading = _chinese(upper) if market.calendar == CHINESE else _plain(upper, market)
    if reading.symbol and market.calendar == CHINESE and INDEX_CODES.fullmatch(reading.symbol):
        return refused(code="FPM-IN-037", wrong=f"{reading.symbol} is an index, not a stock")
    return reading


def _chinese(upper: str) -> Reading:
    form = CN_FORMS.fullmatch(upper)
    if not form:
        return refused(code="FPM-IN-030", wrong=f"symbol {upper!r} is not a six-digit code (with its exchange)")
    code, exchanges = form["code"], {EXCHANGES.get(name, name) for name in (form["before"], form["after"]) if name}
    by_digits = CN_CODES.match(code)
    if not exchanges and by_digits:
        return Reading(f"{code}.{by_digits.lastgroup}")
    if len(exchanges) == 1 and exchanges <= {"SH", "SZ", "BJ"}:
        return Reading(f"{code}.{exchanges.pop()}")
    return refused(code="FPM-IN-030", wrong=f"symbol {upper!r} may be {code}.SH, {code}.SZ or {code}.BJ")


def _plain(upper: str, market: Market) -> Reading:
    code = upper.removesuffix(f".{market.suffix}")
    whole = f"{code}.{market.suffix}"
    if not re.fullmatch(market.exchange.codes, code) or CN_FORMS.fullmatch(code):
        return refused(code="FPM-IN-030", wrong=f"symbol {upper!r} is not a code of market {market.name}")
    if len(whole) > 24:
        return refused(code="FPM-IN-031", wrong=f"symbol {whole!r} is longer than 24 characters")
    return Reading(whole)


def symbol_table(spellings: Iterable[str], market: Market) -> pl.DataFrame:
    """One row a spelling: spelling, symbol (null where refused), reason_code, reason."""
    readings = [(spelling, normalise(spelling, market)) for spelling in sorted(set(spellings))]
    rows = [(spelling, reading.symbol, reading.reason_code, reading.reason) for spelling, reading in readings]
    schema = {"spelling": pl.String, "symbol": pl.String, "reason_code": pl.String, "reason": pl.String}
    return pl.DataFrame(rows, schema=schema, orient="row")


def with_symbols(rows: pl.DataFrame, market: Market) -> pl.DataFrame:
    """`rows` in their order, with the canonical `symbol` (null where refused) and the file's own as `spelling`.

    `symbol_code` and `symbol_reason` say why a symbol is refused; they are empty where it is not.
    """
    spelled = rows.rename({"symbol": "spelling"}).with_columns(pl.col("spelling").cast(pl.String))
    table = symbol_table(spelled["spelling"].drop_nulls().unique(), market)
    if table.height and not table["symbol"].null_count() and not spelled["spelling"].null_count():
        symbols = pl.col("spelling").replace_strict(table["spelling"], table["symbol"], return_dtype=pl.String)
        return spelled.with_columns(symbols.alias("symbol"), symbol_code=pl.lit(""), symbol_reason=pl.lit(""))
    table = table.rename({"reason_code": "symbol_code", "reason": "symbol_reason"})
    return spelled.join(table, on="spelling", how="left", maintain_order="left").with_columns(
        pl.col("symbol_code").fill_null("FPM-IN-031"), pl.col("symbol_reason").fill_null("the row has no symbol")
    )
