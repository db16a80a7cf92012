"""Real panels by docs/protocol.md: from files to the tables of docs/real_bars.md, through the command line alone.

Run `python benchmarks/panels.py DATA [--homes PREFIX] [--panels nse15 cn15 crypto5]` (`make panels DATA=folder`), again
to go on: every stage leaves its answer under PREFIX-PANEL/figures, and is not done twice. The tables of all panels that
are done are then written again, and each new setting is a row of docs/looks.csv, which the deflated Sharpe ratio reads.

The last fifth of NSE and crypto is not read. `--final` scores it, once, after everything is chosen: a row of
docs/looks.csv says that it was done, and a second time is refused.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import panel_tables

ROOT = Path(__file__).parent.parent
LOOKS, TABLES = ROOT / "docs" / "looks.csv", ROOT / "docs" / "real_bars.md"
FINAL = "final"
MODEL = """[scorer]
seeds = [42]
[label]
horizon = {horizon}
[folds]
least = 120
validation = 20
refit = 120
"""


@dataclass(frozen=True)
class Panel:
    """One panel of the protocol. `share`: of its days that may be looked at before the final run."""

    market: str
    folder: str
    files: str
    title: str
    horizon: int = 5
    share: float = 0.8


PANELS = (
    Panel("nse15", "nse_equity_15min_2024_2025", "*.parquet", "NSE, 15 minutes, 150 names, survivors only"),
    Panel(
        "crypto5", "crypto_5min_spot_2022_2023", "bars-*.parquet", "Crypto spot, 5 minutes, 50 coins, survivors only", 1
    ),
    Panel(
        "cn15",
        "a_share_15min_2025",
        "bars_15min.parquet",
        "A-shares, 15 minutes, 120 Shanghai names; 183 of these sessions had been looked at before",
        share=1.0,
    ),
)


@dataclass(frozen=True)
class Run:
    """A panel's home and how its stages are run; `final`: on all sessions, scoring the last fifth."""

    panel: Panel
    data: Path
    home: Path
    final: bool

    def stages(self) -> None:
        """Every stage that has left no answer yet, in order."""
        first, last = self.delivery()
        delivery = self.home / "delivery" / ("" if self.panel.share == 1 else "bars.parquet")
        start = first if self.final else "earliest"
        for name, *command in (
            ("setup", "setup", "--market", self.panel.market, "--preset", "demo"),
            ("ingest", "ingest", str(delivery), "--market", self.panel.market),
            ("folds", "walk-forward", start, last),
            ("scores", "evaluate"),
            ("protocol", "evaluate", "protocol"),
            ("report", "report"),
        ):
            self.stage(name, command)

    def delivery(self) -> tuple[str, str]:
        """The bars that may be read, as a delivery; the first day of the last fifth, and the last day that is read."""
        stated = self.home / "figures" / "days.json"
        if not stated.exists():
            script = [sys.executable, str(Path(__file__).with_name("first_sessions.py"))]
            sources = sorted((self.data / self.panel.folder).glob(self.panel.files))
            if self.panel.market == "cn15":
                script = [sys.executable, str(Path(__file__).with_name("a_share_daily.py"))]
                command = [*script, str(self.data / self.panel.folder), str(self.home / "delivery")]
            else:
                share = 1.0 if self.final else self.panel.share
                target = self.home / "delivery" / "bars.parquet"
                command = [*script, *map(str, sources), str(target), "--share", str(share)]
            subprocess.run(command, check=True)
            days = panel_tables.days(sources)
            kept = days[: int(len(days) * self.panel.share)]
            beyond = days[len(kept)] if len(kept) < len(days) else None
            answer = {"beyond": beyond, "last": days[-1] if self.final else kept[-1]}
            stated.parent.mkdir(parents=True, exist_ok=True)
            stated.write_text(json.dumps(answer))
        answer = json.loads(stated.read_text())
        return answer["beyond"], answer["last"]

    def stage(self, name: str, command: list[str]) -> None:
        """Run a command of fpm and keep its answer; its progress goes to the terminal. Ends the program if it fails."""
        kept = self.home / "figures" / f"{name}.json"
        if kept.exists():
            return
        print(f"== {self.home.name}: {name}", flush=True)
        model = self.home / "model.toml"
        model.write_text(MODEL.format(horizon=self.panel.horizon))
        places = {"FPM_HOME": str(self.home), "FPM_MODEL": str(model), "FPM_LOOKS": str(LOOKS)}
        fpm = [sys.executable, "-m", "fpm", *command, "--json"]
        done = subprocess.run(fpm, env=os.environ | places, stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode:
            sys.exit(f"{self.home.name}: fpm {command[0]} ended with {done.returncode}; run again to go on")
        kept.write_text(done.stdout)

    def answer(self, name: str) -> Any:
        """What a stage answered; None before it has run."""
        kept = self.home / "figures" / f"{name}.json"
        return json.loads(kept.read_text()) if kept.exists() else None

    def promises(self) -> list[dict[str, Any]]:
        """How often the intervals of the dual stream held, by part, as the report counts them."""
        report = self.home / "reports" / "report.json"
        rows: dict[str, list[dict[str, Any]]] = json.loads(report.read_text())["promises"] if report.exists() else {}
        return rows.get("dual", [])


def rows_of_looks() -> list[dict[str, str]]:
    with LOOKS.open(newline="") as file:
        return list(csv.DictReader(file))


def log(run: Run) -> None:
    """Each setting that was trained in the run's home and is not in the log yet, as a row of it."""
    logged = {(row["market"], row["setting"]) for row in rows_of_looks()}
    what = "the last fifth" if run.final else "the first four fifths" if run.panel.share < 1 else "all sessions"
    trained = [trial["setting"] for trial in run.answer("protocol")["tried"] if trial["models"]]
    names = [FINAL, *trained] if run.final else trained
    with LOOKS.open("a", newline="") as file:
        for setting in names:
            if (run.panel.market, setting) not in logged:
                day = datetime.now(UTC).date().isoformat()
                csv.writer(file, lineterminator="\n").writerow([day, run.panel.market, setting, f"protocol, {what}"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--homes", type=Path, default=Path(".fpm-panel"), help="prefix of the homes")
    parser.add_argument("--panels", nargs="+", default=[panel.market for panel in PANELS])
    parser.add_argument("--final", action="store_true", help="score the last fifth, once")
    options = parser.parse_args()
    done, looked_at = {}, {row["market"] for row in rows_of_looks() if row["setting"] == FINAL}
    for panel in PANELS:
        name = f"{options.homes.name}-{panel.market}" + ("-final" if options.final else "")
        run = Run(panel, options.data.resolve(), options.homes.resolve().with_name(name), options.final)
        is_chosen = panel.market in options.panels and (options.data / panel.folder).is_dir()
        if options.final and panel.share == 1:
            continue  # nothing of it is left to look at
        if options.final and is_chosen and panel.market in looked_at:
            sys.exit(f"{panel.market}: the last fifth was scored before, and is scored once")
        if is_chosen:
            run.home.mkdir(parents=True, exist_ok=True)
            run.stages()
            log(run)
        if run.answer("protocol") is not None:
            done[panel.title] = run.answer("protocol") | {"promises": run.promises()}
    panel_tables.write(TABLES, done, "last fifth" if options.final else "first four fifths")


if __name__ == "__main__":
    main()
