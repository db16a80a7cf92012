"""Addresses with passwords: what is refused, and that no text, row or file repeats one (RELIABILITY 56, 58)."""

import asyncio
import json
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from feast.infra.registry.sql import SqlRegistry
from hypothesis import example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg_pool import ConnectionPool
from pydantic import SecretStr

from fpm.commands import cli
from fpm.commands.status import status
from fpm.errors import FpmError, TryLater, UsageError
from fpm.store import log
from fpm.store.addresses import SECRET_PARTS, database_address, hidden, secrets_of
from fpm.store.http.door import Door
from fpm.store.jobs.publishing import Partition, attempt, ownership
from fpm.store.ledger.ledger import Ledger
from fpm.store.ledger.stores import Stores, open_stores
from fpm.store.postgres.server import Server, connect, directions
from fpm.store.retrieval import features
from fpm.store.settings import Settings, load_settings
from tests.fpm.store.small_bars import SESSIONS

MARK = "Hush7hush"
MISTAKES = [
    f"postgresql+psycopg://u:{MARK}@h/db",
    f"jdbc:postgresql://h/db?password={MARK}",
    f"mysql://u:{MARK}@h/db",
    f"POSTGRESQL://u:{MARK}@h/db",
    f"'postgresql://u:{MARK}@h/db'",
    f'"postgresql://u:{MARK}@h/db"',
    f"postgresql:/u:{MARK}@h/db",
    f"postgresql//u:{MARK}@h/db",
    f"u:{MARK}@h/db",
    f"postgresql://u:{MARK} x@h/db",
    f"postgresql:// u:{MARK}@h/db",
    f"postgresql://u:{MARK}@h/d b",
    f"postgresql://u:a@{MARK}@h/db",
    f"postgresql://u:a/{MARK}@h/db",
    f"postgresql://u:12/{MARK}@h/db",
    f"postgresql://u:{MARK}%zz@h/db",
    f"postgresql://u:{MARK}%@h/db",
    f"postgresql://h:{MARK}/db",
    f"postgresql://u:p@h:{MARK}/db",
    f"postgresql://u:p@h:99999/{MARK}",
    f"postgresql://u:p@[{MARK}/db",
    f"postgresql://u@h/db?pasword={MARK}",
    f"postgresql://u@h/db?{MARK}",
    f"postgresql://u:1?sslmode=x/{MARK}@h/db",
    f"host=h user=u pasword={MARK}",
    f"host=h user=u password=a {MARK}",
    f"host=h user=u password='{MARK}",
    f"host=h port={MARK} user=u",
    f"host=u:{MARK}@h dbname=db",
    f"h u {MARK}",
    f"file:postgresql://u:{MARK}@h/db",
    MARK,
]
RIGHT = {  # what libpq's manual says of each form: user, password, host, database
    f"postgresql://u:{MARK}@h:5432/db": ("u", MARK, "h", "db"),
    f"  postgres://u:{MARK}@h/db\n": ("u", MARK, "h", "db"),
    "postgresql://u:a%40b%2Fc%3A%3F%23%25%20d@h/db": ("u", "a@b/c:?#% d", "h", "db"),
    f"postgresql://u:{MARK}@[2001:db8::1]:5433/db": ("u", MARK, "2001:db8::1", "db"),
    f"postgresql://u:{MARK}@one:1,two:2/db?target_session_attrs=any": ("u", MARK, "one,two", "db"),
    f"postgresql://u:{MARK}@/db?host=/var/run/postgresql": ("u", MARK, "/var/run/postgresql", "db"),
    f"postgresql://u:{MARK}@%2Fvar%2Frun/db": ("u", MARK, "/var/run", "db"),
    f"postgresql://u:{MARK}#?x@h/db": ("u", f"{MARK}#?x", "h", "db"),
    f"postgresql:///db?user=u&password={MARK}&host=h": ("u", MARK, "h", "db"),
    f"host=h user=u password='a b\\'{MARK}' dbname=db": ("u", f"a b'{MARK}", "h", "db"),
}


@pytest.fixture(autouse=True)
def plain_log() -> Iterator[None]:
    yield
    log.configure(Settings())


def everything_of(error: BaseException) -> str:
    """All that a reader of an exception can come by: its chain, notes, arguments and attributes."""
    seen: list[BaseException] = []
    rest: list[BaseException | None] = [error]
    while rest:
        link = rest.pop()
        if link is not None and link not in seen:
            seen.append(link)
            rest += [link.__cause__, link.__context__]
    texts = [repr((link, link.args, getattr(link, "__notes__", []), vars(link))) for link in seen]
    return "\n".join([*texts, *traceback.format_exception(error)])


