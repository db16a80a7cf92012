"""Ledger rows as OpenLineage events: the shape of the specification, no attempt lost."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from pydantic import SecretStr

from fpm.commands import lineage
from fpm.errors import FpmError, UsageError
from fpm.store.ledger.lineage import unsent
from fpm.store.ledger.stores import Stores
from fpm.store.settings import load_settings
from tests.consumers.small_lake import SmallLake, put
from tests.fpm.store.test_channels import Webhook, webhook

__all__ = ["webhook"]
DAY = date(2024, 12, 2)

# https://openlineage.io/spec/2-0-2/OpenLineage.json: what is required, and the types, in its own names
FACET = {"_producer": "uri", "_schemaURL": "uri"}
DATASET: dict[str, Any] = {"namespace": str, "name": str, "facets?": {"*": FACET}}
RUN_EVENT: dict[str, Any] = {
    "eventTime": "date-time",
    "producer": "uri",
    "schemaURL": "uri",
    "eventType": {"START", "RUNNING", "COMPLETE", "ABORT", "FAIL", "OTHER"},
    "run": {"runId": "uuid", "facets?": {"*": FACET}},
    "job": {"namespace": str, "name": str, "facets?": {"*": FACET}},
    "inputs?": [{**DATASET, "inputFacets?": {"*": FACET}}],
    "outputs?": [{**DATASET, "outputFacets?": {"*": FACET}}],
}


def faults(value: Any, shape: Any, where: str = "event") -> Iterator[str]:
    """Every place at which a document is not of the shape."""
    if isinstance(shape, dict):
        for name, inner in shape.items():
            key, optional = name.removesuffix("?"), name.endswith("?")
            if name == "*":
                for each, content in value.items():
                    yield from faults(content, inner, f"{where}.{each}")
            elif key in value:
                yield from faults(value[key], inner, f"{where}.{key}")
            elif not optional:
                yield f"{where} lacks {key}"
    elif isinstance(shape, list):
        for number, each in enumerate(value):
            yield from faults(each, shape[0], f"{where}[{number}]")
    elif isinstance(shape, set):
        if value not in shape:
            yield f"{where} is {value}"
    elif shape == "uuid":
        if str(UUID(value)) != value:
            yield f"{where} is no uuid"
    elif shape == "date-time":
        if datetime.fromisoformat(value).tzinfo is None:
            yield f"{where} has no zone"
    elif shape == "uri":
        if not value.startswith("https://"):
            yield f"{where} is no URI"
    elif not isinstance(value, shape):
        yield f"{where} is no {shape}"


@pytest.fixture
def worked(stores: Stores) -> Stores:
    """One partition published, one failed, one waiting, one still running."""
    put("daily_factors", DAY, {"daily_factors": SmallLake().daily_factors(DAY)}, stores)
    stores.ledger.fail(stores.ledger.begin("scores", f"{DAY}", "sha"), "failed", "ValueError: no score")
    stores.ledger.wait("labels", f"{DAY}", "daily_bars are missing")
    stores.ledger.begin("publish", f"{DAY}", "sha")
    return stores


def to(stores: Stores, target: str) -> Stores:
    return replace(stores, settings=stores.settings.model_copy(update={"lineage": SecretStr(target)}))


def test_events_have_the_shape_of_the_specification(worked: Stores, tmp_path: Path) -> None:
    file = tmp_path / "below" / "lineage.jsonl"
    assert lineage.send(to(worked, str(file))) == 3
    events = [json.loads(line) for line in file.read_text().splitlines()]
    assert [fault for event in events for fault in faults(event, RUN_EVENT)] == []
    by_job = {(event["job"]["name"], event["eventType"]): event for event in events}
    assert by_job.keys() == {
        *((job, "START") for job in ("daily_factors", "scores", "labels")),
        ("daily_factors", "COMPLETE"),
        ("scores", "FAIL"),
        ("labels", "ABORT"),
    }
    identity = (worked.settings.home / "identity").read_text().strip()
    assert {event["job"]["namespace"] for event in events} == {f"fpm-{identity[:12]}"}, "another home has other runs"
    (output,) = by_job["daily_factors", "COMPLETE"]["outputs"]
    (current,) = worked.ledger.current(["daily_factors"]).values()
    assert output["facets"]["version"]["datasetVersion"] == current.sha256
    assert output["outputFacets"]["outputStatistics"]["rowCount"] == 12
    assert by_job["scores", "FAIL"]["run"]["facets"]["errorMessage"]["message"] == "ValueError: no score"
    inputs = {each["name"] for each in by_job["scores", "FAIL"]["inputs"]}
    assert inputs == {"fingerprints", "daily_bars", "daily_factors"}
    assert by_job["scores", "START"]["run"]["runId"] == by_job["scores", "FAIL"]["run"]["runId"]


def test_what_was_sent_is_not_sent_again_and_what_was_refused_is(worked: Stores, webhook: str, tmp_path: Path) -> None:
    with pytest.raises(FpmError, match=r"FPM-LIN-002 .* HTTP 503") as refused:
        lineage.send(to(worked, f"{webhook}/503"))
    assert "hush" not in str(refused.value)
    lineage.watch(to(worked, f"{webhook}/503"))  # logged, never raised
    assert len(unsent(worked.ledger, 10)) == 3
    Webhook.received.clear()
    assert lineage.send(to(worked, f"{webhook}/201")) == 3
    assert len(Webhook.received) == 6 and unsent(worked.ledger, 10) == []
    assert lineage.send(to(worked, str(tmp_path / "later.jsonl"))) == 0
    with pytest.raises(FpmError, match="FPM-LIN-002"):
        lineage.send(to(worked, "/proc/none/lineage"))


def test_without_a_target_nothing_is_sent(worked: Stores) -> None:
    lineage.watch(worked)
    with pytest.raises(UsageError, match="FPM-LIN-001"):
        lineage.send(worked)
    assert load_settings({"lineage": ""}).lineage is None
    with pytest.raises(UsageError, match="FPM_LINEAGE"):
        load_settings({"lineage": "ftp://somewhere/x"})
