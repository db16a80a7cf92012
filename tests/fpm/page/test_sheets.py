"""HTML of views: whatever a name holds stays text, and nothing is fetched from anywhere else."""

from __future__ import annotations

import re

from fpm.page import messages
from fpm.page.names import address
from fpm.page.sheets import beside, html
from fpm.page.views import Card, Cell, Table, View

HOSTILE = '"><script>alert(1)</script>'


def test_every_text_is_escaped() -> None:
    table = Table((HOSTILE,), [[Cell(HOSTILE, address(HOSTILE), "red")], [HOSTILE]])
    cards = [Card(HOSTILE, HOSTILE, table)]
    view = View("names", HOSTILE, HOSTILE, (), [(HOSTILE, HOSTILE)], [(HOSTILE, cards)], [HOSTILE], [HOSTILE], HOSTILE)
    text = html(view)
    assert "<script>alert" not in text and text.count("<script") == 1
    assert text.count("&lt;script&gt;alert(1)") >= 12 and HOSTILE not in text


def test_nothing_comes_from_elsewhere() -> None:
    texts = [html(messages.no_entry()), *(sheet.content.decode() for sheet in beside().values())]
    found = {address for text in texts for address in re.findall(r"(?:https?:)?//[\w.-]+", text)}
    assert found <= {"http://www.w3.org"}  # the name of SVG's language, not an address


def test_the_view_in_use_is_marked() -> None:
    text = html(View("factor", "The factor"))
    assert re.findall(r'<a href="([^"]+)" aria-current="page">', text) == ["/factor"]
