"""The slow questions as views: the answers of `explain` and `similar`, and a home that stays as it is."""

from __future__ import annotations

from datetime import date
from pathlib import Path

from consumers.page.likes import explanation, nearest
from consumers.questions.explain import explain
from consumers.questions.similar import Question, similar
from fpm.page.sheets import html
from fpm.store.ledger.stores import Stores
from tests.consumers.questions.test_explain import SESSION, SYMBOL, prepared_home
from tests.consumers.questions.test_explain import home as explained_home
from tests.consumers.small_nights import SESSIONS

__all__ = ["explained_home", "prepared_home"]  # fixtures


def test_the_map_has_the_numbers_of_explain(explained_home: Stores) -> None:
    text = html(explanation(SYMBOL, SESSION, explained_home))
    answer = explain(SYMBOL, SESSION, None, explained_home)
    for value in answer.occlusion.cell_PU.ravel()[:20].tolist():
        assert f">{value:.2f}<" in text
    assert "10:00" in text and "all day" in text and answer.words[0].statistic.replace("_", " ") in text


def test_the_nearest_leave_the_home_alone(filled: tuple[Stores, list[date]], tmp_path: Path) -> None:
    stores, days = filled
    session, scratch = days[SESSIONS - 2], tmp_path / "scratch"
    text = html(nearest("600001.SH", session, scratch, stores))
    assert not (stores.settings.home / "vectors").exists() and list(scratch.iterdir())
    answer = similar(Question("600001.SH", session), stores)  # now the home's own archive stands
    for symbol, similarity in answer.analogues.select("symbol", "similarity").rows():
        assert f">{symbol}</a>" in text and f"{similarity:.3f}" in text
    other = tmp_path / "other"
    assert html(nearest("600001.SH", session, other, stores)) == text and not other.exists()
