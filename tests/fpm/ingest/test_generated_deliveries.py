"""Whatever a vendor's habits, a stored row is the true one: refused or set aside by code, never silently wrong."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings

from fpm.errors import InputRefused
from fpm.ingest.conventions import Conventions
from fpm.ingest.vendor_bars import Parsed, combine, read_bars
from fpm.sessions import market
from tests.fpm.ingest.generated_deliveries import PRICES, Delivery, deliveries, rows, write
from tests.fpm.ingest.venues import VENUES

NOW = datetime(2026, 6, 1, tzinfo=UTC)
MANY = (HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture)


def earlier(delivery: Delivery, folder: Path) -> Conventions | None:
    """The conventions that a clean delivery of the same vendor shows, where one came before."""
    if not delivery.known:
        return None
    plain = replace(
        delivery, thin=0, gaps=0, late=0, copies=0, conflicts=0, split="whole", suffix=".parquet", untraded="keep",
        sessions=VENUES[delivery.venue].weeks[-1], known=False, amount="all", shifted=False,
    )  # fmt: skip
    folder.mkdir()
    ((path, _),) = write(rows(plain), plain, folder)
    try:
        return read_bars(path, market(plain.venue), NOW).report.conventions
    except InputRefused:
        return None


def outcome(delivery: Delivery, folder: Path) -> str:
    """What became of a delivery, in a word; AssertionError where a stored row is not the true one."""
    known = earlier(delivery, folder / "earlier")
    parsed: list[Parsed] = []
    parts: list[pl.DataFrame] = []
    codes = set()
    for path, part in write(rows(delivery), delivery, folder):
        try:
            parsed.append(read_bars(path, market(delivery.venue), NOW, known))
        except InputRefused as error:
            codes.add(error.code)
            continue
        parts.append(part.with_row_index("row").with_columns(pl.lit(len(parts), pl.UInt16).alias("source")))
    if not parsed:
        return "refused " + ", ".join(sorted(codes))
    combined = combine(parsed, market(delivery.venue))
    truth = pl.concat(parts)
    check(combined.frame, truth)
    quarantined = combined.quarantined.height + sum(file.quarantined.height for file in parsed)
    assert combined.frame.height + quarantined + combined.deduplicated == truth.height, "rows do not balance"
    fit = truth.filter(pl.col("true_slot").is_not_null()).height - delivery.copies
    return "partly refused" if codes else "whole" if combined.frame.height >= fit else "quarantined in part"


def check(stored: pl.DataFrame, truth: pl.DataFrame) -> None:
    """Every stored row against the truth of the row that it comes from."""
    both = stored.join(truth, on=["source", "row"], how="left", maintain_order="left", suffix="_vendor")
    assert both.height == stored.height
    for name in ("symbol", "session", "slot", *PRICES, "volume", "amount"):
        wrong = both.filter(~pl.col(name).eq_missing(pl.col(f"true_{name}")))
        if name == "amount":  # an untraded bar may lack it
            wrong = wrong.filter((pl.col("volume") > 0) | (pl.col("amount") > 0))
        if name in ("volume", "amount"):
            wrong = wrong.filter(~((pl.col(name) / pl.col(f"true_{name}") - 1).abs() < 1e-12).fill_null(False))
        assert wrong.is_empty(), (
            f"{wrong.height} of {both.height} rows have another {name}:\n{wrong.row(0, named=True)}"
        )


@pytest.mark.slow  # red: about one delivery in 85 is still stored wrong (docs/LOG.md); it becomes a gate at none
@settings(max_examples=200, derandomize=True, deadline=None, database=None, suppress_health_check=MANY)
@given(delivery=deliveries())
def test_no_stored_row_is_silently_wrong(delivery: Delivery, tmp_path_factory: pytest.TempPathFactory) -> None:
    outcome(delivery, tmp_path_factory.mktemp("delivery"))
