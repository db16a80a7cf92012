"""The panels and the factor's figures against scipy and slow loops."""

from __future__ import annotations

from datetime import date

import numpy as np
import pytest
from scipy.stats import rankdata, spearmanr

from consumers.page import factor
from consumers.page.served import served
from fpm.page.factor import factor as view
from fpm.page.sheets import html
from fpm.sessions import sessions_between
from fpm.store.ledger.stores import Stores
from fpm.store.ledger.vitals import vitals
from tests.consumers.page.conftest import LAKE, LAST
from tests.consumers.small_lake import FIRST


def scores(day: date, stream: str) -> np.ndarray:
    rows = LAKE.scores(day)
    return rows.filter(rows["stream"] == stream)["score"].to_numpy()


def test_places_are_ranks_of_what_was_served(home: Stores) -> None:
    panels = served(home)
    days = sessions_between(home.market, FIRST, LAST)
    assert list(panels.sessions) == days and list(panels.symbols) == list(LAKE.names)
    for t, day in enumerate(days):
        expected = (rankdata(scores(day, "dual")) - 1) / (LAKE.symbols - 1)
        assert panels.streams["dual"].place_TN[t] == pytest.approx(expected)
    assert np.isfinite(panels.label_TN).all(axis=1).tolist() == [True] * 9 + [False] * 6


def test_the_rank_ic_grows_with_the_labels(home: Stores) -> None:
    content = factor.gathered(served(home), home)
    days = sessions_between(home.market, FIRST, LAST)[:9]
    expected = [spearmanr(scores(day, "dual"), LAKE.labels(day)["label"].to_numpy()).statistic for day in days]
    dual = content.streams["dual"]
    assert [day for day, _ in dual.rank_ic] == days
    assert [value for _, value in dual.rank_ic] == pytest.approx(expected)
    assert dual.mean.value == pytest.approx(np.mean(expected)) and dual.mean.sessions == 9
    night = {each.name: each.value for each in vitals(LAST, home.ledger) if each.labels.get("stream") == "dual"}
    assert night["rank_ic_mean"] == pytest.approx(dual.mean.value)  # the night's own figure
    assert dual.mean.interval is not None and night["rank_ic_low"] == pytest.approx(dual.mean.interval.low)


def test_groups_turnover_and_spread_by_hand(home: Stores) -> None:
    dual = factor.gathered(served(home), home).streams["dual"]
    days = sessions_between(home.market, FIRST, LAST)
    groups = len(dual.groups)
    assert groups == 10
    lowest = []
    for day in days[:9]:
        order = np.argsort(scores(day, "dual"))
        lowest.append(LAKE.labels(day)["label"].to_numpy()[order[:3]].mean())
    assert dual.groups[0].value == pytest.approx(np.mean(lowest))
    top = [
        [set(np.argsort(scores(day, "dual"))[part].tolist()) for part in (slice(0, 3), slice(-3, None))] for day in days
    ]
    replaced = [np.mean([len(a - b) / 3 for a, b in zip(top[t], top[t - 1], strict=True)]) for t in range(1, len(days))]
    assert [value for _, value in dual.turnover] == pytest.approx(replaced)
    assert [value for _, value in dual.spread] == pytest.approx([0.1 / scores(day, "dual").std(ddof=1) for day in days])


def test_the_view_without_and_with_reports(home: Stores) -> None:
    text = html(view(factor.gathered(served(home), home)))
    assert "No report has a passport yet" in text and "fpm report" in text and "RankIC, dual" in text
    home.settings.reports.mkdir(exist_ok=True)
    (home.settings.reports / "passport.json").write_text('{"schema": "fpm.report.passport/1", "sha256": "0"}')
    (home.settings.reports / "report.html").write_text("<p>")
    content = factor.gathered(served(home), home)
    assert content.passport is not None and "refused" in content.passport
    assert "/reports/report.html" in html(view(content))


def test_a_home_without_scores_says_what_to_type(stores: Stores) -> None:
    text = html(view(factor.gathered(served(stores), stores)))
    assert "fpm walk-forward FIRST LAST" in text and "nothing scored yet" in text
