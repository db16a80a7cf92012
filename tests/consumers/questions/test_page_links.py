"""Pages of one folder know each other, by relative addresses of files that are there."""

from __future__ import annotations

import re
from urllib.parse import unquote

from consumers.questions.page_links import MOST, page_links


def test_only_pages_that_are_there_are_linked_and_never_the_page_itself(tmp_path):
    report = tmp_path / "report.html"
    assert page_links(report) == []
    for name in ("report.html", "encoder-a1-20240611.html", "explain-600000.SH-2024-06-11.html", "notes.html"):
        (tmp_path / name).write_text("")
    (tmp_path / "morning.html").mkdir()
    assert page_links(report) == [
        ("Encoder a1-20240611", "encoder-a1-20240611.html"),
        ("Explained: 600000.SH-2024-06-11", "explain-600000.SH-2024-06-11.html"),
    ]
    encoder = page_links(tmp_path / "encoder-a1-20240611.html")
    assert encoder[0] == ("Report", "report.html") and len(encoder) == 2


def test_of_many_pages_the_last_are_linked_and_odd_names_are_quoted(tmp_path):
    for number in range(30):
        (tmp_path / f'explain-{number:02d} "x".html').write_text("")
    links = page_links(tmp_path / "report.html")
    assert len(links) == MOST and links[-1][0] == 'Explained: 29 "x"'
    for _, address in links:
        assert re.fullmatch(r"[\w%.-]+", address) and (tmp_path / unquote(address)).is_file()
