"""Tonight as it reads in a bad night: shapes beside colours, words beside shapes, and what to type."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

from fpm.page.sheets import html
from fpm.page.tonight import Step, Tonight, tonight

NOW = datetime(2026, 1, 6, 14, 30, tzinfo=UTC)
SCREEN: dict[str, Any] = {
    "nights": [
        {
            "night": "2026-01-06",
            "state": "red",
            "since": "2026-01-06 12:00Z",
            "open": ["scores", "publish"],
            "why": "scores: <weights> are damaged",
            "todo": "fpm nightly --session 2026-01-06",
        },
        {"night": "2026-01-05", "state": "green", "since": "2026-01-05 12:00Z", "open": [], "why": "", "todo": ""},
    ],
    "served": {"session": "2026-01-05", "published_at": "2026-01-05 13:30Z", "hours": 25.0, "sessions_since": 1},
    "next": {"session": "2026-01-07", "closes": "2026-01-07 07:00Z", "cut_off": "2026-01-07 12:00Z"},
    "disk": {"state": "red", "free_bytes": 3.2e9, "session_bytes": 1e8, "full_in_days": 12.4, "todo": "make room"},
    "decisions": [],
}
ONE, TWO = NOW.replace(hour=13, minute=0), NOW.replace(hour=14, minute=0)
MINUTE = timedelta(minutes=1)
STEPS = [
    Step("fingerprints", "2026-01-06", "green", 5300, ONE, ONE + 2 * MINUTE),
    Step("scores", "2026-01-06", "red", 0, TWO, TWO + MINUTE, "<weights> are damaged"),
    Step("publish", "2026-01-06", "due"),
]


def test_a_red_night() -> None:
    view = tonight(Tonight("cn", NOW, SCREEN, "2026-01-06", STEPS))
    text = html(view)
    assert view.tiles[0].value == "1 red" and view.tiles[0].mark == "red"
    assert [command for _, command in view.todo] == ["fpm nightly --session 2026-01-06", "make room"]
    assert "&lt;weights&gt; are damaged" in text and "<weights>" not in text
    assert re.search(r'<span class="mark red" aria-hidden="true">▲</span>red', text)
    assert "1 green, 1 red, 1 due" in text and "29 min" in text and "2 min" in text
    assert "/lineage?job=fingerprints&amp;session=2026-01-06" in text and "job=publish" not in text
    assert "1 session ago" in text and "25 h 0 min ago" in text
    assert "3.2 GB" in text and "full in 12 days" in text


def test_a_new_home_says_how_to_begin() -> None:
    screen = SCREEN | {
        "nights": [],
        "served": {"session": None},
        "next": {"session": None, "why": "the calendar ends"},
        "disk": SCREEN["disk"] | {"state": "green", "todo": "", "full_in_days": None},
    }
    view = tonight(Tonight("cn", NOW, screen))
    assert [tile.value for tile in view.tiles] == ["none owed", "nothing", "none", "3.2 GB"]
    ((_, command),) = view.todo
    assert command.startswith("fpm ingest PATH") and "the calendar ends" in html(view)


def test_a_refused_program_comes_first() -> None:
    view = tonight(Tonight("cn", NOW, SCREEN | {"program": {"refused": "another program confirmed this home"}}))
    assert view.todo[0] == ("another program confirmed this home", "fpm setup --plan")


def test_nights_that_wait_for_the_same_are_said_once() -> None:
    missing = {"state": "red", "since": "2026-01-01 12:00Z", "open": [], "why": "no minute bars have come"}
    nights = [
        *SCREEN["nights"],
        *(missing | {"night": day, "todo": f"fpm absent {day}"} for day in ("2026-01-04", "2026-01-03", "2026-01-02")),
    ]
    todo = tonight(Tonight("cn", NOW, SCREEN | {"nights": nights})).todo
    assert [command for _, command in todo] == [
        "fpm nightly --session 2026-01-06",
        "fpm absent 2026-01-02",
        "make room",
    ]
    assert todo[1][0] == "3 nights, 2026-01-02 to 2026-01-04, red: no minute bars have come"
