"""One night of a whole market, from raw files to published scores and weights: time and memory of every stage.

Run `python benchmarks/bench_night.py [--symbols 5300] [--home FOLDER]`. The home is seeded (`night_home.py`; `--home`
keeps it for the next run, which works on a copy); the night alone is measured, in a process of its own and on one
thread. CPU: this process and its children; `server`: PostgreSQL's. Peak: the process's resident memory in the stage,
whatever earlier stages left in it, and that of its children.

Floors, in the same run: the files and columns that the stage read decoded once more, and the files it wrote encoded and
forced to the disk once more (read and write); matrix products of a network at the speed of a plain one (products);
binary COPY of the same number of values (COPY); the online rows by psycopg (SELECT); decoding the minutes and writing
them (decode and write).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import bench_ingest
import bench_models
import bench_publish
import measure
import night_home
import psycopg
import torch
from night_home import DAY, MARKET
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from consumers.publish import VIEWS
from fpm.commands import night
from fpm.nn.encoder import vintage
from fpm.nn.fit import deterministic
from fpm.nn.scorer import streams
from fpm.nn.scorer.network import PRESETS
from fpm.nn.scorer.panel import Batch
from fpm.sessions import cut_off
from fpm.store.jobs.publishing import Partition, last_published
from fpm.store.lake.files import DecodedFiles, Lake, decode, parse
from fpm.store.lake.seals import identity_of
from fpm.store.ledger.stores import Stores, open_stores
from fpm.store.postgres.server import ensure_server, stop_server
from fpm.store.settings import Settings
from producers import bars

GOAL_SECONDS, GOAL_GIGABYTES = 180, 6.0
INGEST, PAGE = "ingest", "vitals and morning page"
Reads = list[tuple[Path, tuple[str, ...] | None]]


@dataclass
class Stage:
    """What one stage spent: seconds, gigabytes, and the files and columns that it decoded."""

    name: str
    wall: float
    processor: float
    server: float
    peak: float
    reads: Reads = field(default_factory=list)


class Recorded(DecodedFiles):
    """The cache of decoded files, which notes what it decodes."""

    def __init__(self) -> None:
        super().__init__()
        self.reads: Reads = []

    def read(self, path: Path, columns: tuple[str, ...] | None, seals: Any = None) -> Any:
        if (str(path), identity_of(path.stat()), columns) not in self._frames:
            self.reads.append((path, columns))
        return super().read(path, columns, seals)


class Watch:
    """Stages between calls of `mark`."""

    def __init__(self, server: int, files: Recorded) -> None:
        self.stages: list[Stage] = []
        self._server, self._files = server, files
        self._begin()

    def _begin(self) -> None:
        measure.reset_peak()
        self._files.reads = []
        self._before = self._now()

    def _now(self) -> tuple[float, float, float]:
        return time.perf_counter(), bench_ingest.spent(), spent_below(self._server)

    def mark(self, name: str) -> None:
        spent = (now - before for now, before in zip(self._now(), self._before, strict=True))
        peak = (measure.resident() + _children_peak()) / 1e3
        self.stages.append(Stage(name, *spent, peak, self._files.reads))
        self._begin()


def spent_below(process: int) -> float:
    """Processor seconds of a process and all that it started, those that ended too; 0 of one that ends meanwhile."""
    try:
        stat = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0  # its parent counts it from now on
    own = sum(int(ticks) for ticks in stat[11:15]) / os.sysconf("SC_CLK_TCK")
    return own + sum(spent_below(int(child)) for child in children)


def _children_peak() -> float:
    """Megabytes of the living children at their largest, one by one."""
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    lines = (line for child in children for line in Path(f"/proc/{child}/status").read_text().splitlines())
    return sum(int(line.split()[1]) * 1024 / measure.MEGABYTE for line in lines if line.startswith("VmHWM"))


# --- the night ----------------------------------------------------------------------------------------------------
def run_night(settings: Settings, delivery: Path) -> dict[str, Any]:
    """Ingest and night of a seeded home, every stage beside its floor."""
    torch.set_num_threads(1)
    files = Recorded()
    stores = open_stores(settings)
    stores = replace(stores, lake=Lake(stores.lake.root, stores.lake.staging, stores.lake.seals, files))
    watch = Watch(postmaster(ensure_server(settings).dsn), files)
    now = cut_off(MARKET, DAY)
    report = bars.ingest([delivery], bars.Arrival(now, now), stores, lambda *_: None)
    report.require_content()
    watch.mark(INGEST)
    started: list[str] = []
    names = iter([f"{step.job} {step.vintage or ''}".strip() for step in night.night_steps(DAY, stores)])

    def before_a_job() -> bool:
        if started:
            watch.mark(started[-1])
        started.append(next(names).split()[0])
        return False

    rows = night.nightly(DAY, stores, before_a_job)
    watch.mark(PAGE)
    wrong = [row for row in rows if row["status"] != "published"]
    corrected = sum(row["corrected"] for row in rows)
    if wrong or corrected:
        raise RuntimeError(f"{wrong}, {corrected} earlier sessions computed again")
    floors = {stage.name: _floor(stage, delivery, stores, ensure_server(settings).dsn) for stage in watch.stages}
    stores.ledger.close()
    return {
        "stages": [{**asdict(stage), "reads": len(stage.reads)} for stage in watch.stages],
        "floors": floors,
        "rows": {row["job"]: row["rows"] for row in rows},
    }


# --- floors -------------------------------------------------------------------------------------------------------
def _floor(stage: Stage, delivery: Path, stores: Stores, dsn: str) -> tuple[str, float] | None:
    """Name and processor seconds of a stage's floor; None for a stage without one."""
    if stage.name == INGEST:
        out = stores.settings.home / "floor.parquet"
        return "decode and write", _least(lambda: bench_ingest.floor(delivery, out))
    if stage.name == "fingerprints":
        return "products", _encoder_products(stores)
    if stage.name == "scores":
        return "products", _scorer_products(stores)
    if stage.name == "publish":
        return "COPY", _copy(dsn, len(stores.read("daily_bars", DAY)))
    if stage.name == "parity":
        return "SELECT", _least(lambda: _select(dsn))
    if stage.name == "neighbours":
        return None
    return "read and write", _least(partial(_read_and_write, stage, stores))


