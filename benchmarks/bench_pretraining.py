"""Pre-training from session files: memory must not grow with the history, and reading must not slow the training.

Run `python benchmarks/bench_pretraining.py [--symbols 400] [--sessions 24 48 96] [--trained 24] [--large]`. Every way
runs in its own process on the same lake. `memory`: the whole history as one array with batches from all of it (the
former way); `stream`: a survey, then reading session by session, without a cache. Peak: resident memory minus that of
the process before. Times are processor seconds of all threads, which other work on the machine hardly changes.
`--large`: sessions of 5,300 symbols, and from their figures those of a decade.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import measure
import numpy as np
import polars as pl
import torch
import wide
from torch import Tensor

from fpm.features.minute_features import PRESETS, Profile, from_frame, to_frame
from fpm.nn.encoder import network, pretraining
from fpm.nn.encoder.batches import MixedSessions, Mixture, Split, to_tensor
from fpm.nn.encoder.history import Rows, survey
from fpm.nn.encoder.network import Encoder
from fpm.nn.encoder.pretraining import Pretraining, pretext
from fpm.nn.fit import FitConfig, fit
from fpm.schema import FEATURE_COUNT
from fpm.store.lake.files import CLOCK, Lake

PROFILE = Profile("l2_32", "240", PRESETS["default"])
STRETCH = 8  # sessions mixed with each other
BATCH = 128
TEN_YEARS, MARKET = 2430, 5300


def generate(root: Path, symbols: int, sessions: int) -> dict[str, Any]:
    """Write a lake whose sessions all have the same numbers, so that all cost the same to read."""
    lake, names = Lake(root / "lake", root / "staging"), wide.symbols(symbols)
    x_STF = np.random.default_rng(0).standard_normal((symbols, 240, FEATURE_COUNT), dtype=np.float32)
    first, *rest = wide.days(sessions)
    stamps = [pl.lit(moment).cast(CLOCK).alias(name) for name, moment in wide.clocks(first).items()]
    frame = to_frame(names, x_STF, PROFILE).with_columns(stamps)
    relative = lake.relative("minute_features", first)
    lake.stage("minute_features", frame, relative, root / "staging")
    lake.put(root / "staging" / relative, relative)
    for day in rest:
        target = lake.root / lake.relative("minute_features", day)
        target.parent.mkdir(parents=True)
        shutil.copy(lake.root / relative, target)
    return {}


def read(root: Path, session: date) -> Rows:
    """Read a session like `producers.encoder`."""
    lake = Lake(root / "lake", root / "staging")
    symbols, x_STF = from_frame(lake.decode(lake.root / lake.relative("minute_features", session)), PROFILE)
    return symbols, x_STF.astype(np.float16)


@dataclass(frozen=True)
class InMemory:
    """The whole history as one array: the former sampler."""

    x_NTF: np.ndarray

    @property
    def steps(self) -> int:
        return len(self.x_NTF) // BATCH

    def train(self, epoch: int) -> Iterator[Tensor]:
        order = torch.randperm(len(self.x_NTF), generator=torch.Generator().manual_seed(epoch)).numpy()
        for step in range(self.steps):
            yield to_tensor(self.x_NTF[np.sort(order[step * BATCH : (step + 1) * BATCH])], "cpu")

    def validation(self) -> Iterator[Tensor]:
        return iter(())


def batches(way: str, root: Path, days: tuple[date, ...]) -> InMemory | MixedSessions:
    if way == "memory":
        return InMemory(np.concatenate([read(root, day)[1] for day in days]))
    history = survey(lambda day: read(root, day), dict.fromkeys(days, 8), 0, lambda *_: None)
    symbols = history.rows(days[:1])
    return MixedSessions(history, Split(days, ()), Mixture(BATCH, STRETCH * symbols, 1))


def run(way: str, root: Path, sessions: int, trained: bool) -> dict[str, Any]:
    """Measure one way: processor seconds of the first pass, of reading and of training an epoch; peak megabytes."""
    days = tuple(wide.days(sessions))
    torch.set_num_threads(1)
    torch.rand(8) @ torch.rand(8, 8)
    measure.reset_peak()
    before, start = measure.resident("VmRSS"), time.process_time()
    sampler = batches(way, root, days)
    first, start = time.process_time() - start, time.process_time()
    rows = sum(len(batch) for batch in sampler.train(0))
    epoch = time.process_time() - start
    peak = measure.resident() - before
    spent = train(sampler) if trained else float("nan")
    return {"first": first, "epoch": epoch, "peak": peak, "rows": rows, "train": spent}


def train(sampler: InMemory | MixedSessions) -> float:
    """Return the processor seconds of one epoch of the demo preset in the package's own loop."""
    config = replace(pretraining.PRESETS["demo"], batch=BATCH)
    model = Pretraining(Encoder(network.PRESETS["demo"], "l2_32"), config)
    start = time.process_time()
    fit(model, pretext, sampler, FitConfig(epochs=1))
    return time.process_time() - start


