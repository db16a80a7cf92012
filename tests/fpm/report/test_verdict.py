"""The verdict says what the figures allow and no more."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fpm.evaluation.intervals import Interval
from fpm.report.data import ReportData
from fpm.report.verdict import verdict
from tests.fpm.report.sample_report import sample_report


@pytest.fixture(scope="module")
def report() -> ReportData:
    return sample_report()


def judged(report: ReportData, low: float, mean: float, high: float, band: float) -> str:
    """The sentence on intervals where only `dual` is reported, with these figures."""
    ends = Interval(low, high, 0.01, "newey-west")
    dual = replace(report.streams["dual"], rank_ic_all_days=mean, newey_west=ends, null_band=band)
    return verdict(replace(report, streams={"dual": dual}, comparisons={}))["Intervals"]


def test_four_topics_of_one_sentence_each(report):
    sentences = verdict(report)
    assert list(sentences) == ["Data", "Leaks", "Passport", "Intervals"]
    assert all(sentence.endswith(".") and ". " not in sentence for sentence in sentences.values())


def test_above_and_below_need_the_interval_and_the_null_band(report):
    assert "dual is above 0 (0.100, 95 % 0.050 to 0.150)" in judged(report, 0.05, 0.10, 0.15, 0.06)
    assert "dual is below 0" in judged(report, -0.15, -0.10, -0.05, 0.06)
    assert "dual was not shown to differ from 0" in judged(report, -0.01, 0.10, 0.21, 0.06)
    assert "dual was not shown to differ from 0" in judged(report, 0.05, 0.10, 0.15, 0.12)


def test_a_difference_counts_where_its_interval_excludes_0(report):
    (name, pair), *_ = report.comparisons.items()
    apart = replace(pair, newey_west=Interval(0.01, 0.02, 0.001, "newey-west"))
    level = replace(pair, newey_west=Interval(-0.01, 0.02, 0.001, "newey-west"))
    assert f"exclude 0: {name} (of 1)" in verdict(replace(report, comparisons={name: apart}))["Intervals"]
    assert "exclude 0: none (of 1)" in verdict(replace(report, comparisons={name: level}))["Intervals"]


def test_too_short_a_history_concludes_nothing():
    sentences = verdict(sample_report(sessions=8, symbols=4))
    assert sentences["Intervals"].startswith("Nothing about the factor can be concluded from 1 independent period")


def test_data_names_the_span_and_what_was_kept_out(report):
    assert verdict(report)["Data"] == (
        "The figures speak of the labelled sessions from 2025-06-02 to 2025-08-14 and of 24 names on a median session, "
        "100.0 % of those that traded; 12 rows or files were kept out of the lake."
    )
    assert "nothing was kept out" in verdict(replace(report, quarantined=()))["Data"]


def test_a_leak_in_the_records_takes_all_belief(report):
    assert "no model was trained on what it was judged by" in verdict(report)["Leaks"]
    leaks = {"label overlap": "scorer a, 2025-06-02: a label reaches into test", "one vintage a window": None}
    assert verdict(replace(report, leaks=leaks))["Leaks"] == (
        "No figure here may be believed, label overlap: scorer a, 2025-06-02: a label reaches into test."
    )
    assert "do not say" in verdict(replace(report, leaks={}))["Leaks"]


def test_an_empty_deployment_promises_nothing():
    sentences = verdict(ReportData("nothing yet", "2025-01-01", "us", "short", {}))
    assert sentences == {
        "Data": "No session has both scores and labels, so there is no figure of a factor; nothing was kept out of the "
        "lake.",
        "Leaks": "The models' records do not say on which sessions they were trained: fpm leaks can tell more.",
        "Passport": "No partition is behind this page.",
        "Intervals": "There are no scores of fpm's own, so nothing is said about a factor.",
    }
