"""The user's own server (RELIABILITY 62): what is refused, what is warned of."""

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from fpm.errors import UsageError
from fpm.store.ledger.stores import open_stores
from fpm.store.postgres.requirements import faults, require_sound
from fpm.store.postgres.server import Server, connect
from fpm.store.settings import Settings

SOUND = {
    "server_version_num": "180004",
    "server_encoding": "UTF8",
    "TimeZone": "UTC",
    "fsync": "on",
    "full_page_writes": "on",
    "data_checksums": "off",
}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({}, []),
        ({"server_version_num": "140000"}, []),
        ({"server_version_num": "130014"}, ["version 130014, 14 is the oldest"]),
        ({"server_encoding": "SQL_ASCII"}, ["encoding SQL_ASCII"]),
        ({"TimeZone": "Asia/Shanghai", "server_encoding": "LATIN1"}, ["encoding LATIN1", "time zone Asia/Shanghai"]),
        ({"fsync": "off", "full_page_writes": "off"}, ["fsync and full_page_writes off"]),
    ],
)
def test_case_62_every_fault_is_named(change: dict[str, str], words: list[str]) -> None:
    wrong = faults({name: (value, "configuration file") for name, value in (SOUND | change).items()}, fsync=True)
    assert len(wrong) == len(words)
    assert all(text.startswith(word) for text, word in zip(wrong, words, strict=True))


def test_case_62_a_test_may_switch_durability_off() -> None:
    off = {name: (value, "configuration file") for name, value in (SOUND | {"fsync": "off"}).items()}
    assert len(faults(off, fsync=True)) == 1
    assert faults(off, fsync=False) == []
    assert faults(off | {"fsync": ("off", "command line")}, fsync=True) == []


def test_case_62_a_zone_that_is_not_utc_is_overruled_for_the_session(database_url: str, settings: Settings) -> None:
    """The database of a desk in China: every session of ours is in UTC all the same."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        name = conninfo_to_dict(database_url)["dbname"]
        connection.execute(f"ALTER DATABASE {name} SET timezone = 'Asia/Shanghai'")
    stores = open_stores(settings)
    stores.ledger.close()
    with connect(settings) as connection:
        assert connection.execute("SHOW TimeZone").fetchone() == ("UTC",)
    unset = Server(make_conninfo(database_url, options="-c timezone=Asia/Shanghai"), embedded=False)
    with pytest.raises(UsageError, match=r"FPM-PG-080 .*time zone Asia/Shanghai"):
        require_sound(unset)
