"""Time of a fresh process to its first answers through Feast: import, `FeatureStore`, online read, frame.

Run `python benchmarks/bench_cold_start.py [--runs 3]`. The peer, in the same run, is Feast's own
`FeatureStore(repo_path)` on the same configuration, registry (SQL) and stores, so the difference is our work before and
around it. Floors: a Python that does nothing, and one that imports pandas, pyarrow, SQLAlchemy and pydantic, which
Feast needs. The tables show processor seconds beside wall seconds, because imports are pure computation.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from datetime import date
from importlib import resources
from pathlib import Path
from typing import Any

import measure

SESSION = date(2024, 12, 2)
SYMBOLS = [f"{number:06d}.SZ" for number in range(100)]
STAGES = ("import", "FeatureStore", "first online read", "first frame")
FLOORS = {"python": "pass", "python with what Feast needs": "import pandas, pyarrow, sqlalchemy, pydantic, fastapi"}


class Clock:
    """Wall and processor seconds of consecutive stages."""

    def __init__(self) -> None:
        self.spent: dict[str, tuple[float, float]] = {}
        self.last = time.perf_counter(), _processor()

    def stage(self, name: str) -> None:
        now = time.perf_counter(), _processor()
        self.spent[name] = now[0] - self.last[0], now[1] - self.last[1]
        self.last = now


def _processor() -> float:
    return sum(resource.getrusage(resource.RUSAGE_SELF)[:2])


def start(way: str, folder: Path) -> dict[str, tuple[float, float]]:
    """Time the stages of a process up to its first answers."""
    clock = Clock()
    if way == "ours":
        from fpm.store.retrieval import features
        from fpm.store.settings import load_settings

        clock.stage(STAGES[0])
        store: Any = features.serving_store(load_settings({}))
    else:
        from feast import FeatureStore

        clock.stage(STAGES[0])
        store = FeatureStore(repo_path=str(folder))
    clock.stage(STAGES[1])
    rows = [{"symbol": SYMBOLS[0], "stream": "dual"}]
    assert store.get_online_features(["scores:score"], rows).to_dict()["score"] == [0.0]
    clock.stage(STAGES[2])
    import pandas as pd

    moment = pd.Timestamp("2024-12-03", tz="UTC")
    entities = pd.DataFrame({"symbol": SYMBOLS, "stream": "dual", "event_timestamp": moment})
    frame = store.get_historical_features(entity_df=entities, features=["scores:score"]).to_df()
    assert frame["score"].notna().all()
    clock.stage(STAGES[3])
    return clock.spent


def prepare(folder: Path) -> dict[str, str]:
    """Fill a home with one published session of scores; returns the environment variables of both ways."""
    import polars as pl

    from fpm.schema import STREAMS
    from fpm.sessions import close, cut_off, market
    from fpm.store.ledger.ledger import Publication
    from fpm.store.ledger.stores import open_stores
    from fpm.store.online.publication import publish_online
    from fpm.store.retrieval import features
    from fpm.store.retrieval.configuration import variables
    from fpm.store.settings import Settings

    settings = Settings(home=folder, market="cn", preset="default", fsync=False, log_level="error")
    stores, cn = open_stores(settings), market("cn")
    features.apply(settings)
    clocks = {"event_timestamp": close(cn, SESSION), "created_timestamp": cut_off(cn, SESSION)}
    rows = pl.concat(
        pl.DataFrame({"symbol": SYMBOLS, "stream": stream, "score": 0.0, "spread": 0.1, "vintage": "v", "model": "m"})
        for stream in STREAMS
    ).with_columns(pl.lit(moment, pl.Datetime("us", "UTC")).alias(name) for name, moment in clocks.items())
    relative = stores.lake.relative("scores", SESSION, None)
    stores.lake.stage("scores", rows, relative, stores.lake.staging)
    stores.lake.put(stores.lake.staging / relative, relative)
    publish_online(Publication(SESSION, ("scores",), 0, "0", "v", "m"), {"scores": rows}, stores)
    stores.ledger.close()
    declared = resources.files("feature_repo").joinpath("feature_store.yaml").read_text()
    (folder / "feature_store.yaml").write_text(declared)
    return {"FPM_HOME": str(folder), **variables(settings, "reader")}


def fresh(way: str, folder: Path, environment: dict[str, str]) -> dict[str, tuple[float, float]]:
    others = ("FPM_FEAST_",) if way == "ours" else ("FPM_HOME",)  # each way gets its own variables only
    environment = {name: value for name, value in environment.items() if not name.startswith(others)}
    command = [sys.executable, __file__, "--way", way, "--folder", str(folder)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env={**os.environ, **environment})
    answer: dict[str, tuple[float, float]] = json.loads(done.stdout.splitlines()[-1])
    return answer


def floor(program: str) -> float:
    """Return the processor seconds of a program."""
    before = sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])
    subprocess.run([sys.executable, "-c", program], check=True)
    return sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2]) - before


def compare(folder: Path, runs: int) -> None:
    environment = prepare(folder)
    ways = ("Feast's own", "ours")
    stages: dict[str, list[dict[str, tuple[float, float]]]] = {way: [] for way in ways}
    for way in ways:
        fresh(way, folder, environment)  # writes byte code, loads files into memory
    for _ in range(runs):
        for way in ways:
            stages[way].append(fresh(way, folder, environment))
    for which, unit in enumerate(("wall", "processor")):
        best = {way: [min(run[stage][which] for run in stages[way]) for stage in STAGES] for way in ways}
        rows = [
            [stage, *(best[way][i] for way in ways), best["ours"][i] / best[ways[0]][i]]
            for i, stage in enumerate(STAGES)
        ]
        rows.append(["all", *(sum(best[way]) for way in ways), sum(best["ours"]) / sum(best[ways[0]])])
        measure.show(f"cold start, {unit} seconds", ["stage", *ways, "ours / its own"], rows)
    floors = {name: min(floor(program) for _ in range(runs)) for name, program in FLOORS.items()}
    print("floors, processor seconds: " + ", ".join(f"{name} {spent:.2f}" for name, spent in floors.items()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--way", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.way:
        print(json.dumps(start(options.way, options.folder)))
        return
    from fpm.store.postgres.server import stop_server
    from fpm.store.settings import Settings

    with tempfile.TemporaryDirectory(prefix="bench-cold-start-") as folder:
        home = Path(folder) / "home"
        home.mkdir()
        try:
            compare(home, options.runs)
        finally:
            stop_server(Settings(home=home))


if __name__ == "__main__":
    main()
