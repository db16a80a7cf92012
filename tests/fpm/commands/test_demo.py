"""The demonstration keeps to its own home: it mixes with no real bars, and no other size of itself."""

import json
from pathlib import Path

import pytest

from fpm.commands import demo
from fpm.errors import UsageError
from fpm.store.ledger.stores import Stores
from tests.fpm.store.small_bars import ingest

PLAN = demo.Plan(symbols=10, sessions=40, preset="tiny", signal=True)


def test_a_home_with_real_bars_takes_no_demonstration(stores: Stores) -> None:
    ingest(stores)
    with pytest.raises(UsageError, match=r"FPM-DEMO-001.*set FPM_HOME"):
        demo.run(PLAN, stores.settings)


def test_a_home_with_a_demonstration_takes_no_real_bars(stores: Stores, tmp_path: Path) -> None:
    stores.ledger.decide("synthetic", json.dumps({"symbols": 10}))
    with pytest.raises(UsageError, match=r"FPM-DEMO-002.*something else"):
        demo.refuse_other_bars([tmp_path / "bars.parquet"], stores)
    demo.refuse_other_bars([stores.settings.home / "synthetic" / "corrections" / "minute_bars"], stores)


def test_another_size_is_refused_with_the_one_that_is_there(stores: Stores) -> None:
    stores.ledger.decide("synthetic", json.dumps({"symbols": 10}))
    with pytest.raises(UsageError, match="symbols"):
        demo.run(PLAN, stores.settings)
