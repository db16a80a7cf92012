"""The report shows what the lake holds."""

from __future__ import annotations

import json
from datetime import date

import numpy as np
import polars as pl
import pytest
from scipy import stats

from consumers.questions import judgement, lessons, provenance, report
from fpm.errors import StoreCorrupt, TryLater
from fpm.schema import CLASSIC
from fpm.sessions import cut_off
from tests.consumers.questions.conftest import LAST, MONDAY
from tests.consumers.small_lake import SCORER, VINTAGE, SmallLake, put

LAKE = SmallLake()


def test_figures_are_those_of_scores_and_labels_in_the_lake(scored):
    figures = report.evaluate(scored)
    daily = []
    for session in scored.sessions("labels"):
        dual = LAKE.scores(session).filter(pl.col("stream") == "dual")["score"]
        daily.append(stats.spearmanr(dual, LAKE.labels(session)["label"])[0])
    lines = {line["stream"]: line for line in figures["rank_ic"]}
    assert lines["dual"]["rank_ic"] == pytest.approx(np.mean(daily))
    assert lines["dual"]["periods"] == 2
    assert figures["streams"]["dual"]["labelled_sessions"] == 9
    assert [row["index"] for row in figures["portfolios"]] == ["CSI300"]
    assert len(figures["paired"]) == 3
    json.dumps(figures, allow_nan=False)


def test_the_page_and_its_twin_are_written_with_the_same_bytes_again(scored):
    page = report.write(scored)
    first = page.read_bytes(), page.with_name("report.json").read_bytes()
    assert page == scored.settings.home / "reports" / "report.html"
    assert (report.write(scored).read_bytes(), page.with_name("report.json").read_bytes()) == first
    twin = json.loads(first[1])
    assert twin["as_of"] == "2024-12-20"
    (fold,) = twin["folds"]
    assert (fold["first"], fold["last"]) == ("2024-12-02", "2024-12-20")
    assert (fold["model"], fold["vintage"]) == (SCORER, VINTAGE)
    assert fold["sessions"] == 15 and fold["train"] is None
    assert twin["symbols"]["labelled"][-1] == ["2024-12-12", 12] and twin["symbols"]["scored"][-1][0] == "2024-12-20"
    assert [encoder["vintage"] for encoder in twin["encoders"]] == [VINTAGE]
    assert {row["table"]: row["sessions"] for row in twin["coverage"]}["scores"] == 15
    assert sorted(path.name for path in page.parent.iterdir()) == [
        "passport.json",
        "report.html",
        "report.json",
        "report.md",
    ]


def test_the_newest_names_have_their_industry_and_their_float_value(scored):
    data = judgement.gather(scored)
    scores = LAKE.scores(LAST).filter(pl.col("stream") == "dual").sort("score", descending=True)
    assert [name.symbol for name in data.longs] == scores["symbol"].head(6).to_list()
    assert [name.symbol for name in data.shorts] == scores["symbol"].reverse().head(6).to_list()
    first = data.longs[0]
    place = LAKE.names.index(first.symbol)
    size = LAKE.daily_factors(LAST)["log_size"][place]
    assert (first.industry, first.spread) == (f"industry {place % 3}", 0.1)
    assert first.size == pytest.approx(np.exp(size)) and first.percentile == pytest.approx(11.5 / 12)


def test_the_factors_beside_the_scores_are_the_classic_ones_once(scored):
    dual = judgement.gather(scored).streams["dual"]
    assert [name for name, _ in dual.correlations] == judgement.OTHERS
    assert len(dual.correlations) + len(dual.exposures) == len(CLASSIC)
    skewness = dict(dual.correlations)["skewness_20"]
    assert (skewness.value, skewness.sessions) == weekly("skewness_20")
    assert dict(dual.scored) == dict.fromkeys(scored.sessions("scores"), 1.0)
    assert [part.participation for part in dual.costs.capacity] == [0.01, 0.05, 0.1, 0.2]


def test_pages_beside_the_report_are_linked_once_they_are_there(scored):
    page = report.write(scored)
    assert 'class="links"' not in page.read_text()
    page.with_name(f"encoder-{VINTAGE}.html").write_text("")
    assert f'<a href="encoder-{VINTAGE}.html">Encoder {VINTAGE}</a>' in report.write(scored).read_text()


def test_records_tell_whether_a_model_saw_what_it_is_judged_by(scored):
    scores = judgement.read_evidence(scored).scores
    assert lessons.findings(provenance.folds(scores, {}), scores, scored) == {}  # nothing is recorded
    whole = {"folds": {"train": ["2024-09-02", "2024-10-18", 30], "validation": ["2024-10-31", "2024-11-15", 12]}}
    folds = provenance.folds(scores, {SCORER: whole})
    assert lessons.findings(folds, scores, scored)["label overlap"] is None
    late = {"folds": whole["folds"] | {"validation": ["2024-10-31", "2024-11-29", 22]}}
    finding = lessons.findings(provenance.folds(scores, {SCORER: late}), scores, scored)["label overlap"]
    assert finding == (
        f"scorer {SCORER}, 2024-12-02: a label of 2024-11-29 is complete 6 sessions later, test begins 2024-12-02"
    )


