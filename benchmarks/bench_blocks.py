"""Histories in blocks: memory must be that of one block, whatever the length of the history.

Run `python benchmarks/bench_blocks.py [--symbols 5300] [--large]`. Every method runs in its own process, through
Feast's `get_historical_features` on our store. Peak: resident memory minus that of the process before the call
(libraries and entity rows). The array's own bytes are part of its peak. The goal: at most 1.5 times the answer's bytes,
and at most linear growth; a frame in blocks must add nothing that grows except its row positions.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import measure
import polars as pl
import pyarrow.parquet as pq

SESSIONS, LARGE = (60,), (60, 250, 1000)
Call = Callable[[Any, pl.DataFrame, Path], Any]


def whole(job: Any, _entities: pl.DataFrame, _scratch: Path) -> int:
    return int(job.to_arrow().num_rows)


def blocks(job: Any, _entities: pl.DataFrame, _scratch: Path) -> int:
    return sum(len(rows) for _, rows in job.blocks())


def file(job: Any, entities: pl.DataFrame, scratch: Path) -> int:
    """As `fpm frame` does."""
    from fpm.store.frames import files

    files.write(job.blocks(), len(entities), scratch / "frame.parquet")
    return int(pq.read_metadata(scratch / "frame.parquet").num_rows)


def array(job: Any, entities: pl.DataFrame, _scratch: Path) -> int:
    from fpm.store.retrieval.training_matrix import filled

    return len(filled(job.blocks(), entities, None, None).x_NF)


WAYS: dict[str, Call] = {
    "whole frame": whole,
    "blocks": blocks,
    "file": file,
    "file, entities in no order": file,
    "array": array,
}


def generate(root: Path, symbols: int, sessions: int) -> dict[str, Any]:
    """The lake, and one entity row for every symbol and session, known at the cut-off."""
    import wide

    from fpm.store.lake.files import Lake

    names = wide.symbols(symbols)
    wide.fill(Lake(root / "lake", root / "staging"), sessions, names, with_fingerprints=False)
    pl.concat(wide.entities(day, names, False) for day in wide.days(sessions)).write_parquet(root / "entities.parquet")
    return {}


def measured(root: Path, way: str) -> dict[str, Any]:
    import wide
    from feast import FeatureStore, RepoConfig

    scratch, entities = Path(tempfile.mkdtemp(dir=root)), pl.read_parquet(root / "entities.parquet")
    if "no order" in way:
        entities = entities.sample(fraction=1, shuffle=True, seed=1)
    config = RepoConfig(
        project="benchmark",
        provider="local",
        registry=str(scratch / "registry.db"),
        online_store=None,
        offline_store={"type": "fpm.store.frames.offline_store.FpmOfflineStore", "lake": str(root / "lake")},
        entity_key_serialization_version=3,
    )
    store = FeatureStore(config=config, repo_path=scratch)
    store.apply(wide.definitions())
    job = store.get_historical_features(entity_df=entities, features=[f"wide:{name}" for name in wide.COLUMNS])
    measure.reset_peak()
    before, rows = measure.resident("VmRSS"), []
    seconds = measure.seconds(lambda: rows.append(WAYS[way](job, entities, scratch)), 1)
    assert rows == [len(entities)]
    shutil.rmtree(scratch)
    return {"seconds": seconds, "added": measure.resident("VmHWM") - before}


def compare(symbols: int, sessions: int) -> None:
    with tempfile.TemporaryDirectory(prefix="bench-blocks-") as folder:
        measure.in_process(__file__, "--root", folder, "--symbols", symbols, "--sessions", sessions)
        answers = {way: measure.in_process(__file__, "--root", folder, "--way", way) for way in WAYS}
    rows, size = symbols * sessions, symbols * sessions * 158 * 4 / measure.MEGABYTE
    measure.show(
        f"{rows:,} rows x 158 ({size:.0f} MB of float32)",
        ["way", "seconds", "added MB at the peak", "added / answer"],
        [[way, one["seconds"], one["added"], one["added"] / size] for way, one in answers.items()],
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--symbols", type=int, default=5300)
    parser.add_argument("--sessions", type=int, help="only so many (default: 60)")
    parser.add_argument("--large", action="store_true", help="1,000 sessions, too: 5.3 million rows, 7 GB on the disk")
    parser.add_argument("--root", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.root is not None:
        answer = (
            measured(options.root, options.way)
            if options.way
            else generate(options.root, options.symbols, options.sessions)
        )
        print(json.dumps(answer))
        return
    for sessions in [options.sessions] if options.sessions else LARGE if options.large else SESSIONS:
        compare(options.symbols, sessions)


if __name__ == "__main__":
    main()
