"""The words of a person who approves or holds: what goes together, and who said it."""

from __future__ import annotations

import os
import pwd
from datetime import date

import pytest

from fpm.commands.instructions import Words, login, say
from fpm.commands.status import compact
from fpm.errors import UsageError
from fpm.store.ledger.instructions import recorded
from fpm.store.ledger.stores import Stores
from tests.consumers.small_lake import SmallLake

NOTHING = (None, None, None, None)


def test_a_call_without_words_computes() -> None:
    assert not Words().given(("CSI300", "2024-12-02", "2024-12-03", None))


@pytest.mark.parametrize(
    ("words", "others"),
    [
        (Words(approve="2024-12-02", hold="CSI300"), NOTHING),
        (Words(approve="2024-12-02", reason="x"), NOTHING),
        (Words(hold="CSI300", index="CSI300"), NOTHING),
        (Words(approve="2024-12-02"), ("CSI300", None, None, None)),
        (Words(begin="2024-12-02"), NOTHING),
    ],
)
def test_words_that_do_not_go_together_are_refused(words: Words, others: tuple[str | None, ...]) -> None:
    with pytest.raises(UsageError, match="FPM-CFG-085"):
        words.given(others)


def test_who_says_it_is_the_login_or_what_is_said(stores: Stores) -> None:
    SmallLake().fill(stores, date(2024, 12, 2), date(2024, 12, 2))
    say(Words(hold="CSI300", begin="2024-12-03", until="2024-12-04", reason="client asks"), stores)
    say(Words(hold="CSI300", begin="2024-12-05", by="anna"), stores)
    assert login() == pwd.getpwuid(os.getuid()).pw_name
    assert [(each.first, each.last, each.reason, each.by) for each in recorded(stores.ledger)] == [
        (date(2024, 12, 3), date(2024, 12, 4), "client asks", login()),
        (date(2024, 12, 5), None, "", "anna"),
    ]


def test_a_persons_status_is_compact() -> None:
    jobs = [{"job": "bars", "status": "published", "environment": "x"}]
    decision = {"index": "CSI300", "status": "relaxed", "relaxed": {"turnover": 0.123456}}
    assert compact({"jobs": jobs, "decisions": [decision]}) == {
        "jobs": [{"job": "bars", "status": "published"}],
        "decisions": [{"index": "CSI300", "status": "relaxed", "relaxed": "turnover +0.123"}],
    }
    assert compact({"jobs": [], "decisions": []}) == {}
