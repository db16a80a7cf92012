"""Alerts: a night that turns red is told once to every channel, and so is its recovery. No alert stops a night."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import date, datetime
from functools import partial
from typing import Any

from fpm.commands.agenda import Night, night
from fpm.errors import FpmError, UsageError
from fpm.sessions import parse_session
from fpm.store.channels import pipe, post
from fpm.store.ledger.alerts import Alert, deliver_next, raise_alerts, standing
from fpm.store.ledger.disk import Disk, disk
from fpm.store.ledger.stores import Stores
from fpm.store.log import log
from fpm.store.online.webhook import announce
from fpm.store.settings import Settings

MOST = 20  # messages of one channel in one look
NIGHT = "night "
DISK = "disk"
Send = Callable[[dict[str, Any]], str | None]


def channels(settings: Settings) -> dict[str, Send]:
    """The channels of a deployment by name; each sends a document and returns what went wrong."""
    senders: dict[str, Send] = {}
    if settings.alert_url is not None:
        senders["webhook"] = partial(post, settings.alert_url.get_secret_value())
    if settings.alert_command:
        senders["command"] = partial(pipe, settings.alert_command)
    return senders


def watch(nights: Sequence[Night], stores: Stores, now: datetime) -> None:
    """Tell every channel what turned red among `nights` and what is no longer red; then what was not delivered yet.

    Publications that the webhook did not take are sent again, too.

    Nothing of it raises: what fails is logged, and tried again at the next look.
    """
    announce(stores)
    for name, send in channels(stores.settings).items():
        try:
            raise_alerts(name, _alerts(name, nights, stores, now), stores.ledger)
            _deliver(name, send, stores)
        except Exception as wrong:  # noqa: BLE001  the night goes on, whatever an alert does
            log.error("no alert", channel=name, why=str(wrong) if isinstance(wrong, FpmError) else type(wrong).__name__)


def watch_session(session: date, stores: Stores, now: datetime) -> None:
    """`watch` one night, whatever it ended with."""
    announce(stores)
    if not channels(stores.settings):
        return
    try:
        watch([night(session, stores, now)], stores, now)
    except Exception as wrong:  # noqa: BLE001  the night's own error is the one to show
        log.error("no alert", session=str(session), why=type(wrong).__name__)


def _alerts(channel: str, nights: Sequence[Night], stores: Stores, now: datetime) -> dict[str, Alert]:
    """The messages by finding; a night that is red by a channel's newest message is looked at, too."""
    by_session = {each.session: each for each in nights}
    standing_red = standing(channel, stores.ledger)
    alerted = [parse_session(finding.removeprefix(NIGHT)) for finding in standing_red if finding.startswith(NIGHT)]
    by_session |= {session: night(session, stores, now) for session in alerted if session not in by_session}
    messages = {}
    for session, each in sorted(by_session.items()):
        if each.state == "red":
            messages[f"{NIGHT}{session}"] = Alert("red", _cause(each), document(each, "red", stores))
        elif session in alerted:
            messages[f"{NIGHT}{session}"] = Alert("recovered", each.state, document(each, "recovered", stores))
    space = disk(stores.settings, stores.ledger)
    if space.is_short(stores.settings.disk_days):
        messages[DISK] = Alert("red", "full soon", _of_disk(space, "red", stores))
    elif DISK in standing_red:
        messages[DISK] = Alert("recovered", "room", _of_disk(space, "recovered", stores))
    return messages


def _of_disk(space: Disk, state: str, stores: Stores) -> dict[str, Any]:
    """A message about the disk, like `document`."""
    lasts = "a long time" if space.days is None else f"{space.days:.0f} days"
    text = f"fpm {stores.market.name}: the disk of the home lasts {lasts} at the rate of the last sessions"
    text += " - make room, or see what may go: fpm retention" if state == "red" else ""
    facts = {"finding": DISK, "state": state, "text": text, "market": stores.market.name}
    return {**facts, "home": str(stores.settings.home), "disk": asdict(space)}


def _cause(each: Night) -> str:
    """What makes a night red, in a word that stays the same from look to look."""
    return each.open[0] if each.open else each.why.split(":")[0]


def document(each: Night, state: str, stores: Stores) -> dict[str, Any]:
    """A message: `text` in one line for people (the key that chat webhooks read), the rest for programs."""
    head = f"fpm {stores.market.name}: the night of {each.session}"
    text = f"{head} is red: {each.why} - {each.todo}" if state == "red" else f"{head} has recovered: {each.state}"
    facts = {"finding": f"{NIGHT}{each.session}", "state": state, "text": text, "market": stores.market.name}
    return {**facts, "home": str(stores.settings.home), "night": each.to_dict()}


def _deliver(name: str, send: Send, stores: Stores) -> None:
    """Send what is open, oldest first, until one fails."""
    failures: list[str | None] = []

    def heard(message: dict[str, Any]) -> str | None:
        failures.append(send(message))
        return failures[-1]

    for _ in range(MOST):
        delivered = deliver_next(name, heard, stores.ledger)
        if not delivered:
            break
    if failures and failures[-1] is not None:
        log.warning("alert not delivered", why=str(undelivered(name, failures[-1])))


def undelivered(channel: str, wrong: str) -> FpmError:
    """The error of a message that a channel did not take."""
    return FpmError(
        code="FPM-ALR-001",
        wrong=f"the {channel} did not take an alert: {wrong}",
        effect="it is sent again at the next look",
        todo="see FPM_ALERT_URL and FPM_ALERT_COMMAND; try them: fpm alerts --test",
    )


def trial(stores: Stores, session: date) -> list[dict[str, Any]]:
    """Send a trial message through every channel. Raises UsageError where there is none."""
    text = f"fpm {stores.market.name}: a trial of the alerts, nothing is wrong"
    message = {"id": 0, "finding": "trial", "state": "trial", "text": text, "market": stores.market.name}
    message |= {"home": str(stores.settings.home), "night": {"session": str(session)}}
    senders = channels(stores.settings)
    if not senders:
        raise UsageError(
            code="FPM-ALR-002",
            wrong="no channel is set",
            effect="nothing was sent",
            todo="set FPM_ALERT_URL, FPM_ALERT_COMMAND or both",
        )
    return [
        {"channel": name, "delivered": wrong is None, "why": wrong or ""}
        for name, send in senders.items()
        for wrong in (send(message),)
    ]
