"""What following the weights earned."""

from __future__ import annotations

from datetime import date

import pytest

from consumers.questions.enhance import enhance
from fpm.errors import UsageError
from tests.consumers.small_lake import LAST, SmallLake

MONDAY = date(2024, 12, 2)


def test_enhance_gives_the_six_figures(stores):
    SmallLake().fill(stores)
    figures = enhance("CSI300", MONDAY, LAST, stores, lambda *_: None)
    assert figures["rebalances"] == 5  # the first Monday and four Fridays
    assert figures["sessions"] == 20
    assert figures["total_excess"] is not None
    six = ("annual_return", "annual_excess", "tracking_error", "information_ratio", "monthly_win_rate", "max_drawdown")
    assert all(isinstance(figures[name], float) for name in six)
    assert figures["tracking_error"] < 0.1
    with pytest.raises(UsageError, match="CSI300"):
        enhance("CSI500", MONDAY, LAST, stores, lambda *_: None)
