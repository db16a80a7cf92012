"""The words of a delivery of which nothing could be stored."""

from __future__ import annotations

import polars as pl
import pytest

from fpm.errors import InputRefused
from fpm.ingest.ingest_report import IngestReport


def test_a_delivery_of_tables_alone_says_what_was_wrong_with_its_rows() -> None:
    report = IngestReport()
    faults = pl.DataFrame({"reason_code": ["FPM-IN-165"] * 4, "reason": ["weights sum to 0.8"] * 4})
    report.add_reference("index_members", 4, faults)
    report.add_faults("index_members", faults)
    said = r"no row of 4 could be stored: FPM-IN-165 x 4; e\.g\. weights sum to 0\.8 - "
    with pytest.raises(InputRefused, match=said):
        report.require_content()
