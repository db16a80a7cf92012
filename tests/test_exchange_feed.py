"""A feed with every defect at once, through a real ingest: after the corrections the store holds the truth."""

import json
from dataclasses import fields, replace
from datetime import datetime
from pathlib import Path

import polars as pl
from polars.testing import assert_frame_equal
from typer.testing import CliRunner

from fpm.commands.cli import app
from fpm.exchange import simulate
from fpm.exchange.defects import BY_FILE, Defects
from fpm.sessions import cut_off, market
from fpm.store.ledger.stores import Stores
from producers.bars import Arrival, ingest

SESSIONS = 24
HARMLESS = ("quoted_minutes", "stale_rows")  # never corrected: they are not wrong about trading
FOR_GOOD = ("without_a_flow",)  # decides the columns of a home's vendor; tested alone


def every_defect() -> Defects:
    rates = {field.name: 0.06 if field.name in BY_FILE else 0.03 for field in fields(Defects)}
    return Defects(**{name: 0.0 if name in (*HARMLESS, *FOR_GOOD) else rate for name, rate in rates.items()})


def take(path: Path, known_at: datetime, stores: Stores) -> None:
    report = ingest([path], Arrival(known_at, known_at), stores, lambda done, total, what: None)
    assert report.rows_in == report.rows_out + sum(report.quarantined.values()) + report.deduplicated


def test_a_feed_with_every_defect_ends_with_the_truth(tmp_path: Path, stores: Stores) -> None:
    config = replace(simulate.PRESETS["tiny"], sessions=SESSIONS, seed=3)
    clean = list(simulate.simulate(replace(config, spoiled_every=0)))
    simulate.write(replace(config, defects=every_defect()), tmp_path / "feed")
    corrections = tmp_path / "feed" / "corrections"
    known_at = json.loads((corrections / "known_at.json").read_bytes())
    assert len(known_at) > SESSIONS / 2
    take(tmp_path / "feed", cut_off(market("cn"), clean[-1].session), stores)
    for name, moment in sorted(known_at.items(), key=lambda item: item[1]):
        take(corrections / name, datetime.fromisoformat(moment), stores)
    for tables in clean:
        stored = stores.read("minute_bars", tables.session).drop("slot", "created_timestamp")
        local = pl.col("event_timestamp").dt.convert_time_zone("Asia/Shanghai").dt.replace_time_zone(None)
        bars = stored.with_columns(local.alias("minute")).sort("symbol", "minute")
        keys, columns = ["symbol", "minute"], tables.minute_bars.columns
        truth = tables.minute_bars.sort(keys).cast({pl.selectors.integer(): pl.Float64})
        assert_frame_equal(bars.select(columns), truth)


def test_the_command_writes_ticks_and_defects(tmp_path: Path) -> None:
    words = ["simulate", str(tmp_path), "--symbols", "6", "--sessions", "2", "--ticks", "--defects", "0.2", "--json"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    assert len(list((tmp_path / "ticks").glob("*.parquet"))) == 2
    assert json.loads((tmp_path / "corrections" / "known_at.json").read_bytes())
