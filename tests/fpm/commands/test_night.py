"""The steps of a night, as data."""

from datetime import date

from fpm.commands.jobs import MODULES
from fpm.commands.night import Step, steps

TONIGHT, LABELLED = date(2024, 1, 12), date(2024, 1, 4)


def test_a_night_runs_every_job_once_in_order() -> None:
    night = steps(TONIGHT, LABELLED, "vintage-b", None, ["cnn-3"])
    assert [step.job for step in night] == list(MODULES)
    assert {step.session for step in night if step.job != "labels"} == {TONIGHT}
    assert [step.job for step in night if step.looks_back] == [
        "session_totals",
        "minute_features",
        "daily_factors",
        "fingerprints",
    ]
    assert [(step.job, step.vintage) for step in night if step.vintage] == [
        ("fingerprints", "vintage-b"),
        ("vector_scores", "cnn-3"),
    ]
    assert [step for step in night if step.job != "vector_scores"] == steps(TONIGHT, LABELLED, "vintage-b", None)


def test_labels_are_of_the_session_whose_horizon_closes_tonight() -> None:
    assert Step("labels", LABELLED, apart=True) in steps(TONIGHT, LABELLED, "vintage-b", None)
    assert "labels" not in [step.job for step in steps(TONIGHT, None, "vintage-b", None)]


def test_during_a_hand_over_the_former_vintage_follows_and_may_fail() -> None:
    night = steps(TONIGHT, LABELLED, "vintage-b", "vintage-a")
    fingerprints = [step for step in night if step.job == "fingerprints"]
    assert fingerprints == [
        Step("fingerprints", TONIGHT, "vintage-b", looks_back=True),
        Step("fingerprints", TONIGHT, "vintage-a", optional=True),
    ]
    assert night.index(fingerprints[1]) == night.index(fingerprints[0]) + 1
