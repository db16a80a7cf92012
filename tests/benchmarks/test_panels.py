"""`make panels`: its tables, its log of looks, and the last fifth that is scored once. fpm itself is a stub here."""

from __future__ import annotations

import csv
import sys
from datetime import datetime, timedelta
from importlib import import_module
from pathlib import Path
from typing import Any

import polars as pl
import pytest

ROOT = Path(__file__).parents[2]
MODELS = ("dual", "traditional", "ridge")
FOLDS = [{"train": "a", "validation": "b", "served": "c"}]
LABELS = {"horizon": 5, "best_peer": "ridge", "folds": FOLDS, "promises": []}
STUB = """import json, os, sys
answer = {"protocol": %s}.get(sys.argv[-2], {"command": sys.argv[1:]})
open(os.environ["FPM_HOME"] + "/calls", "a").write(" ".join(sys.argv[1:]) + "\\n")
print(json.dumps(answer))
"""


def answer(difference: float, error: float) -> dict[str, Any]:
    """What `fpm evaluate protocol` says, with a difference of dual and traditional."""
    figures = {"rank_ic": 0.02, "low": -0.01, "high": 0.05, "null_band": 0.03, "sessions": 100, "periods": 21}
    paired = {"low": difference - 2 * error, "high": difference + 2 * error, "error": error, "periods": 21}
    book = {"book": "top group", "rebalances": 20, "traded": 0.5, "gross": 0.002, "net_5": 0.00175, "capacity": 2.5e6}
    return LABELS | {
        "rank_ic": [{"model": name, "validation": 0.01, **figures} for name in MODELS],
        "paired": [{"less": name, "difference": difference, **paired} for name in MODELS[1:]],
        "books": [{"model": name, **book, "net_10": 0.0015, "net_20": 0.001} for name in MODELS],
        "tried": [{"setting": "0a1b2c3d", "models": 2}, {"setting": "elsewhere", "models": 0}],
    }


