"""A red night is told once to each channel, its recovery once; what was not delivered is sent again."""

import json
import sys
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from fpm.commands.agenda import Night
from fpm.commands.alerts import channels, trial, watch
from fpm.errors import UsageError
from fpm.store.ledger.alerts import Alert, deliver_next, raise_alerts, recent, standing
from fpm.store.ledger.stores import Stores

DAY, NOW = date(2024, 1, 5), datetime(2024, 1, 5, 13, tzinfo=UTC)
COPY = "import os, sys; open(sys.argv[1], 'a').write(sys.stdin.read() + chr(10)); sys.exit(os.path.exists(sys.argv[2]))"


def red(why: str = "parity: 3 values differ", step: str = "parity") -> Night:
    return Night(DAY, "red", NOW, (step,), why, f"fpm nightly --session {DAY}")


GREEN = Night(DAY, "green", NOW)


@pytest.fixture
def told(stores: Stores, tmp_path: Path) -> tuple[Stores, Path, Path]:
    """Stores whose command appends each message to `out`, and fails while there is a file `broken`."""
    out, broken, script = tmp_path / "out", tmp_path / "broken", tmp_path / "copy.py"
    script.write_text(COPY)
    command = f"{sys.executable} {script} {out} {broken}"
    return replace(stores, settings=stores.settings.model_copy(update={"alert_command": command})), out, broken


def messages(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.read_text().splitlines()] if out.exists() else []


def test_a_finding_is_told_once_another_cause_again_and_the_recovery_once(told: tuple[Stores, Path, Path]) -> None:
    stores, out, _ = told
    for night in (
        red(),
        red("parity: 4 values differ"),
        red("derivation: 1", "derivation"),
        GREEN,
        GREEN,
        red(),
        GREEN,
    ):
        watch([night], stores, NOW)
    said = messages(out)
    assert [each["state"] for each in said] == ["red", "red", "recovered", "red", "recovered"]
    assert [each["id"] for each in said] == sorted(each["id"] for each in said)
    assert said[0]["text"] == (
        f"fpm cn: the night of {DAY} is red: parity: 3 values differ - fpm nightly --session {DAY}"
    )
    assert said[0]["night"]["open"] == ["parity"]
    assert said[2]["text"] == f"fpm cn: the night of {DAY} has recovered: green"
    assert standing("command", stores.ledger) == set()


def test_a_channel_that_fails_is_tried_again_in_order_and_stops_nothing(told: tuple[Stores, Path, Path]) -> None:
    stores, out, broken = told
    broken.touch()
    watch([red()], stores, NOW)
    watch([GREEN], stores, NOW)
    (recovered, first) = recent(stores.ledger)
    assert (first["delivered_at"], first["attempts"], first["error"]) == (None, 2, "exit code 1")
    assert (recovered["delivered_at"], recovered["attempts"]) == (None, 0)
    out.unlink()
    broken.unlink()
    watch([], stores, NOW)
    assert [each["state"] for each in messages(out)] == ["red", "recovered"]
    assert all(row["delivered_at"] for row in recent(stores.ledger))


def test_a_process_that_dies_after_it_sent_sends_again(told: tuple[Stores, Path, Path]) -> None:
    stores, _, _ = told
    raise_alerts("command", {"night 2024-01-05": Alert("red", "parity", {"state": "red"})}, stores.ledger)
    sent: list[object] = []

    def dies(message: dict[str, object]) -> str | None:
        sent.append(message["id"])
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        deliver_next("command", dies, stores.ledger)
    assert deliver_next("command", lambda message: sent.append(message["id"]), stores.ledger) is True
    assert sent == [1, 1]
    assert deliver_next("command", dies, stores.ledger) is None


def test_a_night_that_nobody_looks_at_any_more_recovers_by_its_own_state(told: tuple[Stores, Path, Path]) -> None:
    """The session was declared absent meanwhile; the agenda says nothing of it."""
    stores, out, _ = told
    watch([red("no minute bars have come", "")], stores, NOW)
    stores.ledger.execute(
        "INSERT INTO fpm.absences (session, reason, declared_by) VALUES (%s, 'the vendor closed', 'somebody')", (DAY,)
    )
    watch([], stores, NOW)
    assert messages(out)[-1]["text"] == f"fpm cn: the night of {DAY} has recovered: absent"


def test_a_trial_goes_through_every_channel(told: tuple[Stores, Path, Path], stores: Stores) -> None:
    assert trial(told[0], DAY) == [{"channel": "command", "delivered": True, "why": ""}]
    assert messages(told[1])[0]["state"] == "trial"
    assert recent(told[0].ledger) == []
    assert channels(stores.settings) == {}
    with pytest.raises(UsageError, match="FPM-ALR-002"):
        trial(stores, DAY)
