"""An index's portfolio over a span: figures, attribution, export."""

from __future__ import annotations

import subprocess
import sys
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from consumers.questions.attribution import contributions, daily_lines
from consumers.questions.enhance import enhance, export
from fpm.errors import TryLater, UsageError
from fpm.portfolio.costs import A_SHARE, cost_table
from fpm.store.ledger.stores import Stores, open_stores
from tests.consumers.small_lake import LAST, SmallLake, put
from tests.small_chain import quiet

MONDAY = date(2024, 12, 2)
AUDITOR = Path(__file__).parents[4] / "shared" / "checks" / "check_enhance.py"
SMALL_SAMPLE = "realised within 20 % of predicted"  # of twenty sessions a ratio says nothing


@pytest.fixture
def book(stores: Stores) -> Stores:
    SmallLake().fill(stores)
    return stores


def test_enhance_gives_the_six_figures_and_their_origin(book: Stores) -> None:
    figures = enhance("CSI300", MONDAY, LAST, book, quiet)
    assert figures["rebalances"] == 5  # filled after the first Monday and four Fridays
    assert figures["sessions"] == 20
    six = ("annual_return", "annual_excess", "tracking_error", "information_ratio", "monthly_win_rate", "max_drawdown")
    assert all(isinstance(figures[name], float) for name in six)
    groups = figures["attribution"]
    assert set(groups) == {"country", "industry", "style", "score", "specific", "blocked", "costs", "trading"}
    assert groups["costs"] < 0
    nav = book.read("nav", MONDAY, LAST).sort("session")
    own = nav["nav"][-1] / nav["nav"][0] - 1
    theirs = np.prod(1 + nav["benchmark_return"].to_numpy()[1:]) - 1
    assert sum(groups.values()) == pytest.approx(own - theirs, abs=1e-10)


def test_the_lines_of_a_session_sum_to_its_excess(book: Stores) -> None:
    enhance("CSI300", MONDAY, LAST, book, quiet)
    nav = book.read("nav", MONDAY, LAST).sort("session")
    excess = nav.with_columns(excess=pl.col("nav") / pl.col("nav").shift(1) - 1 - pl.col("benchmark_return")).slice(1)
    lines = daily_lines("CSI300", MONDAY, LAST, book).group_by("session").agg(pl.col("contribution").sum())
    both = excess.join(lines, on="session").sort("session")
    assert both.height == 20
    assert both["contribution"].to_numpy() == pytest.approx(both["excess"].to_numpy(), abs=1e-10)
    specific = contributions("CSI300", MONDAY, LAST, book).filter(pl.col("group") == "specific")
    assert abs(specific["contribution"].item()) > 0


def test_an_unknown_index_and_a_span_without_scores_are_named(book: Stores) -> None:
    with pytest.raises(UsageError, match="CSI300"):
        enhance("CSI500", MONDAY, LAST, book, quiet)
    with pytest.raises(TryLater, match=r"FPM-PF-076 .*no daily bars from 2023-01-03"):
        enhance("CSI300", date(2023, 1, 3), date(2023, 1, 31), book, quiet)
    assert book.sessions("nav") == []


def test_an_outsider_walks_the_exported_book_again(book: Stores, tmp_path: Path) -> None:
    """Two indices with different half-lives: the auditor finds each decision's forecast in its own index's rows."""
    if not AUDITOR.exists():
        pytest.skip("the project's auditor is not beside this checkout")
    two = [SmallLake().index_members().with_columns(index=pl.lit(name)) for name in ("CSI300", "CSI500")]
    put("members", MONDAY, {"index_members": pl.concat(two)}, book)
    (tmp_path / "mandate.toml").write_text("[CSI300]\nhalf_lives = {volatility = 5, specific = 5}\n")
    book = open_stores(book.settings.model_copy(update={"mandate": tmp_path / "mandate.toml"}))
    enhance("CSI300", MONDAY, LAST, book, quiet)
    rows = export("CSI300", MONDAY, LAST, tmp_path / "audit", book)
    assert rows["decisions"] == 5 and rows["nav"] == 21
    book.read("daily_bars", MONDAY, LAST).write_parquet(tmp_path / "daily.parquet")
    book.read("index_members", MONDAY, LAST).write_parquet(tmp_path / "members.parquet")
    cost_table(A_SHARE).write_csv(tmp_path / "costs.csv")
    files = ["--daily", "daily.parquet", "--members", "members.parquet", "--costs", "costs.csv"]
    audit = subprocess.run(
        [sys.executable, str(AUDITOR), "audit", *files], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    failed = [line for line in audit.stdout.splitlines() if line.startswith("FAIL")]
    assert "NAV to the cent on every session: 0" in audit.stdout, audit.stdout + audit.stderr
    assert [line for line in failed if SMALL_SAMPLE not in line] == []
    book.ledger.close()
