"""Mandates from a file: defaults of an index, values, and every fault named at once."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest

from fpm.errors import UsageError
from fpm.portfolio.costs import A_SHARE, Cost, flat
from fpm.portfolio.mandate import Mandate, read_mandates
from fpm.risk.estimate import PRESETS


@pytest.fixture
def written(tmp_path):
    def write(text: str):
        path = tmp_path / "mandate.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_an_empty_section_has_the_defaults_of_its_index(written):
    mandates = read_mandates(written("[CSI300]\n[CSI1000]\n['S&P 500']\nlot = 1\n"))
    assert list(mandates) == ["CSI300", "CSI1000", "S&P 500"]
    first, second = mandates["CSI300"], mandates["CSI1000"]
    assert (first.active, first.tracking_error) == (0.005, 0.03)
    assert (second.active, second.tracking_error) == (0.01, 0.05)
    assert second == Mandate("CSI1000")
    assert (first.industry, first.size, first.style, first.members) == (0.01, 0.1, 0.5, 0.8)
    assert (first.turnover, first.cash, first.capital, first.participation) == (0.30, 0.01, 1e8, 0.1)
    assert (first.lot, mandates["S&P 500"].lot) == (100, 1)
    assert first.costs == A_SHARE


def test_values_replace_defaults_and_integers_may_stand_for_numbers(written):
    mandate = read_mandates(
        written(
            """[CSI300]
            capital = 500_000_000
            rebalance = "daily"
            candidates = "members"
            stream = "mine"
            approval = true
            costs = [
                {from = 2020-01-01, side = "buy", rate = 0.001},
                {from = 2020-01-01, side = "sell", rate = 0, minimum = 5},
            ]
            """
        )
    )["CSI300"]
    assert mandate.capital == 5e8 and isinstance(mandate.capital, float)
    assert (mandate.rebalance, mandate.candidates, mandate.stream) == ("daily", "members", "mine")
    assert mandate.costs == (Cost(date(2020, 1, 1), "buy", 0.001), Cost(date(2020, 1, 1), "sell", 0.0, 5.0))
    assert mandate.active == 0.005
    assert mandate.approval and not Mandate("CSI300").approval


def test_half_lives_are_of_an_index_and_may_be_said_in_part(written):
    text = (
        "[A]\nhalf_lives = {volatility = 42, correlation = 126, specific = 5}\n[B]\nhalf_lives = {specific = 84}\n[C]\n"
    )
    mandates = read_mandates(written(text))
    preset = PRESETS["default"]
    own = {index: mandate.half_lives.of(preset) for index, mandate in mandates.items()}
    assert (own["A"].volatility, own["A"].correlation, own["A"].specific) == (42.0, 126.0, 5.0)
    assert (own["B"].volatility, own["B"].correlation, own["B"].specific) == (84.0, 252.0, 84.0)
    assert own["C"] == preset
    assert replace(own["A"], volatility=84.0, correlation=252.0, specific=168.0) == preset


FAULTS = {
    "[X]\nactivity = 0.01": "unknown key activity",
    "[X]\nindex = 'Y'": "unknown key index",
    "x = 1": "not a section",
    "": "no section",
    "[X]\nactive = '1 %'": "no number",
    "[X]\nactive = true": "no number",
    "[X]\nactive = nan": "no number",
    "[X]\nactive = -0.01": "not from",
    "[X]\ntracking_error = 5.0": "not from",
    "[X]\nmembers = 80": "not from",
    "[X]\nlot = 100.5": "no whole number",
    "[X]\nlot = 0": "not from",
    "[X]\nrebalance = 'monthly'": "weekly or daily",
    "[X]\ncandidates = 5": "no text",
    "[X]\nstream = 'a b'": "no name of a stream",
    "[X]\napproval = 'yes'": "not true or false",
    "[X]\napproval = 1": "not true or false",
    "[X]\ncosts = 0.003": "costs",
    "[X]\ncosts = [{from = 2020-01-01, side = 'buy', rate = 0.001}]": "both sides",
    "[X]\ncosts = [{from = 2020-01-01T00:00:00, side = 'hold', rate = 3, fee = 1}]": "no date",
    "[X]\nhalf_lives = 84": "no table of volatility, correlation, specific",
    "[X]\nhalf_lives = {size = 84}": "half_lives has the unknown key size",
    "[X]\nhalf_lives = {volatility = '84'}": "volatility is '84', no number",
    "[X]\nhalf_lives = {volatility = true}": "no number",
    "[X]\nhalf_lives = {correlation = 4.9}": "not from 5 to 1000",
    "[X]\nhalf_lives = {specific = nan}": "not from 5 to 1000",
    "[X]\nhalf_lives = {specific = 1001}": "not from 5 to 1000",
    f"[X]\ncapital = 1{'0' * 400}": "not from 1 to",
    f"[X]\nlot = 1{'0' * 400}": "not from 1 to",
    f"[X]\nhalf_lives = {{specific = 1{'0' * 400}}}": "not from 5 to 1000",
    "[X]\nhalf_lives = {specific = 'postgresql://u:hush@h'}": "looks like a secret",
    "[X]\n[X]": "X",
    "[X": "mandates",
}


@pytest.mark.parametrize("text", FAULTS)
def test_what_is_not_understood_is_refused(written, text):
    with pytest.raises(UsageError, match="FPM-PF-021") as refused:
        read_mandates(written(text))
    assert FAULTS[text] in str(refused.value)


def test_every_fault_is_named_at_once(written):
    with pytest.raises(UsageError) as refused:
        read_mandates(written("[A]\nactivity = 1\nturnover = 9\n[B]\nlot = 'ten'\n"))
    assert all(word in str(refused.value) for word in ("activity", "turnover", "[B] lot"))


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(UsageError, match="FPM-PF-021"):
        read_mandates(tmp_path / "none.toml")


def test_what_a_file_does_not_say_is_the_markets_own(written):
    own = Mandate("SP500", lot=1, costs=flat(0.001))
    mandate = read_mandates(written("[SP500]\ncapital = 1e9\n"), lambda index: own)["SP500"]
    assert (mandate.capital, mandate.lot, mandate.costs) == (1e9, 1, flat(0.001))