def _least(call: Callable[[], object]) -> float:
    return min(bench_ingest.processor_seconds(call) for _ in range(2))


def _read_and_write(stage: Stage, stores: Stores) -> None:
    """Decode what the stage decoded and write what it wrote, without the runner."""
    for path, columns in stage.reads:
        decode(path, columns)
    session = night_home.label_session() if stage.name == "labels" else DAY
    published = last_published(Partition(stage.name, session), stores)
    for staged in published.files if published else ():
        table, _, _ = parse(staged.file.path)
        frame = decode(stores.lake.root / staged.file.path)
        stores.lake.stage(table, frame, staged.file.path, stores.lake.staging / "floor")


def _product_speed() -> float:
    """Operations a processor second of a plain product on one thread."""
    left, right = torch.randn(2, bench_models.SIDE, bench_models.SIDE)
    spent = _least(lambda: [torch.mm(left, right) for _ in range(20)])
    return 20 * 2 * bench_models.SIDE**3 / spent


def _encoder_products(stores: Stores) -> float:
    model = stores.models.load("encoder", night_home.VINTAGE)
    encoder = vintage.load(model.manifest, model.files()).encoder
    rows = stores.read("fingerprints", DAY, vintage=night_home.VINTAGE, columns=["symbol"]).height
    return rows * bench_models.operations(encoder, encoder.config) / _product_speed()


