"""What figures rest on, read from manifests, the ledger and the quarantine."""

from __future__ import annotations

import json
from datetime import date
from types import SimpleNamespace

import polars as pl
import pytest

from consumers.questions import provenance
from fpm.report.data import SessionRange, Trial
from tests.consumers.small_lake import SCORER, VINTAGE

MONDAY, TUESDAY = date(2024, 12, 2), date(2024, 12, 3)


def test_encoder_losses_are_in_units_of_their_baselines():
    manifest = {
        "figures": {"rank": 40.0, "count": 500.0, "note": "text"},
        "untrained": {"rank": 60.0},
        "alignment": {"onto": "former", "residual": 0.6},
        "history": [
            {"train/forward": 9.0, "validation/forward": 0.9, "validation/forward_baseline": 1.2, "rank": 1.0},
            {"train/forward": 0.5, "train/backward": 0.25, "train/backward_baseline": 0.5},
        ],
    }
    encoder = provenance.encoder(VINTAGE, MONDAY, "promoted", manifest)
    assert encoder.epochs == [{"forward": pytest.approx(0.75)}, {"forward": 0.5, "backward": 0.5}]
    assert encoder.figures == {"rank": 40.0, "count": 500.0, "rank_untrained": 60.0, "residual_to_former": 0.6}


def test_quarantined_rows_and_files_are_counted_by_code(tmp_path):
    folder = tmp_path / "minute_bars" / "session=2024-12-02"
    folder.mkdir(parents=True)
    rows = pl.DataFrame({"reason_code": ["FPM-IN-023"] * 2 + ["FPM-IN-021"], "reason": ["b", "a", "c"]})
    rows.write_parquet(folder / "0123456789ab.parquet")
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "x.csv-0123.json").write_text(
        json.dumps({"file": "x.csv", "code": "FPM-IN-001", "wrong": "no"})
    )
    assert [(row.table, row.code, row.reason, row.count) for row in provenance.quarantined(tmp_path)] == [
        ("minute_bars", "FPM-IN-021", "c", 1),
        ("minute_bars", "FPM-IN-023", "a", 2),
        ("file x.csv", "FPM-IN-001", "no", 1),
    ]


@pytest.mark.parametrize("content", [b"", b"PAR1", b"[1]", b'{"file": 1}', b"\xff\xfe\x00"])
def test_damaged_files_of_the_quarantine_are_lines_of_their_own(content, tmp_path):
    folder = tmp_path / "minute_bars" / "session=2024-12-02"
    folder.mkdir(parents=True)
    pl.DataFrame({"reason_code": ["FPM-IN-021"], "reason": ["c"]}).write_parquet(folder / "0123456789ab.parquet")
    (folder / "ba9876543210.parquet").write_bytes(content)
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "x.csv-0123.json").write_bytes(content)
    damaged, sound, note = provenance.quarantined(tmp_path)
    assert (damaged.table, damaged.code, damaged.count) == ("minute_bars", "FPM-IN-196", 1)
    assert "ba9876543210.parquet in quarantine cannot be read" in damaged.reason
    assert (sound.code, sound.reason, sound.count) == ("FPM-IN-021", "c", 1)
    assert (note.table, note.code) == ("file x.csv-0123.json", "FPM-IN-196")


def test_a_fold_names_the_sessions_its_scorer_was_trained_on():
    scores = pl.DataFrame(
        {"session": [MONDAY, TUESDAY, TUESDAY], "symbol": ["a", "a", "b"], "vintage": VINTAGE, "model": SCORER}
    )
    manifest = {
        "folds": {"train": ["2024-01-02", "2024-06-28", 118], "validation": ["2024-07-15", "2024-08-02", 15]},
        "seeds": [42, 7],
    }
    (fold,) = provenance.folds(scores, {SCORER: manifest})
    assert (fold.first, fold.last, fold.sessions, fold.seeds) == (MONDAY, TUESDAY, 2, (42, 7))
    assert fold.train == SessionRange(date(2024, 1, 2), date(2024, 6, 28), 118)
    assert fold.validation == SessionRange(date(2024, 7, 15), date(2024, 8, 2), 15)
    (unknown,) = provenance.folds(scores, {})
    assert unknown.train is None and unknown.seeds == ()


def test_settings_are_counted_once_and_say_what_they_do_otherwise():
    small, large = ({"encoder": {"layers": 2}, "scorer": {"hidden": hidden, "seeds": [1, 2]}} for hidden in (32, 64))
    trials = provenance.trials([(small, MONDAY), (large, MONDAY), (small, TUESDAY)])
    assert [(trial.differs, trial.models, trial.first, trial.last) for trial in trials] == [
        ("", 2, MONDAY, TUESDAY),
        ("scorer.hidden 64", 1, MONDAY, MONDAY),
    ]
    assert isinstance(trials[0], Trial) and trials[0].setting != trials[1].setting
    assert provenance.flattened({"a": {"b": [1]}, "c": None}) == {"a.b": "[1]", "c": "null"}


def test_a_look_in_another_home_is_a_trial_unless_its_setting_was_trained_here(tmp_path):
    """Of nse15: `a` twice is one setting, `b` was trained here; the row of another market counts nothing."""
    path = tmp_path / "looks.csv"
    lines = ["date,market,setting,what", "2024-12-02,nse15,a,one fold", "2024-12-03,nse15,a,once more"]
    path.write_text(
        "\n".join([*lines, "2024-12-03,nse15,b,peers", "2024-12-03,cn15,c,peers", "2024-12-03,nse15,d,final"])
    )
    stores = SimpleNamespace(settings=SimpleNamespace(looks=path), market=SimpleNamespace(name="nse15"))
    trials = provenance.looks(stores, {"b"})
    assert [(trial.setting, trial.models, trial.first) for trial in trials] == [("a", 0, MONDAY), ("d", 0, TUESDAY)]
    assert trials[0].differs == "a look elsewhere: one fold"
    stores.settings.looks = None
    assert provenance.looks(stores, set()) == []


def test_symbols_are_counted_in_the_sessions_that_have_scores():
    daily = pl.DataFrame({"session": [MONDAY, MONDAY, TUESDAY], "symbol": ["a", "b", "a"]})
    scores = pl.DataFrame({"session": [MONDAY, MONDAY], "symbol": ["a", "b"], "score": [1.0, None]})
    labels = pl.DataFrame({"session": [MONDAY], "symbol": ["b"], "label": [float("nan")]})
    assert provenance.symbols(daily, scores, labels) == {
        "daily bars": [(MONDAY, 2)],
        "scored": [(MONDAY, 1)],
        "labelled": [],
    }