@pytest.fixture
def panels(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """The program with a page and a log of its own, fpm a stub that notes its calls."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    program = import_module("panels")
    page, looks, package = tmp_path / "page.md", tmp_path / "looks.csv", tmp_path / "path" / "fpm"
    page.write_text(f"before\n\n{program.panel_tables.BEGIN}\n{program.panel_tables.END}\n\nafter\n")
    looks.write_text("date,market,setting,what\n2026-11-29,nse15,short-1,one run\n")
    package.mkdir(parents=True)
    (package / "__main__.py").write_text(STUB % repr(answer(0.02, 0.01)))
    (package / "__init__.py").write_text("")
    monkeypatch.setenv("PYTHONPATH", str(package.parent))
    monkeypatch.chdir(tmp_path)  # `python -m` looks into the present folder first
    monkeypatch.setattr(program, "TABLES", page)
    monkeypatch.setattr(program, "LOOKS", looks)
    return program


def nse(folder: Path, count: int = 10) -> Path:
    """Ten days of one bar each, as the panel has them."""
    data = folder / "data" / "nse_equity_15min_2024_2025"
    data.mkdir(parents=True)
    moments = [datetime(2024, 1, 1, 9, 15) + timedelta(days=day) for day in range(count)]  # noqa: DTZ001  naive as delivered
    pl.DataFrame({"symbol": "A", "datetime": moments, "close": 1.0}).write_parquet(data / "bars_15min.parquet")
    return data.parent


def run(program: Any, monkeypatch: pytest.MonkeyPatch, *options: str) -> None:
    monkeypatch.setattr(sys, "argv", ["panels.py", *options])
    program.main()


def test_a_panel_is_run_through_the_command_line_once_and_logged(
    panels: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    data, homes = nse(tmp_path), tmp_path / "home"
    for _ in range(2):
        run(panels, monkeypatch, str(data), "--homes", str(homes))
    home = tmp_path / "home-nse15"
    calls = (home / "calls").read_text().splitlines()
    assert [call.split()[0] for call in calls] == ["setup", "ingest", "walk-forward", "evaluate", "evaluate", "report"]
    assert "walk-forward earliest 2024-01-08 --json" in calls, "eight of ten days"
    kept = pl.read_parquet(home / "delivery" / "bars.parquet")
    assert kept["datetime"].dt.date().n_unique() == 8
    rows = list(csv.DictReader(panels.LOOKS.read_text().splitlines()))
    assert [(row["market"], row["setting"]) for row in rows] == [("nse15", "short-1"), ("nse15", "0a1b2c3d")]
    text = panels.TABLES.read_text()
    assert text.startswith("before") and text.endswith("after\n") and text.count("NSE, 15 minutes") == 1


def test_the_last_fifth_is_scored_once(panels: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    data, homes = nse(tmp_path), tmp_path / "home"
    run(panels, monkeypatch, str(data), "--homes", str(homes), "--final")
    calls = (tmp_path / "home-nse15-final" / "calls").read_text()
    assert "walk-forward 2024-01-09 2024-01-10 --json" in calls
    assert [row["setting"] for row in csv.DictReader(panels.LOOKS.read_text().splitlines())] == [
        "short-1",
        "final",
        "0a1b2c3d",
    ]
    with pytest.raises(SystemExit, match="the last fifth was scored before"):
        run(panels, monkeypatch, str(data), "--homes", str(tmp_path / "other"), "--final")
    assert not (tmp_path / "other-nse15-final").exists()


def test_a_stage_that_fails_is_named_and_done_again(
    panels: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    data, stub = nse(tmp_path), tmp_path / "path" / "fpm" / "__main__.py"
    working = stub.read_text()
    stub.write_text(working + "sys.exit(1 if 'walk-forward' in sys.argv else 0)\n")
    with pytest.raises(SystemExit, match="fpm walk-forward ended with 1; run again to go on"):
        run(panels, monkeypatch, str(data), "--homes", str(tmp_path / "home"))
    assert panels.LOOKS.read_text().count("\n") == 2, "nothing was looked at"
    stub.write_text(working)
    run(panels, monkeypatch, str(data), "--homes", str(tmp_path / "home"))
    calls = (tmp_path / "home-nse15" / "calls").read_text().split()
    assert calls.count("ingest") == 1 and calls.count("walk-forward") == 2


def test_tables_hold_the_figures_and_the_pooled_difference(panels: Any) -> None:
    """Differences 0.03 and 0.00 with errors 0.01 and 0.02: (4 x 0.03 + 0) / 5 = 0.024, error 0.02 / sqrt 5."""
    tables = panels.panel_tables
    text = tables.section("NSE", answer(0.03, 0.01), "first four fifths")
    assert "| ridge | 0.010 | 0.020 [-0.010, 0.050] ± 0.030 | 0.030 [0.010, 0.050] |" in text
    assert "| dual | top group | 20 | 0.50 | 2.00 | 1.75 | 1.50 | 1.00 | 2.50 |" in text
    assert "| traditional | top group" not in text, "the dual stream's books and the best peer's"
    line = tables.pooled_line({"a": answer(0.03, 0.01), "b": answer(0.0, 0.02)})
    assert line.startswith("Dual less traditional over 2 panels, pooled: 0.024 [0.006, 0.042]")
    assert "Intervals" not in text, "there are none"
    shares = {"all": 0.9, "month: 2024-01": 0.88, "month: 2024-02": 0.92, "score tenth: 01": 0.85}
    promises = [{"part": part, "stated": 0.9, "observed": share, "sessions": 40} for part, share in shares.items()]
    promised = tables.section("NSE", answer(0.03, 0.01) | {"promises": promises}, "first four fifths").splitlines()[-1]
    assert promised == (
        "Intervals of the dual stream's ranks, stated 0.900: held 0.900 in 40 sessions; by month 0.880 to 0.920; "
        "by score tenth 0.850 to 0.850."
    )
    none = answer(0.03, 0.01) | {"paired": [{"less": "traditional", "difference": None, "error": None, "periods": 0}]}
    assert tables.pooled_line({"a": none}) == "Dual less traditional over the panels: no interval."


def test_the_log_of_the_repository_is_one() -> None:
    from fpm.looks import read_looks

    assert {"nse15", "crypto5", "cn15"} <= {look.market for look in read_looks(ROOT / "docs" / "looks.csv")}
