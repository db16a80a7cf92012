"""The tables as text: every row as wide as its columns, nothing invented where a figure is absent."""

from __future__ import annotations

from dataclasses import replace

from fpm.report.data import ReportData
from fpm.report.figure_text import interval, number, percent
from fpm.report.tables import tables
from tests.fpm.report.sample_report import sample_report

DASH = "\u2013"


def test_every_row_has_a_cell_for_every_column():
    for name, table in tables(sample_report()).items():
        assert {len(row.cells) for row in table.rows} == {len(table.columns)}, name
        assert all(isinstance(cell, str) and cell for row in table.rows for cell in row.cells if row.cells[0]), name


def test_the_headline_shows_our_figures_and_theirs_in_one_column():
    data = sample_report()
    rows = {row.cells[0]: row for row in tables(data)["headline"].rows}
    assert rows["dual"].cells[1] == f"{data.streams['dual'].rank_ic:.3f}"
    assert rows["their dual-stream GRU"].cells[1:6] == ("0.109", "90.9 %", "5.95", "76.5 %", "11.5 %")
    assert [row.theirs for row in rows.values()] == [False, False, False, True, True]


def test_an_absent_figure_is_a_dash():
    data = sample_report(sessions=8, symbols=4)
    headline = {row.cells[0]: row.cells for row in tables(data)["headline"].rows}
    assert headline["dual"][2:4] == (DASH, DASH)  # a year and an information ratio of two weeks
    certainty = {row.cells[0]: row.cells for row in tables(data)["certainty"].rows}
    assert certainty["dual"][2:5] == (DASH, DASH, DASH)


def test_years_are_rows_and_say_how_many_sessions_they_have():
    data = sample_report()
    (row,) = tables(data)["by-year"].rows
    ((year, mean, count),) = data.streams["dual"].by_year
    (sure,) = data.streams["dual"].by_year_intervals
    assert row.cells[0] == str(year) == "2025"
    assert row.cells[3] == f"{mean:.3f} [{sure.low:.3f}, {sure.high:.3f}] ({count})"


def test_every_way_to_be_filled_and_every_variant_is_a_row_with_its_interval():
    data, written = sample_report(), tables(sample_report())
    assert [row.cells[0] for row in written["bases"].rows] == ["close", "next open", "next close", "next vwap"]
    found = dict(data.streams["traditional"].bases)["next open"]
    assert f"{written['bases'].rows[1].cells[2]} ".startswith(f"{number(found.value)} {interval(found.interval)}")
    assert [row.cells[0] for row in written["variants"].rows] == [
        "all names",
        "fillable",
        "neutral to industry",
        "neutral to styles",
        "neutral to styles and industry",
    ]
    series = [value for _, value in data.streams["dual"].series]
    assert written["variants"].rows[0].cells[3].startswith(number(sum(series) / len(series)))
    (style,) = written["exposures"].rows
    assert style.cells[0] == "size" and style.cells[1].startswith(
        number(data.streams["fingerprint"].exposures[0][1].value)
    )


def test_what_was_earned_has_intervals_and_a_deflated_sharpe_ratio_once_there_are_weeks_enough():
    few, many = (tables(sample_report(sessions))["earned"].rows[2].cells for sessions in (40, 90))
    assert few[1:] == (DASH,) * 10
    of = sample_report(90).streams["dual"].sharpe
    assert many[6:] == (
        number(of.annual, 2),
        f"[{number(of.low, 2)}, {number(of.high, 2)}]",
        percent(of.probabilistic, 1),
        percent(of.deflated, 1),
        "2",
    )
    assert many[1].startswith("[") and of.deflated < of.probabilistic


def test_every_group_is_a_row_and_what_the_weeks_say_has_its_interval():
    data, written = sample_report(), tables(sample_report())
    of = data.streams["dual"]
    rows = written["by-group"].rows
    assert [row.cells[0] for row in rows] == [str(group + 1) for group in range(len(of.groups))]
    sure = of.group_intervals[-1]
    assert rows[-1].cells[3] == f"{percent(of.groups[-1])} [{percent(sure.low)}, {percent(sure.high)}]"
    cells = written["hits"].rows[2].cells
    assert cells[2] == interval(of.rank_ic_interval) and cells[3].startswith(f"{percent(of.hit_rate.value, 0)} [")
    assert cells[4] == "100.0 %"


def test_paired_differences_have_both_intervals():
    data = sample_report()
    (row,) = tables(data)["paired"].rows
    (of,) = data.comparisons.values()
    assert row.cells[2:4] == (interval(of.newey_west, 4), interval(of.bootstrap, 4))


def test_folds_say_what_they_were_trained_on():
    (row,) = tables(sample_report())["folds"].rows
    assert row.cells[2:4] == ("2024-01-02 to 2025-03-03 (280)", DASH)
    assert row.cells[5] == "42, 7"


def test_bounds_that_are_not_felt_are_not_told():
    (row,) = tables(sample_report())["rebalances"].rows
    assert row.cells[2:] == ("turnover by 0.1200", "active 2.000")


def test_tables_without_content_are_left_out_but_emptiness_of_data_is_said():
    written = tables(ReportData("nothing yet", "2025-01-01", "us", "short", {}))
    assert "portfolios" not in written and "oracle" not in written and "folds" not in written
    assert written["quarantined"].empty == "nothing was kept out" and not written["quarantined"].rows


def test_trials_are_the_settings_tried_and_at_least_one():
    assert sample_report().trials == 2
    assert replace(sample_report(), tried=()).trials == 1
