"""The page of `fpm explain`: the session, what its fingerprint rests on, and the fingerprint in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from consumers.questions.explain import Explanation, Word, plain
from consumers.questions.page_links import page_links
from fpm.errors import UsageError
from fpm.report import encoder_charts, pages
from fpm.store.lake.small_files import write_whole

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from fpm.nn.encoder.dictionary import Axis
    from fpm.store.ledger.stores import Stores

NEAR = 0.01  # typical distances: a stored fingerprint further from its features was made of others, or by other code


def write(explanation: Explanation, out: Path | None, stores: Stores) -> Path:
    """Write the page (default: under the home's reports); its path. Same store, same bytes."""
    target = out or stores.settings.reports / f"explain-{explanation.symbol}-{explanation.session}.html"
    write_whole(target, pages.build(page(explanation, page_links(target))).encode())
    return target


def require_page(out: Path | None) -> None:
    """Raises UsageError where `out` does not name a page; called before anything is computed."""
    if out is not None and out.suffix.lower() not in (".html", ".htm"):
        raise UsageError(
            code="FPM-EXP-005",
            wrong=f"{out.name} does not name a page",
            effect="nothing was explained",
            todo="give --out FILE.html; for a PNG open the page in a browser: "
            "chromium --headless --screenshot FILE.html",
        )


def page(explanation: Explanation, links: Sequence[tuple[str, str]] = ()) -> pages.Page:
    """The cards of one explained fingerprint."""
    words = explanation.words
    sections = [
        ("The session", [_session_card(explanation)]),
        ("What the fingerprint rests on", [_occlusion_card(explanation)]),
    ]
    if words:
        sections.append(("In words", [_words_card(words), _words_table(words), _axes_card(explanation.axes)]))
    return pages.Page(
        f"What the encoder saw: {explanation.symbol}, {explanation.session}",
        f"Vintage {explanation.vintage} · as known at {explanation.known_at.isoformat()} · "
        f"typical distance {explanation.unit:.3g} · words from {explanation.earlier_sessions} earlier sessions",
        sections,
        _notes(explanation),
        _SMALL_PRINT,
        links=links,
    )


_SMALL_PRINT = (
    (
        "Hiding works as in training, where the encoder lacks the flows of some families and minutes. Prices were "
        "never hidden from it, so their row is less certain. Families that hold the same information (amount, volume) "
        "stand in for each other: a cell can be faint although its content matters. The bars show more."
    ),
    (
        "Words: a ridge regression of each hand-made statistic on the fingerprints of earlier sessions, less what all "
        "symbols of a session share. Correlation: out of sample, by session. Formulas: "
        "fpm/features/intraday_statistics.py."
    ),
)


def _notes(explanation: Explanation) -> list[str]:
    notes = []
    if explanation.offset > NEAR:
        notes.append(
            f"The stored fingerprint lies {explanation.offset:.2f} typical distances from what its features give now: "
            "it was made of other features or by other code. The map is of what the features give now."
        )
    if not explanation.words:
        notes.append("No earlier session has fingerprints of this vintage: there are no words for it yet.")
    return notes


def _session_card(explanation: Explanation) -> pages.Card:
    return pages.Card(
        "Price and volume",
        "Close against the open; volume in units of the symbol's ordinary minute.",
        encoder_charts.session(explanation.minutes, plain(explanation.close_T), plain(explanation.volume_T)),
    )


def _occlusion_card(explanation: Explanation) -> pages.Card:
    moved = explanation.occlusion
    return pages.Card(
        "Hidden by half-hour and family of features",
        "How far the fingerprint moves when the cell is made unavailable; 1 is the typical distance between two "
        "fingerprints of this vintage. Bars: a whole half-hour, or a family all session. White without a number: "
        "the cell was empty.",
        encoder_charts.occlusion(explanation.parts, moved.families, moved.cell_PU, moved.part_P, moved.family_U),
    )


def _words_card(words: tuple[Word, ...]) -> pages.Card:
    names = [_label(word.statistic) for word in words]
    return pages.Card(
        "Coordinates on the dictionary",
        "Bar: what the fingerprint says, the fainter the less it can be trusted. Diamond: what the minutes say.",
        encoder_charts.dictionary(
            names,
            [word.read for word in words],
            [word.measured for word in words],
            [word.correlation for word in words],
        ),
    )


def _words_table(words: tuple[Word, ...]) -> pages.Card:
    rows = [(_label(word.statistic), word.correlation, word.read, word.measured) for word in words]
    columns = ("statistic", "out of sample", "read, z", "measured, z")
    return pages.Card(
        "How sure the words are",
        "Correlation of what is read with what is measured, on later sessions.",
        None,
        pages.Table(columns, rows),
        wide=False,
    )


def _axes_card(axes: tuple[Axis, ...]) -> pages.Card:
    rows = [(axis.name, axis.share, _label(axis.statistic), axis.correlation) for axis in axes]
    columns = ("principal", "share of the variance", "goes along with", "correlation")
    return pages.Card("The space's widest directions", "", None, pages.Table(columns, rows), wide=False)


def _label(name: str) -> str:
    return name.replace("_", " ")
