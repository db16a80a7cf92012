"""The slow questions about a stock-day: what the encoder saw, and which stock-days are most like it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from consumers.questions.explain import explain, plain
from consumers.questions.similar import Question, similar
from fpm.page.marks import moment
from fpm.page.stock_days import Likes, Map, explained, likes

if TYPE_CHECKING:
    from datetime import date
    from pathlib import Path

    from fpm.page.views import View
    from fpm.store.ledger.stores import Stores

NEAREST = 20


def explanation(symbol: str, session: date, stores: Stores) -> View:
    """The view of an explained fingerprint. Raises what `explain` raises."""
    answer = explain(symbol, session, None, stores)
    moved = answer.occlusion
    words = [(word.statistic, word.correlation, word.read, word.measured) for word in answer.words]
    content = Map(
        answer.symbol,
        session,
        answer.vintage,
        moment(answer.known_at),
        answer.unit,
        answer.parts,
        moved.families,
        [plain(cell_P) for cell_P in moved.cell_PU.T],
        plain(moved.family_U),
        plain(moved.part_P),
        words,
    )
    return explained(content)


def nearest(symbol: str, session: date, scratch: Path, stores: Stores) -> View:
    """The view of the nearest stock-days; an archive that the home lacks is made in `scratch`. Raises as `similar`."""
    answer = similar(Question(symbol, session, k=NEAREST), stores, scratch)
    content = Likes(
        answer.symbol,
        session,
        answer.vintage,
        moment(answer.known_at),
        answer.candidates or 0,
        stores.settings.model_choices.horizon,
        answer.analogues.select("session", "symbol", "similarity", "outcome", "matched").rows(),
        answer.comparison,
    )
    return likes(content)
