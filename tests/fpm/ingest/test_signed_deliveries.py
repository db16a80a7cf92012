"""A signed delivery goes in; one that is unsigned, altered, incomplete, longer or by another key is refused whole."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fpm.commands.inbox import look
from fpm.errors import InputRefused, UsageError
from fpm.ingest.signed_deliveries import require_signed
from fpm.minisign import public_key
from fpm.store.ledger.stores import Stores, open_stores
from fpm.store.settings import Settings, load_settings
from producers import delivery_check, ticks
from producers.bars import Arrival
from tests.daily_home import NOW, daily_bars, delivery, take
from tests.signing import KEY, KEYS, OTHER_KEY, sign, sign_folder, sums
from tests.small_chain import quiet

OWN, OTHER = (public_key(path.read_text(encoding="utf-8")) for path in (KEY, OTHER_KEY))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two small files, one in a folder of its own, signed."""
    (tmp_path / "sent" / "minute_bars").mkdir(parents=True)
    (tmp_path / "sent" / "daily_bars.csv").write_text("date\n", encoding="utf-8")
    (tmp_path / "sent" / "minute_bars" / "a b.csv").write_text("minute\n", encoding="utf-8")
    return sign_folder(tmp_path / "sent")


def test_without_a_key_nothing_is_asked_for(tmp_path: Path) -> None:
    assert require_signed([tmp_path], None) == {}


def test_a_signed_delivery_names_its_signer(folder: Path) -> None:
    words = "key FBD5F427197A629F: delivery 7"
    assert require_signed([folder], OWN) == {str(folder): words}
    (folder / ".done").touch()  # the mark of a complete delivery is no part of it
    assert require_signed([folder, folder / "daily_bars.csv"], OWN) == dict.fromkeys(
        (str(folder), str(folder / "daily_bars.csv")), words
    )


def altered(folder: Path) -> None:
    (folder / "daily_bars.csv").write_text("dates\n", encoding="utf-8")


def emptied(folder: Path) -> None:
    (folder / "minute_bars" / "a b.csv").unlink()


def filled(folder: Path) -> None:
    (folder / "minute_bars" / "more.csv").touch()


def filled_unseen(folder: Path) -> None:
    (folder / ".hidden.parquet").touch()


def linked(folder: Path) -> None:
    (folder / "other").symlink_to(folder / "minute_bars")


def exchanged_by_a_link(folder: Path) -> None:
    (folder / "daily_bars.csv").rename(folder.parent / "elsewhere.csv")
    (folder / "daily_bars.csv").symlink_to(folder.parent / "elsewhere.csv")


def without_signature(folder: Path) -> None:
    (folder / "SHA256SUMS.minisig").unlink()


def without_list(folder: Path) -> None:
    (folder / "SHA256SUMS").unlink()


def relisted(folder: Path) -> None:
    altered(folder)
    (folder / "SHA256SUMS").write_bytes(sums(folder))


def damaged_signature(folder: Path) -> None:
    (folder / "SHA256SUMS.minisig").write_bytes(b"untrusted comment: x\n")


def outside(folder: Path) -> None:
    content = b"0" * 64 + b"  ../elsewhere.csv\n"
    (folder / "SHA256SUMS").write_bytes(content)
    (folder / "SHA256SUMS.minisig").write_bytes(sign(content))


def listed_twice(folder: Path) -> None:
    content = sums(folder) * 2
    (folder / "SHA256SUMS").write_bytes(content)
    (folder / "SHA256SUMS.minisig").write_bytes(sign(content))


FAULTS: dict[Callable[[Path], None], str] = {
    without_signature: "FPM-SIG-001",
    without_list: "FPM-SIG-001",
    relisted: "FPM-SIG-003",
    altered: "FPM-SIG-004",
    emptied: "FPM-SIG-005",
    filled: "FPM-SIG-006",
    filled_unseen: "FPM-SIG-006",
    linked: "FPM-SIG-006",
    exchanged_by_a_link: "FPM-SIG-006",
    damaged_signature: "FPM-SIG-007",
    outside: "FPM-SIG-007",
    listed_twice: "FPM-SIG-007",
}


@pytest.mark.parametrize(("fault", "code"), FAULTS.items(), ids=lambda each: getattr(each, "__name__", each))
def test_every_fault_refuses_the_whole_delivery(fault: Callable[[Path], None], code: str, folder: Path) -> None:
    fault(folder)
    with pytest.raises(InputRefused, match=code):
        require_signed([folder], OWN)


