"""A database beyond this machine must prove its name: which addresses are refused, and by what they are allowed."""

import pytest

from fpm.errors import UsageError
from fpm.store.addresses import require_verified
from fpm.store.settings import load_settings
from tests.fpm.store.test_addresses import MARK, everything_of

FAR = (
    "postgresql://u:{mark}@db.example/fpm",
    "postgresql://u:{mark}@10.0.0.7/fpm",
    "postgresql://u:{mark}@[2001:db8::7]/fpm",
    "postgresql://u:{mark}@localhost,db.example/fpm",
    "host=localhost hostaddr=10.0.0.7 password={mark}",
    "host=localhost.example password={mark}",
    "host=127.0.0.1.example password={mark}",
    "service=desk password={mark}",
)
NEAR = (
    "postgresql:///fpm",
    "postgresql://u@localhost/fpm",
    "postgresql://u@127.0.0.9:6000/fpm",
    "postgresql://u@[::1]/fpm",
    "host=/run/postgresql dbname=fpm",
    "host=@abstract dbname=fpm",
    "host=far.example hostaddr=127.0.0.1",
)


@pytest.mark.parametrize("address", FAR)
def test_a_database_beyond_this_machine_must_prove_its_name(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    address = address.format(mark=MARK)
    word = "&" if "?" in address else "?" if "://" in address else " "
    for weak in ("", *(f"{word}sslmode={mode}" for mode in ("disable", "allow", "prefer", "require", "verify-ca"))):
        with pytest.raises(ValueError, match="FPM_ALLOW_UNVERIFIED_DATABASE") as refusal:
            require_verified(address + weak)
        assert MARK not in everything_of(refusal.value)
    require_verified(f"{address}{word}sslmode=verify-full")
    monkeypatch.setenv("FPM_DATABASE_URL", address)
    with pytest.raises(UsageError, match=r"FPM-CFG-001  FPM_DATABASE_URL: its server is beyond") as whole:
        load_settings({})
    assert MARK not in everything_of(whole.value)
    monkeypatch.setenv("FPM_ALLOW_UNVERIFIED_DATABASE", "1")
    assert MARK in load_settings({}).database_url.get_secret_value()


@pytest.mark.parametrize("address", NEAR)
def test_a_database_of_this_machine_needs_no_certificate(address: str) -> None:
    require_verified(address)


def test_libpqs_own_variables_count_for_what_an_address_leaves_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGHOST", "db.example")
    require_verified("postgresql://u@localhost/fpm")
    with pytest.raises(ValueError, match="beyond this machine"):
        require_verified("postgresql:///fpm")
    monkeypatch.setenv("PGSSLMODE", "verify-full")
    require_verified("postgresql:///fpm")
    monkeypatch.setenv("PGHOSTADDR", "10.0.0.7")
    with pytest.raises(ValueError, match="beyond this machine"):
        require_verified("postgresql://u@localhost/fpm?sslmode=prefer")


def test_a_reader_of_another_machine_is_held_to_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FPM_DATABASE_URL", "postgresql://u@localhost/db")
    monkeypatch.setenv("FPM_READER_URL", "postgresql://u@db.example/db")
    with pytest.raises(UsageError, match="FPM_READER_URL: its server is beyond"):
        load_settings({})
