"""A passport: its seal, the same bytes for the same content, and the first difference by its keys."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date
from hashlib import sha256

import pytest

from fpm.errors import InputRefused
from fpm.report.data import plain
from fpm.report.passport import SERIES, Difference, first_difference, headline, seal, unseal
from tests.fpm.report.sample_report import sample_report

CONTENT = {"deployment": {"market": "cn"}, "figures": {"rank_ic": 0.1, "icir": None}, "models": ["\u00e9", 2]}


def test_a_passport_opens_to_its_content_and_has_the_same_bytes_again():
    assert unseal(seal(CONTENT)) == CONTENT
    assert seal(CONTENT) == seal(dict(CONTENT))


def test_the_seal_is_the_sha256_of_the_rest_in_canonical_form():
    body = json.loads(seal(CONTENT))
    stated = body.pop("sha256")
    canonical = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert stated == sha256(canonical.encode()).hexdigest()
    assert list(body) == ["schema", *CONTENT]


@pytest.mark.parametrize(
    ("document", "code"),
    [
        (b"not json", "FPM-PASS-001"),
        (b"[1]", "FPM-PASS-001"),
        (b'{"schema": "fpm.report.passport/0"}', "FPM-PASS-001"),
        (seal(CONTENT).replace(b"0.1", b"0.2"), "FPM-PASS-002"),
        (seal(CONTENT).replace(b"sha256", b"sha255"), "FPM-PASS-002"),
    ],
)
def test_an_unsound_passport_is_refused(document, code):
    with pytest.raises(InputRefused, match=code):
        unseal(document)


def test_the_first_difference_is_named_by_its_keys():
    stated = {"a": {"x": 1, "y": [1, 2]}, "b": 3}
    assert first_difference(stated, {"b": 3, "a": {"y": [1, 2], "x": 1.0}}) is None
    assert first_difference(stated, {"a": {"x": 1, "y": [1, 5]}, "b": 4}) == Difference(("a", "y", "1"), "2", "5")
    assert first_difference(stated, {"a": {"x": 1, "y": [1]}, "b": 3}) == Difference(("a", "y"), "[1, 2]", "[1]")
    assert str(first_difference(stated, {"a": stated["a"]})) == "b is \u2013, the passport says 3"
    assert first_difference({}, {"new": None}, ("c",)) == Difference(("c", "new"), "\u2013", "null")
    assert first_difference({"a": 1}, {"a": True}) == Difference(("a",), "1", "true")


def test_the_headline_holds_every_figure_and_no_series():
    report = sample_report()
    dual = headline(report)["streams"]["dual"]
    assert dual["rank_ic"] == report.streams["dual"].rank_ic
    assert dual["newey_west"]["low"] == report.streams["dual"].newey_west.low
    assert dual["weeks"] == report.streams["dual"].weeks  # a count, though the series of that name is left out
    assert not set(dual) & {"series"} and "weeks" not in dual["long_short"]
    assert "curve" not in headline(report)["portfolios"]["ALL"]
    json.dumps(headline(report), allow_nan=False)


def test_plain_values():
    values = plain({"day": date(2025, 1, 2), "nan": float("nan"), "series": (1, 2), "weeks": 3}, SERIES)
    assert values == {"day": "2025-01-02", "nan": None, "weeks": 3}
    assert plain({"series": (1, 2)}) == {"series": [1, 2]}


def test_another_figure_is_another_passport():
    report = sample_report()
    other = replace(report, streams={**report.streams, "dual": replace(report.streams["dual"], rank_ic=0.5)})
    assert seal(headline(report)) != seal(headline(other))
    assert first_difference(headline(report), headline(other)).keys == ("streams", "dual", "rank_ic")
