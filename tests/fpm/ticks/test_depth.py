"""Books that no exchange shows (RELIABILITY 36 and 37)."""

from datetime import time

import polars as pl
import pytest

from fpm.ingest.quarantine import first_faults
from fpm.ticks.depth import depth_checks, synonyms

GOOD = {
    **{f"bid_price{level}": 10.01 - level / 100 for level in range(1, 11)},
    **{f"ask_price{level}": 10.01 + level / 100 for level in range(1, 11)},
    **{f"{side}_qty{level}": 100 * level for side in ("bid", "ask") for level in range(1, 11)},
}


def fault(clock: str = "10:00:00", **cells: object) -> tuple[str, str] | None:
    """Code and reason of one book, GOOD but for these cells."""
    at = time.fromisoformat(clock)
    row = {**GOOD, **cells, "row": 0, "time": (at.hour * 3600 + at.minute * 60 + at.second) * 1000}
    kinds = {name: pl.Float64 for name in row if "price" in name}
    rows = pl.DataFrame([row], schema_overrides=kinds)
    found = first_faults(rows, depth_checks(row), keys=("row",))
    return None if found.is_empty() else found.select("reason_code", "reason").row(0)


def test_a_sound_book_has_no_fault() -> None:
    assert fault() is None


@pytest.mark.parametrize("ask", [10.00, 9.99])
def test_case_36_a_crossed_book(ask: float) -> None:
    assert fault(ask_price1=ask) == ("FPM-IN-186", f"crossed book: bid 10.0, ask {ask}")


@pytest.mark.parametrize("clock", ["09:20:00", "09:27:00", "14:58:00", "15:00:02", "12:00:00"])
def test_case_36_in_a_call_the_first_level_is_the_price_that_would_match(clock: str) -> None:
    assert fault(clock, ask_price1=10.00) is None


@pytest.mark.parametrize(
    ("phase", "judged"), [("TRADE", True), ("T111", True), (None, True), ("H0", False), ("V1", False)]
)
def test_case_36_while_trading_is_interrupted_nothing_is_judged(phase: str | None, judged: bool) -> None:
    assert (fault(ask_price1=10.00, phase=phase) is not None) is judged


def test_case_36_at_a_limit_one_side_is_empty() -> None:
    empty = {f"ask_{kind}{level}": 0 for kind in ("price", "qty") for level in range(1, 11)}
    assert fault(**empty) is None
    assert fault(**dict.fromkeys(empty)) is None


def test_case_37_levels_lie_behind_each_other() -> None:
    code, reason = fault(bid_price3=9.99) or ("", "")  # as the second
    assert (code, reason) == ("FPM-IN-187", "bid level 3 (9.99) does not lie behind level 2 (9.99)")
    assert (fault(ask_price10=10.05) or ("",))[0] == "FPM-IN-187"


def test_case_37_no_level_and_no_size_behind_an_empty_one() -> None:
    assert fault(ask_price4=0.0, ask_qty4=0) == ("FPM-IN-187", "ask level 5 is there, level 4 is empty")
    assert fault(bid_price10=None) == ("FPM-IN-187", "bid level 10 has the size 1000 and no price")
    assert fault(bid_price10=None, bid_qty10=0) is None  # a book of nine levels


def test_names_of_other_vendors() -> None:
    names = synonyms()
    assert {"BidPrice1", "bid1_price", "bid_price_1", "BidPx1"} <= set(names["bid_price1"])
    assert {"OfferPrice10", "AskPrice10"} <= set(names["ask_price10"])
    assert {"OfferOrderQty2", "AskVolume2", "ask2_volume", "ask_volume2"} <= set(names["ask_qty2"])
    words = [word for own, others in names.items() for word in (own, *others)]
    assert len(words) == len(set(words))