def _scorer_products(stores: Stores) -> float:
    config, symbols = PRESETS[night_home.PRESET], 64
    shape = (config.look_back, symbols)
    inputs = (torch.randn(*shape, width) for width in config.inputs.values())
    batch, counter = Batch(*inputs, torch.ones(shape, dtype=torch.bool)), FlopCounterMode(display=False)
    with torch.no_grad(), deterministic(0), sdpa_kernel(SDPBackend.MATH), counter:
        for name in streams.STREAMS:
            streams.Scorer(config, name).eval()(batch)
    scored = stores.read("scores", DAY, columns=["symbol"])["symbol"].n_unique()
    return scored / symbols * counter.get_total_flops() / _product_speed()


def _copy(dsn: str, symbols: int) -> float:
    """Binary COPY of 158 + 128 numbers a symbol; the server's seconds in it."""
    server = postmaster(dsn)
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(bench_publish.FLOOR_TABLE)
    market = bench_publish.generated(DAY, symbols, seed=0)
    before = spent_below(server)
    own = bench_ingest.processor_seconds(lambda: bench_publish.copy_arrays(dsn, market))
    return own + spent_below(server) - before


def postmaster(dsn: str) -> int:
    with psycopg.connect(dsn) as connection:
        row = connection.execute("SELECT pg_read_file('postmaster.pid')").fetchone()
    assert row is not None
    return int(row[0].split()[0])


def _select(dsn: str) -> None:
    with psycopg.connect(dsn) as connection, connection.cursor(binary=True) as cursor:
        for view in VIEWS:
            cursor.execute(f"SELECT * FROM serving.{view}").fetchall()  # type: ignore[call-overload]  # our own names


# --- the table ----------------------------------------------------------------------------------------------------
def show(answer: dict[str, Any], symbols: int) -> None:
    """Print every stage, and the sums beside the goals."""
    rows = []
    for stage in answer["stages"]:
        name, floor = answer["floors"][stage["name"]] or ("-", None)
        whole = stage["processor"] + (stage["server"] if name in ("COPY", "SELECT") else 0)
        ratio = whole / floor if floor else "-"
        rows.append(
            [*(stage[key] for key in ("name", "wall", "processor", "server", "peak")), name, floor or "-", ratio]
        )
    sums = [sum(stage[key] for stage in answer["stages"]) for key in ("wall", "processor", "server")]
    peak = max(stage["peak"] for stage in answer["stages"])
    rows.append(["the night", *sums, peak, f"goals: {GOAL_SECONDS} s, {GOAL_GIGABYTES} GB", "-", "-"])
    heads = ["stage", "wall s", "CPU s", "server CPU s", "peak GB", "floor", "floor CPU s", "ratio"]
    measure.show(f"a night of {symbols:,} symbols x {MARKET.view_size(MARKET.default_view)} minutes", heads, rows)


def settings_of(home: Path) -> Settings:
    return Settings(home=home, market=MARKET.name, preset=night_home.PRESET)


def seeded(home: Path, symbols: int) -> None:
    """Make the seeded home, or bring it to the digests of the present code; its server is down afterwards."""
    settings = settings_of(home)
    stores = open_stores(settings)
    try:
        night_home.seed(stores, symbols)
        if not (home / "delivery").is_dir():
            night_home.deliver(home / "delivery", symbols)
        stores.ledger.close()
    finally:
        stop_server(settings)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--symbols", type=int, default=5300)
    parser.add_argument("--home", type=Path, help="keep the seeded home here")
    parser.add_argument("--night", type=Path, help="run the night of this seeded home, print JSON")
    options = parser.parse_args()
    if options.night:
        settings = settings_of(options.night)
        try:
            print(json.dumps(run_night(settings, options.night / "delivery")))
        finally:
            stop_server(settings)
        return
    with tempfile.TemporaryDirectory(prefix="bench-night-") as name:
        kept = options.home or Path(name) / "seeded"
        seeded(kept, options.symbols)
        home = Path(name) / "home"
        subprocess.run(["cp", "--archive", kept, home], check=True)  # the server's files belong to another user
        show(measure.in_process(__file__, "--night", home), options.symbols)


if __name__ == "__main__":
    sys.exit(main())
