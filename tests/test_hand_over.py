"""Two nights, each under its own vintage: the second night keeps the first one's vintage online, too."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl

from consumers import parity
from fpm.commands import jobs, training
from fpm.commands.night import nightly
from fpm.exchange import simulate
from fpm.nn.checkpoint import from_bytes
from fpm.nn.encoder.vintage import load
from fpm.nn.fit import deterministic
from fpm.sessions import cut_off
from fpm.store.online.publication import served
from fpm.store.postgres.server import Server
from tests.small_chain import FEATURE_JOBS, opened, quiet, silent
from tests.test_corrections import first_copies, ingest

SESSIONS = 38


def test_the_night_after_a_new_vintage_publishes_both(tmp_path: Path, postgres_server: Server) -> None:
    source = tmp_path / "source"
    simulate.write(replace(simulate.PRESETS["tiny"], sessions=SESSIONS, symbols=10, seed=5, spoiled_every=0), source)
    sessions = sorted(date.fromisoformat(path.stem) for path in (source / "minute_bars").glob("*.parquet"))
    before, session = sessions[-2:]
    with opened(tmp_path / "home", postgres_server) as stores:
        ingest(stores, first_copies(source, tmp_path / "deliveries", sessions), cut_off(stores.market, session))
        for name in FEATURE_JOBS:
            jobs.backfill(name, sessions[0], session, stores, quiet)
        training.walk_forward(stores, training.plan(stores, before, session, 1), silent)  # a refit a session
        former, vintage = stores.models.list("encoder")
        nightly(before, stores)
        assert served("fingerprints", stores)["vintage"].unique().to_list() == [former.id]
        night = nightly(session, stores)
        assert [row["job"] for row in night].count("fingerprints") == 2
        assert served("fingerprints", stores)["vintage"].unique().to_list() == [vintage.id]
        old = served("fingerprints", stores, former=True)
        assert old["vintage"].unique().to_list() == [former.id]
        lake = stores.read("fingerprints", session, vintage=former.id).sort("symbol")
        assert np.array_equal(np.stack(old.sort("symbol")["fingerprint"].to_list()), lake["fingerprint"].to_numpy())
        assert {comparison.view for comparison in parity.check(session, stores)} > {"former_fingerprints"}
        assert old.filter(pl.col("symbol").is_in(served("scores", stores)["symbol"].to_list())).height > 0

        # how a consumer maps new vectors into the former space: docs/consumers.md
        assert vintage.manifest["alignment"]["onto"] == former.id
        rotation = from_bytes((vintage.path / "rotation.safetensors").read_bytes())["rotation"].numpy()
        new = np.stack(served("fingerprints", stores).sort("symbol")["fingerprint"].to_list())
        target = np.stack(old.sort("symbol")["fingerprint"].to_list())
        assert np.linalg.norm(new @ rotation - target) < np.linalg.norm(new - target)
        with deterministic(0):
            canary = from_bytes(former.files()["canaries.safetensors"])
            again = load(former.manifest, former.files()).embed(canary["features"].numpy())
        assert again.tobytes() == canary["fingerprints"].numpy().tobytes()

        # a former vintage that can no longer be read delays no night
        damaged = former.path / "weights.safetensors"
        damaged.write_bytes(b"")
        night = nightly(session, stores)
        assert "failed" not in [row["status"] for row in night]  # its fingerprints of the session exist already
        path = stores.lake.root / stores.lake.relative("fingerprints", session, former.id)
        path.unlink()
        night = nightly(session, stores)
        assert [row["status"] for row in night if row["job"] == "fingerprints"] == ["unchanged", "failed"]
        assert served("fingerprints", stores, former=True).is_empty()
        assert len(served("fingerprints", stores)) == len(new)