@pytest.mark.parametrize("name", ["FPM_DATABASE_URL", "FPM_READER_URL"])
@pytest.mark.parametrize("wrong", MISTAKES)
def test_an_address_with_a_mistake_is_refused_and_not_repeated(
    name: str, wrong: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FPM_DATABASE_URL", "postgresql://u@localhost/db")
    monkeypatch.setenv(name, wrong)
    with pytest.raises(UsageError, match=f"FPM-CFG-001  {name}: ") as refusal:
        load_settings({})
    assert MARK not in everything_of(refusal.value)
    with pytest.raises(
        ValueError, match=r"libpq|write postgresql|spaces|%40|no readable file"
    ) as direct:  # pydantic's own, where a caller makes it
        Settings()
    assert MARK not in str(direct.value)


@pytest.mark.parametrize("wrong", ["", "  ", "\n"])
def test_an_empty_address_is_no_address(wrong: str) -> None:
    with pytest.raises(ValueError, match="it is empty"):
        database_address(wrong)


@pytest.mark.parametrize("address", RIGHT)
def test_a_right_address_means_what_libpq_says(address: str) -> None:
    parts = conninfo_to_dict(database_address(address))
    assert tuple(parts[name] for name in ("user", "password", "host", "dbname")) == RIGHT[address]
    assert str(parts["password"]) in secrets_of(database_address(address))


def shown_of(text: str) -> str:
    """What of an address a message may repeat: all of its refusal, or its parts that are not secret."""
    try:
        address = database_address(text)
    except ValueError as refusal:
        return everything_of(refusal)
    parts = {name: value for name, value in conninfo_to_dict(address).items() if name not in SECRET_PARTS}
    return f"{parts} {Server(address, embedded=False).name}"


SIGNS = st.text("ab1@/:?#%[]&=;, '\"\\é\n", max_size=8)


@hypothesis_settings(deadline=None, max_examples=400)
@given(
    st.sampled_from(["postgresql://", "postgres://", "postgresql:/", "postgresql+x://", "", " postgresql://"]),
    SIGNS,
    SIGNS,
    st.sampled_from(["@h/db", "@h:5432/db", "@/db?host=/run", "@[::1]/db", "@h"]),
)
@example("postgresql://", "1?sslmode=", "", "@h/db")
@example("postgresql://", "a@b:", "", "@h/db")
@example("postgresql://", "1/db?user=", "", "@h/db")
def test_wherever_a_password_stands_libpq_takes_it_for_one_or_we_refuse(
    scheme: str, before: str, after: str, end: str
) -> None:
    """What drivers name in their messages are the other parts, so no part of a password may be among them."""
    assert MARK not in shown_of(f"{scheme}u:{before}{MARK}{after}{end}")


@hypothesis_settings(deadline=None, max_examples=200)
@given(st.text("ab1@/:?#% '\"\\é\n", max_size=8), st.text("ab1@/:?#% '\"\\é\n", max_size=8))
def test_pairs_of_names_and_values_too(before: str, after: str) -> None:
    """Without "=" in the password: a space and "user=" in it are libpq's own grammar, and nobody can tell."""
    assert MARK not in shown_of(f"host=h user=u password={before}{MARK}{after} dbname=db")


@pytest.mark.parametrize(
    "form", [str, repr, json.dumps, lambda text: f"?x={psycopg.conninfo.make_conninfo(host=text)}"]
)
def test_a_secret_is_hidden_in_every_form(form: Callable[[str], str]) -> None:
    secret = f'{MARK}"é\\n'
    assert MARK not in hidden(f"before {form(secret)} after", [secret])
    assert hidden("a b", ["a"]) == "a b", "hiding one letter would leave no text"


@pytest.mark.parametrize("name", ["home", "market", "markets", "mandate", "calendar", "inbox", "factors", "device"])
def test_an_address_in_another_setting_is_refused_and_not_repeated(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(f"FPM_{name.upper()}", f"postgresql://u:{MARK}@h/db")
    with pytest.raises(UsageError, match=f"FPM-CFG-001 .*FPM_{name.upper()}: ") as refusal:
        load_settings({})
    assert MARK not in everything_of(refusal.value) and list(tmp_path.iterdir()) == []


def test_every_setting_that_may_hold_a_secret_is_one() -> None:
    words = ("url", "token", "hook", "secret", "password", "key", "login", "credential")
    public = {"delivery_key"}  # of a pair, the half that everybody may know
    named = {name for name in Settings.model_fields if any(word in name for word in words)} - public
    assert {*named, "lineage"} == set(Settings.secret_names()) == {"alert_url", "database_url", "lineage", "reader_url"}


COMMANDS = [("jobs", "--json"), ("status", "--json"), ("setup",), ("connection", "--json"), ("serve", "--port", "0")]


@pytest.mark.parametrize("words", COMMANDS)
@pytest.mark.parametrize("wrong", [MISTAKES[0], MISTAKES[11], MISTAKES[20]])
def test_a_command_says_it_in_one_line(
    words: tuple[str, ...],
    wrong: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("FPM_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("FPM_DATABASE_URL", wrong)
    monkeypatch.setattr(sys, "argv", ["fpm", *words])
    with pytest.raises(SystemExit) as left:
        cli.main()
    output = capfd.readouterr()
    assert (left.value.code, output.out.count("\n"), output.err.count("\n")) == (2, int("--json" in words), 1)
    assert MARK not in output.out + output.err and not (tmp_path / "home").exists()


@pytest.fixture
def marked(settings: Settings, postgres_server: Server) -> Iterator[Settings]:
    """The deployment through a login whose password is the mark."""
    assert settings.database_url is not None
    url = settings.database_url.get_secret_value()
    with psycopg.connect(postgres_server.dsn, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE marked SUPERUSER LOGIN PASSWORD '{MARK}'")
        connection.execute("ALTER ROLE marked SET role = 'fpm_owner'")  # what it makes is the owner's
        yield settings.model_copy(
            update={"database_url": SecretStr(make_conninfo(url, user="marked", password=MARK)), "log_format": "json"}
        )
        connection.execute("DROP ROLE marked")


@pytest.fixture
def marked_stores(marked: Settings) -> Iterator[Stores]:
    log.configure(marked.model_copy(update={"log_level": "debug"}))
    stores = open_stores(marked)
    yield stores
    stores.ledger.close()


def test_no_row_log_or_file_of_a_home_holds_the_password(
    marked_stores: Stores, capfd: pytest.CaptureFixture[str]
) -> None:
    """A driver that repeats the whole address in its exception is the worst case; here a job does."""
    stores, url = marked_stores, marked_stores.settings.database_url
    assert url is not None
    partition = Partition("job", SESSIONS[0], None)

    def job() -> None:
        with ownership(partition, stores), attempt(partition, "", stores) as current:
            stores.ledger.note(current, f"read from {url.get_secret_value()}")
            raise psycopg.ProgrammingError(f"invalid {url.get_secret_value()!r}, {MARK}")

    with pytest.raises(psycopg.ProgrammingError):
        job()
    stores.ledger.wait("job", f"{SESSIONS[1]}", f"no answer of {url.get_secret_value()}")
    features.apply(stores.settings)
    rows = [*status(stores, SESSIONS[0]), *status(stores, SESSIONS[1]), *status(stores, None)]
    assert ["***" in str(row.get("error")) for row in rows] == [True, True, False, False]
    dump = stores.ledger.query("SELECT to_jsonb(ledger)::text FROM fpm.ledger")
    dump += stores.ledger.query("SELECT to_jsonb(deployment)::text FROM fpm.deployment")
    files = b"".join(path.read_bytes() for path in stores.settings.home.rglob("*") if path.is_file())
    output = capfd.readouterr()
    assert MARK not in f"{rows} {dump} {output.out} {output.err}" and MARK.encode() not in files
    assert "invalid" in output.err and "***" in output.err


def test_what_a_connection_or_a_store_shows_of_itself(marked_stores: Stores) -> None:
    settings = marked_stores.settings
    features.apply(settings)
    stores = [features.feature_store(settings), features.serving_store(settings)]
    shown = [settings, marked_stores, *stores, *(store.config for store in stores)]
    for thing in shown:
        text = f"{thing!r} {thing}"
        assert MARK not in text, text[max(0, text.index(MARK) - 200) : text.index(MARK) + 50]
    for store in stores:
        assert isinstance(store.registry, SqlRegistry)
        assert MARK not in f"{store.config.model_dump()} {store.registry.write_engine!r}"
    assert all(MARK not in json.dumps(directions(settings, role)) for role in ("owner", "producer", "reader"))
    assert {view.name for view in stores[1].list_feature_views()} >= {"scores"}, (
        "the hidden password opens the registry"
    )


def refused_everywhere(settings: Settings) -> list[Callable[[], Any]]:
    """Every way to the database, each with its driver."""
    assert settings.database_url is not None
    ledger = Ledger(settings.database_url.get_secret_value())
    assert isinstance(ledger._pool, ConnectionPool)
    ledger._pool.timeout = 1  # thirty seconds are for a server that restarts

    def locked() -> None:
        with ledger.lock("job", "2026-01-05"):
            pass

    return [
        lambda: open_stores(settings),
        lambda: connect(settings, "owner"),
        lambda: connect(settings, "reader"),
        lambda: features.apply(settings),
        lambda: ledger.query("SELECT 1"),
        locked,
    ]


@pytest.mark.parametrize("change", [{"password": f"{MARK}x"}, {"dbname": "none"}, {"host": "/nowhere"}, {"port": "1"}])
def test_a_refused_connection_names_no_password(
    change: dict[str, str], marked: Settings, capfd: pytest.CaptureFixture[str]
) -> None:
    assert marked.database_url is not None
    url = make_conninfo(marked.database_url.get_secret_value(), **change)
    settings = marked.model_copy(update={"database_url": SecretStr(url), "log_level": "debug"})
    log.configure(settings)
    for call in refused_everywhere(settings):
        with pytest.raises(TryLater, match=r"FPM-PG-07[56]") as refusal:
            call()
        told = everything_of(refusal.value)
        assert MARK not in told, told[max(0, told.index(MARK) - 200) : told.index(MARK) + 50]
        log.log.error("refused", exc_info=refusal.value)
    output = capfd.readouterr()
    assert MARK not in output.out + output.err and "FPM-PG-07" in output.err


@pytest.mark.parametrize("form", ["json", "console"])
def test_a_fault_is_a_line_and_its_traceback_a_file_without_the_password(
    form: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """A fault of ours, or of a library that repeats the address."""

    def broken(*_: object) -> None:
        wrong = ValueError(f"postgresql://u:{MARK}@h/db")
        wrong.add_note(f"with {MARK}")
        log.log.error("it breaks", exc_info=wrong, address=f"u:{MARK}@h")
        raise RuntimeError(MARK) from wrong

    monkeypatch.setenv("FPM_HOME", str(tmp_path))
    monkeypatch.setenv("FPM_LOG_FORMAT", form)
    monkeypatch.setenv("FPM_DATABASE_URL", f"postgresql://u:{MARK}@h/db?sslmode=verify-full")
    monkeypatch.setattr("fpm.commands.home_commands.show", broken)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["fpm", "jobs", "--json"])
    with pytest.raises(SystemExit) as left:
        cli.main()
    output = capfd.readouterr()
    (file,) = tmp_path.glob("fpm-fault-*.txt")
    traceback = file.read_text()
    assert left.value.code == FpmError.exit_code and "it breaks" in output.err
    line = output.err.splitlines()[-1]
    assert "FPM-IO-002  fpm itself failed: RuntimeError: ***" in line and str(file) in line
    assert json.loads(output.out)["error"]["code"] == "FPM-IO-002"
    assert "in broken" in traceback and "ValueError" in traceback and "RuntimeError: ***" in traceback
    assert file.stat().st_mode & 0o077 == 0
    assert MARK not in output.out + output.err + traceback
    assert form == "json" or "Traceback" not in line


def test_the_http_server_answers_and_logs_without_the_password(
    marked_stores: Stores, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    features.apply(marked_stores.settings)
    door = Door(marked_stores.settings)
    sent: list[dict[str, Any]] = []

    def broken(_: bool) -> None:
        raise RuntimeError(f"postgresql://u:{MARK}@h/db")

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(dict(message))

    token = (marked_stores.settings.home / "http-token").read_bytes().strip()
    scope = {"type": "http", "path": "/health", "method": "GET", "query_string": b""}
    scope["headers"] = [(b"authorization", b"Bearer " + token)]
    monkeypatch.setattr(door, "_newest", broken)
    try:
        asyncio.run(door(scope, receive, send))
        secret_places = [{**scope, "headers": [(b"authorization", b"Bearer " + MARK.encode())]}]
        secret_places += [{**scope, "query_string": b"token=" + MARK.encode()}, {**scope, "path": f"/{MARK}"}]
        for place in secret_places:
            asyncio.run(door(place, receive, send))
    finally:
        door.close()
    output = capfd.readouterr()
    assert [message["status"] for message in sent if "status" in message] == [500, 401, 400, 404]
    assert MARK not in f"{sent} {output.out} {output.err}" and "FPM-HTTP-086" in str(sent) and "***" in output.err