@pytest.mark.skipif(shutil.which("minisign") is None, reason="minisign is not installed")
def test_the_documented_commands_sign_a_delivery(folder: Path) -> None:
    (folder / "SHA256SUMS").unlink()
    text = (Path(__file__).parents[3] / "docs" / "night.md").read_text(encoding="utf-8")
    (block,) = [part for part in text.split("```") if "minisign -Sm" in part]
    script = block.replace("minisign -Sm", f"minisign -s {KEYS / 'test.key'} -Sm")
    subprocess.run(["bash", "-euc", script], cwd=folder, check=True, capture_output=True, input=b"")
    assert require_signed([folder], OWN) == {str(folder): "key FBD5F427197A629F: delivery 7"}


def test_another_key_is_refused(folder: Path) -> None:
    with pytest.raises(InputRefused, match=f"FPM-SIG-002.*{OWN.name}.*expected {OTHER.name}"):
        require_signed([folder], OTHER)


def test_a_file_must_be_in_the_list_beside_it(folder: Path) -> None:
    filled(folder)
    (folder / "loose.csv").touch()
    with pytest.raises(InputRefused, match=r"FPM-SIG-006.*loose\.csv"):
        require_signed([folder / "loose.csv"], OWN)
    assert require_signed([folder / "daily_bars.csv"], OWN)


# --- in a home --------------------------------------------------------------------------------------------------------
@pytest.fixture
def home(tmp_path: Path, database_url: str) -> Stores:
    key = KEY.read_text(encoding="utf-8").splitlines()[1]
    return open_stores(
        Settings(home=tmp_path / "home", market="us", preset="tiny", database_url=database_url, delivery_key=key)
    )


@pytest.fixture
def sent(tmp_path: Path) -> Path:
    return delivery(tmp_path / "delivery")


def test_nothing_of_an_unsigned_delivery_goes_in(home: Stores, sent: Path) -> None:
    with pytest.raises(InputRefused, match="FPM-SIG-001"):
        take(home, sent)
    check = delivery_check.Home(home.market, home)
    with pytest.raises(InputRefused, match="FPM-SIG-001"):
        delivery_check.check([sent], Arrival(NOW, NOW), check, quiet)
    folders = (home.lake.root, home.settings.quarantine)
    assert not [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    assert home.ledger.query("SELECT FROM fpm.ledger") == []


def test_a_check_without_a_home_asks_for_the_signature_too(
    sent: Path, tmp_path: Path, fpm_command: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    variables = {"FPM_HOME": str(tmp_path / "none"), "FPM_DELIVERY_KEY": f"file:{KEY}"}
    answer = fpm_command("ingest", str(sent), "--check", "--market", "us", **variables)
    assert answer.returncode == 1 and "FPM-SIG-001" in answer.stderr, answer.stderr


def test_unsigned_ticks_do_not_go_in_either(stores: Stores, tmp_path: Path) -> None:
    key = KEY.read_text(encoding="utf-8")
    home = replace(stores, settings=stores.settings.model_copy(update={"delivery_key": key}))
    (tmp_path / "trades.csv").touch()
    with pytest.raises(InputRefused, match="FPM-SIG-001"):
        ticks.ingest([tmp_path], Arrival(NOW, NOW), home, quiet)


def test_a_signed_delivery_goes_in_and_says_so(home: Stores, sent: Path) -> None:
    report = take(home, sign_folder(sent)).to_dict()
    assert report["signed"] == {str(sent): "key FBD5F427197A629F: delivery 7"}
    assert "passed_over" not in report  # the list and its signature are no strangers
    assert home.sessions("daily_bars")


def test_an_unsigned_delivery_in_the_inbox_costs_itself_alone(home: Stores, sent: Path, tmp_path: Path) -> None:
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    sign_folder(sent).rename(inbox / "signed")
    daily_bars().write_parquet(inbox / "daily_bars.parquet")
    delivery(inbox / "unsigned")
    stores = open_stores(home.settings.model_copy(update={"inbox": inbox}))
    rows = {row["file"]: row for row in look(stores, datetime(2024, 11, 23, tzinfo=UTC), quiet, at_once=True)}
    assert {name: row["status"] for name, row in rows.items()} == {
        "signed": "taken",
        "unsigned": "refused",
        "daily_bars.parquet": "refused",
    }
    assert "FPM-SIG-001" in rows["unsigned"]["why"] and "FPM-SIG-001" in rows["daily_bars.parquet"]["why"]


def test_a_key_that_cannot_be_read_stops_everything(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for wrong in ("RWnonsense", f"file:{KEYS / 'test.key'}", f"file:{tmp_path / 'absent.pub'}"):
        monkeypatch.setenv("FPM_DELIVERY_KEY", wrong)
        with pytest.raises(UsageError, match="FPM_DELIVERY_KEY"):
            load_settings({})
    monkeypatch.setenv("FPM_DELIVERY_KEY", f"file:{KEY}")
    assert load_settings({}).signing_key == OWN
