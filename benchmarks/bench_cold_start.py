"""How soon a fresh process answers through Feast: import, `FeatureStore`, first online read, first frame.

Run `python benchmarks/bench_cold_start.py [--runs 3]`. Peer, in the same run: Feast's own way in,
`FeatureStore(repo_path)` on the same configuration, registry (SQL) and stores; so the difference is what we do before
and around it. Floors: a Python that does nothing, and one that imports pandas, pyarrow, SQLAlchemy and pydantic, which
Feast cannot do without. Processor seconds beside wall seconds, because imports are nothing but work.
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
    """Wall and processor seconds of one stage after the other."""

    def __init__(self) -> None:
        self.told: dict[str, tuple[float, float]] = {}
        self.last = time.perf_counter(), _processor()

    def stage(self, name: str) -> None:
        now = time.perf_counter(), _processor()
        self.told[name] = now[0] - self.last[0], now[1] - self.last[1]
        self.last = now


def _processor() -> float:
    return sum(resource.getrusage(resource.RUSAGE_SELF)[:2])


def start(way: str, folder: Path) -> dict[str, tuple[float, float]]:
    """One process's way to its first answers."""
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

    asked = pd.DataFrame({"symbol": SYMBOLS, "stream": "dual", "event_timestamp": pd.Timestamp("2024-12-03", tz="UTC")})
    frame = store.get_historical_features(entity_df=asked, features=["scores:score"]).to_df()
    assert frame["score"].notna().all()
    clock.stage(STAGES[3])
    return clock.told


def prepare(folder: Path) -> dict[str, str]:
    """A home with one session of scores, in the lake and published; the environment of both ways."""
    import polars as pl

    from fpm.schema import STREAMS
    from fpm.sessions import close, cut_off, market
    from fpm.store.ledger.ledger import Publication
    from fpm.store.ledger.stores import open_stores
    from fpm.store.online.publication import publish_online
    from fpm.store.postgres.server import ensure_server
    from fpm.store.retrieval import features
    from fpm.store.retrieval.features import _registry
    from fpm.store.settings import Settings

    settings = Settings(home=folder, market="cn", preset="default", fsync=False, log_level="error")
    stores, of = open_stores(settings), market("cn")
    features.apply(settings)
    clocks = {"event_timestamp": close(of, SESSION), "created_timestamp": cut_off(of, SESSION)}
    rows = pl.concat(
        pl.DataFrame({"symbol": SYMBOLS, "stream": stream, "score": 0.0, "spread": 0.1, "vintage": "v", "model": "m"})
        for stream in STREAMS
    ).with_columns(pl.lit(moment, pl.Datetime("us", "UTC")).alias(name) for name, moment in clocks.items())
    relative = stores.lake.relative("scores", SESSION, None)
    stores.lake.stage("scores", rows, relative, stores.lake.staging)
    stores.lake.put(stores.lake.staging / relative, relative)
    publish_online(Publication(SESSION, ("scores",), 0, "0", "v", "m"), {"scores": rows}, stores)
    stores.ledger.close()
    server = ensure_server(settings)
    declared = resources.files("feature_repo").joinpath("feature_store.yaml").read_text()
    of_readers = declared.replace("dsn: ${FPM_FEAST_ONLINE}", "dsn: ${FPM_FEAST_ONLINE}\n  place: serving")
    (folder / "feature_store.yaml").write_text(of_readers)
    return {
        "FPM_HOME": str(folder),
        "FPM_FEAST_REGISTRY": _registry(server.for_role("producer")),
        "FPM_FEAST_LAKE": str(settings.lake),
        "FPM_FEAST_ONLINE": server.for_role("reader").dsn,
    }


def fresh(way: str, folder: Path, environment: dict[str, str]) -> dict[str, tuple[float, float]]:
    others = ("FPM_FEAST_",) if way == "ours" else ("FPM_HOME",)  # each way knows its own names and no others
    environment = {name: value for name, value in environment.items() if not name.startswith(others)}
    command = [sys.executable, __file__, "--way", way, "--folder", str(folder)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env={**os.environ, **environment})
    answer: dict[str, tuple[float, float]] = json.loads(done.stdout.splitlines()[-1])
    return answer


def floor(program: str) -> float:
    """Processor seconds of a process."""
    before = sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])
    subprocess.run([sys.executable, "-c", program], check=True)
    return sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2]) - before


def compare(folder: Path, runs: int) -> None:
    environment = prepare(folder)
    ways = ("Feast's own", "ours")
    told: dict[str, list[dict[str, tuple[float, float]]]] = {way: [] for way in ways}
    for way in ways:
        fresh(way, folder, environment)  # byte code, files in memory
    for _ in range(runs):
        for way in ways:
            told[way].append(fresh(way, folder, environment))
    for which, unit in enumerate(("wall", "processor")):
        best = {way: [min(each[stage][which] for each in told[way]) for stage in STAGES] for way in ways}
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
    given = parser.parse_args()
    if given.way:
        print(json.dumps(start(given.way, given.folder)))
        return
    from fpm.store.postgres.server import stop_server
    from fpm.store.settings import Settings

    with tempfile.TemporaryDirectory(prefix="bench-cold-start-") as folder:
        home = Path(folder) / "home"
        home.mkdir()
        try:
            compare(home, given.runs)
        finally:
            stop_server(Settings(home=home))


if __name__ == "__main__":
    main()
