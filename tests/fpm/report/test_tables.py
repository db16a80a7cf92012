"""The tables as text: every row as wide as its columns, a dash for every absent figure."""

from __future__ import annotations

from dataclasses import replace

from fpm.report.cells import Row, Table, compact
from fpm.report.data import ReportData
from fpm.report.figure_text import interval, number, percent
from fpm.report.tables import tables
from tests.fpm.report.sample_report import sample_report

DASH = "\u2013"


def test_every_row_has_a_cell_for_every_column():
    for name, table in tables(sample_report()).items():
        assert {len(row.cells) for row in table.rows} == {len(table.columns)}, name
        assert all(isinstance(cell, str) and cell for row in table.rows for cell in row.cells if row.cells[0]), name


def test_the_headline_shows_our_figures_and_the_published_ones():
    report = sample_report()
    rows = {row.cells[0]: row for row in tables(report)["headline"].rows}
    assert rows["dual"].cells[1] == f"{report.streams['dual'].rank_ic:.3f}"
    assert rows["their dual-stream GRU"].cells[1:6] == ("0.109", "90.9 %", "5.95", "76.5 %", "11.5 %")
    assert [row.published for row in rows.values()] == [False, False, False, True, True]


def test_an_absent_figure_is_a_dash():
    report = sample_report(sessions=8, symbols=4)
    headline = {row.cells[0]: row.cells for row in tables(report)["headline"].rows}
    assert headline["dual"][2:4] == (DASH, DASH)  # a year and an information ratio of two weeks


def test_rows_columns_and_tables_of_dashes_alone_are_left_out():
    report = sample_report(sessions=8, symbols=4)
    certainty = tables(report)["certainty"]
    absent = ("95 % interval|Newey-West", "95 % interval|block bootstrap", "null band|±")
    assert not {*absent} & {*certainty.columns} and "RankIC|all days" in certainty.columns
    assert "earned" not in tables(report) and "earned" in tables(sample_report(90))
    for each in (report, sample_report(), ReportData("nothing yet", "2025-01-01", "us", "short", {})):
        for name, table in tables(each).items():
            columns = list(zip(*(row.cells for row in table.rows), strict=True))
            assert all(set(cells) != {DASH} for cells in columns), name
            assert all(set(row.cells[1:]) != {DASH} for row in table.rows), name


def test_a_table_keeps_the_alignment_of_the_columns_that_stay():
    rows = [
        Row(("a", DASH, "text", DASH)),
        Row(("b", DASH, DASH, DASH)),
        Row(("their", "1", "x", DASH), published=True),
    ]
    table = compact(Table(("name", "number", "words", "gone"), rows, words=(0, 2, 3), prose=(2,)))
    assert table.columns == ("name", "number", "words") and table.words == (0, 2) and table.prose == (2,)
    assert [row.cells for row in table.rows] == [("a", DASH, "text"), ("their", "1", "x")]
    assert compact(Table(("name", "number"), rows[2:])).rows == ()  # only theirs


def test_a_forecast_test_is_a_row_and_its_absence_a_reason():
    own = tables(sample_report())["risk"].rows[0]
    assert own.cells == ("ALL", "own", "1.020", "[0.977, 1.023]", "yes", "60", "0", "60 of 272 sessions")
    short = tables(sample_report(sessions=8, symbols=4))["risk"].rows[0]
    assert short.cells == ("ALL", "own", "8", "0", "8 of 21 sessions, 60 of 272 sessions")


def test_years_are_rows_with_their_number_of_sessions():
    report = sample_report()
    (row,) = tables(report)["by-year"].rows
    ((year, mean, count),) = report.streams["dual"].by_year
    (bounds,) = report.streams["dual"].by_year_intervals
    assert row.cells[0] == str(year) == "2025"
    assert row.cells[3] == f"{mean:.3f} [{bounds.low:.3f}, {bounds.high:.3f}] ({count})"


def test_every_execution_basis_and_every_variant_is_a_row_with_its_interval():
    report, filled = sample_report(), tables(sample_report())
    assert [row.cells[0] for row in filled["bases"].rows] == ["close", "next open", "next close", "next vwap"]
    basis = dict(report.streams["traditional"].bases)["next open"]
    assert f"{filled['bases'].rows[1].cells[2]} ".startswith(f"{number(basis.value)} {interval(basis.interval)}")
    assert [row.cells[0] for row in filled["variants"].rows] == [
        "all names",
        "fillable",
        "neutral to industry",
        "neutral to styles",
        "neutral to styles and industry",
    ]
    series = [value for _, value in report.streams["dual"].series]
    assert filled["variants"].rows[0].cells[3].startswith(number(sum(series) / len(series)))
    style = filled["correlations"].rows[0]
    assert style.cells[0] == "size" and style.cells[1].startswith(
        number(report.streams["fingerprint"].exposures[0][1].value)
    )


def test_long_short_figures_have_intervals_and_a_deflated_sharpe_ratio_with_enough_weeks():
    many = tables(sample_report(90))["earned"].rows[2].cells
    assert "earned" not in tables(sample_report(40))
    ratio = sample_report(90).streams["dual"].sharpe
    assert many[6:] == (
        number(ratio.annual, 2),
        f"[{number(ratio.low, 2)}, {number(ratio.high, 2)}]",
        percent(ratio.probabilistic, 1),
        percent(ratio.deflated, 1),
        "2",
    )
    assert many[1].startswith("[") and ratio.deflated < ratio.probabilistic


def test_every_group_is_a_row_and_weekly_figures_have_their_interval():
    report, filled = sample_report(), tables(sample_report())
    dual = report.streams["dual"]
    rows = filled["by-group"].rows
    assert [row.cells[0] for row in rows] == [str(group + 1) for group in range(len(dual.groups))]
    bounds = dual.group_intervals[-1]
    assert rows[-1].cells[3] == f"{percent(dual.groups[-1])} [{percent(bounds.low)}, {percent(bounds.high)}]"
    cells = filled["hits"].rows[2].cells
    assert cells[2] == interval(dual.rank_ic_interval) and cells[3] == number(dual.rank_ic_start_days)
    assert cells[4].startswith(f"{percent(dual.hit_rate.value, 0)} [") and cells[5] == "100.0 %"


def test_paired_differences_have_both_intervals():
    report = sample_report()
    (row,) = tables(report)["paired"].rows
    (comparison,) = report.comparisons.values()
    assert row.cells[2:4] == (interval(comparison.newey_west, 4), interval(comparison.bootstrap, 4))


def test_folds_show_their_training_sessions():
    (row,) = tables(sample_report())["folds"].rows
    assert row.cells[2:] == ("2024-01-02 to 2025-03-03 (280)", "2025-06-02 to 2025-08-22 (60)", "42, 7")


def test_shadow_prices_below_the_tolerance_are_left_out():
    (row,) = tables(sample_report())["rebalances"].rows
    assert row.cells[2:] == ("turnover by 0.1200", "active 2.000")


def test_tables_without_content_are_left_out_but_the_absence_of_data_is_shown():
    filled = tables(ReportData("nothing yet", "2025-01-01", "us", "short", {}))
    assert "portfolios" not in filled and "oracle" not in filled and "folds" not in filled
    assert filled["quarantined"].empty == "nothing was kept out" and not filled["quarantined"].rows


def test_trials_are_the_settings_tried_and_at_least_one():
    assert sample_report().trials == 2
    assert replace(sample_report(), tried=()).trials == 1