def session_cost(root: Path) -> dict[str, Any]:
    """Return seconds and peak megabytes of reading one session, and the megabytes of its array."""
    torch.set_num_threads(1)
    (day,) = wide.days(1)
    measure.reset_peak()
    before = measure.resident("VmRSS")
    start = time.process_time()
    for _ in range(3):
        read(root, day)
    spent = (time.process_time() - start) / 3
    peak = measure.resident() - before
    return {"seconds": spent, "peak": peak, "array": read(root, day)[1].nbytes / measure.MEGABYTE}


def compare(symbols: int, sessions: list[int], trained: int) -> None:
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        measure.in_process(__file__, "--part", "generate", folder, symbols, max(sessions))
        for count in sessions:
            for way in ("memory", "stream"):
                result = measure.in_process(__file__, "--part", way, folder, count, int(count == trained))
                speed = result["rows"] / result["epoch"], result["rows"] / result["train"]
                rows.append([f"{way}, {count} sessions", result["peak"], result["first"], *speed])
    heads = ["way", "peak MB", "first pass s", "rows read/s", "rows trained/s"]
    title = f"{symbols} symbols a session, stretches of {STRETCH} sessions, batches of {BATCH}, demo, processor seconds"
    measure.show(title, heads, rows)


def compare_decade() -> None:
    with tempfile.TemporaryDirectory() as folder:
        measure.in_process(__file__, "--part", "generate", folder, MARKET, 1)
        one = measure.in_process(__file__, "--part", "session", folder)
    stretch = pretraining.PRESETS["default"].mixed_rows / MARKET * one["array"]
    rows = [
        ["one session, array MB (measured)", one["array"]],
        ["one session, peak of reading MB (measured)", one["peak"]],
        ["one session, processor seconds to read (measured)", one["seconds"]],
        ["two stretches and a session being read MB (calculated)", 2 * stretch + one["peak"]],
        ["ten years as one array GB (calculated)", TEN_YEARS * one["array"] / 1e3],
        ["ten years, one pass of reading, processor minutes (calculated)", TEN_YEARS * one["seconds"] / 60],
    ]
    measure.show(f"a whole market of {MARKET:,} symbols, {TEN_YEARS:,} sessions", ["what", "figure"], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--symbols", type=int, default=400)
    parser.add_argument("--sessions", type=int, nargs="+", default=[24, 48, 96])
    parser.add_argument("--trained", type=int, default=24, help="train, too, at this number of sessions")
    parser.add_argument(
        "--large", action="store_true", help="one session of a whole market, and a decade from its figures"
    )
    parser.add_argument("--part", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part is None:
        compare(options.symbols, options.sessions, options.trained)
        if options.large:
            compare_decade()
        return
    part, folder, *numbers = options.part
    counts = [int(number) for number in numbers]
    if part == "generate":
        print(json.dumps(generate(Path(folder), *counts)))
    elif part == "session":
        print(json.dumps(session_cost(Path(folder))))
    else:
        print(json.dumps(run(part, Path(folder), counts[0], bool(counts[1]))))


if __name__ == "__main__":
    main()
