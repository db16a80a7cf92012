"""A page of eight years, four indices and every plot stays below three megabytes."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np

from fpm.report.charts import MOST_POINTS, thinned
from fpm.report.page import build
from tests.fpm.report.sample_report import risk_test, sample_report
from tests.fpm.report.test_page import script

MOST_BYTES = 3_000_000
SESSIONS = 2000
INDICES = ("CSI300", "CSI500", "CSI1000", "ALL")


def test_a_page_of_a_long_history_is_small():
    generator, report = np.random.default_rng(0), sample_report(SESSIONS, 12)
    days = [day for day, _ in report.spreads["dual"]]
    curve = [(day, *row) for day, row in zip(days, generator.random((SESSIONS, 3)).tolist(), strict=True)]
    kinds = product(INDICES, ("own", "optimised", "random"))
    long_report = replace(
        report,
        portfolios=dict.fromkeys(INDICES, report.portfolios["ALL"]),
        spreads={name: list(zip(days, generator.random(SESSIONS).tolist(), strict=True)) for name in report.streams},
        risk=[replace(risk_test(kind, days), index=index, curve=curve) for index, kind in kinds],
        symbols={
            name: list(zip(days, generator.integers(4000, 5300, SESSIONS).tolist(), strict=True))
            for name in ("daily bars", "scored", "labelled")
        },
    )
    page = build(long_report)
    assert 1_000_000 < len(page.encode()) < MOST_BYTES
    assert len(script(page)) > 4_500_000  # plotly is whole
    assert page.count('<div class="scroll tall">') == 1  # 93 months


def test_a_line_has_a_thousand_points_at_most_and_its_last_one():
    for count in (0, 1, 999, 1000, 1001, 4321):
        kept = thinned(count)
        assert len(kept) <= MOST_POINTS + 1 and kept == sorted(set(kept))
        assert not count or (kept[0], kept[-1]) == (0, count - 1)
        assert count > MOST_POINTS or kept == list(range(count))
