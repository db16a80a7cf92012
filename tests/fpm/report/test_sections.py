"""The order of a report: every part has a table or a plot, and each of these appears once."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fpm.report import page
from fpm.report.markdown import markdown
from fpm.report.page import plots
from fpm.report.sections import SECTIONS, sections_with
from fpm.report.tables import TABLES
from tests.fpm.report.sample_report import sample_report


def test_every_table_and_every_plot_has_one_place():
    parts = [(part.kind, part.name) for section in SECTIONS for part in section.parts]
    assert len(parts) == len(set(parts))
    assert {name for kind, name in parts if kind == "table"} == set(TABLES)
    assert {name for kind, name in parts if kind == "plot"} == set(plots(sample_report()))


def test_sections_without_parts_are_left_out():
    sections = sections_with({("plot", "decay"), ("table", "coverage")})
    assert [(section.heading, [part.name for part in section.parts]) for section in sections] == [
        ("Where it works, and what it is", ["decay"]),
        ("Data", ["coverage"]),
    ]


@pytest.mark.parametrize("horizon", [1, 5, 12])
def test_the_texts_name_the_sessions_that_a_label_spans(horizon: int) -> None:
    report = replace(sample_report(), horizon=horizon)
    for document in (page.build(report), markdown(report)):
        assert f"close of t+1 to close of t+{horizon + 1}." in document
        assert f"independent {horizon}-session period" in document
        assert f"Newey-West with {horizon} lags" in document
        assert "{" not in "".join(part.text for section in SECTIONS for part in section.about(horizon).parts)
