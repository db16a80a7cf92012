"""The data contract says what the database has, column by column."""

from __future__ import annotations

from datetime import date, time
from pathlib import Path
from typing import Any

import pytest
import yaml

from consumers.publish import PublishConfig
from fpm.sessions import cut_off
from fpm.store.ledger.stores import Stores

CONTRACT = yaml.safe_load((Path(__file__).parents[2] / "docs" / "contract.yaml").read_text(encoding="utf-8"))
COLUMNS = """
SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute
WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum
"""


@pytest.mark.parametrize("view", CONTRACT["schema"], ids=lambda view: view["name"])
def test_a_view_has_the_columns_and_types_of_its_contract(view: dict[str, Any], stores: Stores) -> None:
    columns = dict(stores.ledger.query(COLUMNS, (view["physicalName"],)))
    assert columns == {each["name"]: each["physicalType"] for each in view["properties"]}


def test_every_view_with_sessions_has_a_contract(stores: Stores) -> None:
    names = stores.ledger.query("SELECT table_name FROM information_schema.views WHERE table_schema = 'serving'")
    apart = {"publications", "nearest_fingerprints", "former_fingerprints", "metrics"}  # not the factor itself
    assert {name for (name,) in names} - apart == {view["name"] for view in CONTRACT["schema"]}


def test_keys_are_in_the_standards_form() -> None:
    for view in CONTRACT["schema"]:
        positions = [each["primaryKeyPosition"] for each in view["properties"] if each.get("primaryKey")]
        assert sorted(positions) == list(range(1, len(positions) + 1)) and positions


def test_its_promises_are_those_that_a_night_enforces(stores: Stores) -> None:
    promises = {each["property"]: each["value"] for each in CONTRACT["slaProperties"]}
    bounds, settings = PublishConfig(), stores.settings
    assert (promises["scored"], promises["universe"], promises["empty"]) == (
        bounds.scored,
        bounds.universe,
        bounds.empty,
    )
    assert (promises["latency"], promises["retention"]) == (settings.night_hours, settings.online_history)
    hour, minute = map(int, promises["timeOfAvailability"].split(":"))
    assert cut_off(stores.market, date(2024, 12, 2)).astimezone(stores.market.zone).time() == time(hour, minute)