def test_beside_the_oracle_where_the_exchange_left_one(scored):
    folder = scored.settings.home / "synthetic" / "answers"
    folder.mkdir(parents=True)
    answers = pl.concat(
        LAKE.labels(session).select(
            "symbol", session=pl.lit(session), intraday="label", daily="label", combined="label"
        )
        for session in scored.sessions("scores")
    )
    answers.write_parquet(folder / "oracle.parquet")
    lines = {line["stream"]: line for line in report.evaluate(scored)["rank_ic"]}
    assert lines["dual"]["oracle"] == pytest.approx(1.0)
    assert 0.3 < lines["dual"]["share"] < 1
    assert "synthetic" in judgement.gather(scored).title
    for content in (b"PAR1", b"", (folder / "oracle.parquet").read_bytes()[:-9]):
        (folder / "oracle.parquet").write_bytes(content)
        with pytest.raises(StoreCorrupt, match=r"FPM-IN-197.*oracle\.parquet cannot be read"):
            report.evaluate(scored)
    answers.drop("daily").write_parquet(folder / "oracle.parquet")
    with pytest.raises(StoreCorrupt, match="FPM-IN-197"):
        report.evaluate(scored)


def test_a_night_is_judged_by_what_was_served(scored):
    """Scores and weights that a later correction reverses change no figure: nobody could act on them that night."""
    before = report.evaluate(scored)
    later = pl.lit(cut_off(scored.market, date(2024, 12, 31))).dt.cast_time_unit("us")
    for session in scored.sessions("scores"):
        for table, column in (("scores", "score"), ("weights", "weight")):
            served = scored.read(table, session).drop("session")
            revised = served.with_columns(pl.col(column).reverse(), created_timestamp=later)
            put("portfolio" if table == "weights" else table, session, {table: pl.concat([served, revised])}, scored)
    assert scored.read("scores", MONDAY)["created_timestamp"].unique().len() == 1
    assert scored.read("scores", MONDAY)["score"].to_list() != LAKE.scores(MONDAY)["score"].to_list()
    assert report.evaluate(scored) == before


def test_spread_is_in_units_of_the_scores_deviation():
    scores = pl.DataFrame({"session": [MONDAY] * 2, "symbol": ["a", "b"], "score": [1.0, 3.0], "spread": [0.2, 0.4]})
    assert judgement.spread(scores) == [(MONDAY, pytest.approx(0.3))]


def test_what_surrounds_the_scores_is_read_from_daily_bars_and_factors(scored):
    """Every figure that needs more than scores and labels is there: the lake's tables reach it."""
    dual = judgement.gather(scored).streams["dual"]
    assert [name for name, _ in dual.bases] == ["close", "next open", "next close", "next vwap"]
    assert [name for name, _ in dual.neutral] == ["industry", "styles", "styles and industry"]
    assert all(figure.value is not None for _, figure in (*dual.bases, *dual.neutral, *dual.exposures))
    assert [name for name, _ in dual.exposures] == list(judgement.STYLES)
    assert (dict(dual.exposures)["size"].value, dict(dual.exposures)["size"].sessions) == weekly("log_size")


def weekly(factor):
    """Mean rank correlation of the dual score and a factor over the three Fridays, and their number."""
    fridays = [date(2024, 12, day) for day in (6, 13, 20)]
    dual = [LAKE.scores(session).filter(pl.col("stream") == "dual")["score"] for session in fridays]
    factors = [LAKE.daily_factors(session)[factor] for session in fridays]
    pairs = [stats.spearmanr(*pair)[0] for pair in zip(dual, factors, strict=True)]
    return pytest.approx(np.mean(pairs)), 3


def test_before_anything_was_scored(stores):
    with pytest.raises(TryLater, match="FPM-REP-075"):
        report.evaluate(stores)


# --- companies ------------------------------------------------------------------------------------------------------
def test_a_rename_changes_no_figure(scored):
    expected = report.evaluate(scored)["streams"]
    old, new, day = LAKE.names[-1], "600099.SH", date(2024, 12, 11)
    for session in (each for each in scored.sessions("scores") if each >= day):
        for job, table in (("bars", "daily_bars"), ("scores", "scores"), ("daily_factors", "daily_factors")):
            put(job, session, {table: renamed(getattr(LAKE, table)(session), old, new)}, scored)
        if session in scored.sessions("labels"):
            put("labels", session, {"labels": renamed(LAKE.labels(session), old, new)}, scored)
    assert report.evaluate(scored)["streams"] != expected, "without a table the old name ends and another one begins"
    spans = [(old, date(2010, 1, 4), date(2024, 12, 10), "x"), (new, day, None, "x")]
    companies = pl.DataFrame(spans, schema=["symbol", "first", "last", "identity"], orient="row")
    put("symbols", scored.sessions("scores")[0], {"symbols": companies}, scored)
    assert report.evaluate(scored)["streams"] == expected


def renamed(rows, old, new):
    return rows.with_columns(pl.col("symbol").replace(old, new))
