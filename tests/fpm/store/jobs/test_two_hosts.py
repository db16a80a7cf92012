"""A backfill on two hosts that share a folder and a database: a host that dies in the middle changes no byte."""

import importlib.util
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from fpm.store.jobs.runner import backfill
from fpm.store.ledger.ledger import Ledger
from fpm.store.ledger.stores import Stores, open_stores
from fpm.store.postgres.server import ensure_server, stop_server
from fpm.store.settings import Settings
from tests.fpm.store import mean_close
from tests.fpm.store.jobs.test_runner import lake_bytes
from tests.fpm.store.small_bars import SESSIONS, ingest
from tests.shell import environment
from tests.two_hosts import CERTIFICATE, Host, can_be_made, secure, server_on, two_hosts

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not can_be_made(), reason="network namespaces need Linux and root"),
]
GCS = 6379
TAKEOVER = 60  # seconds; the server asks a silent host after 10 and gives it up after 25
RAY = (
    *("-m", "ray.scripts.scripts", "start", "--block", "--num-cpus=1", "--object-store-memory=80000000"),
    "--disable-usage-stats",
)
BACKFILL = """
import time
from fpm.store.jobs.runner import backfill
from fpm.store.jobs.workers import cluster
from fpm.store.ledger.stores import open_stores
from fpm.store.settings import load_settings
from tests.fpm.store import mean_close
from tests.fpm.store.small_bars import SESSIONS
while sum(node["Alive"] for node in cluster().nodes()) < 2:
    time.sleep(0.5)
done = backfill(mean_close, SESSIONS[0], SESSIONS[6], open_stores(load_settings({})), lambda *_: None)
print([outcome.status for outcome in done])
"""
HOLD = """
import time
from fpm.store.ledger.stores import open_stores
from fpm.store.settings import load_settings
with open_stores(load_settings({})).ledger.lock("labels", "2026-01-08"):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Host, Host, str, Path]]:
    """Two hosts, the address of the database on the first one, and a folder that both see."""
    folder = tmp_path_factory.mktemp("shared")
    with two_hosts() as (first, second), server_on(first, folder) as address:
        yield first, second, secure(first, folder, address), folder


@pytest.fixture
def scratch() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="fpm-ray-", ignore_cleanup_errors=True) as folder:
        yield folder


def local(home: Path) -> Settings:
    """The same home and database, for this process, which sees the server by its socket only."""
    server = Settings(home=home.parent / "server", fsync=False)
    return Settings(home=home, market="cn", preset="tiny", database_url=ensure_server(server).dsn)


def until(true: object, seconds: float) -> float:
    """Seconds until it is true. Fails where that takes longer than allowed."""
    begun = time.monotonic()
    while not true():
        assert time.monotonic() - begun < seconds, "waited in vain"
        time.sleep(0.2)
    return time.monotonic() - begun


def variables(address: str, home: Path) -> dict[str, str]:
    return {
        "home": str(home),
        "FPM_DATABASE_URL": address,
        "FPM_MARKET": "cn",
        "FPM_PRESET": "tiny",
        "FPM_ENGINE": "ray",
        "FPM_WORKERS": "2",
        "RAY_health_check_period_ms": "1000",
        "RAY_health_check_timeout_ms": "5000",
        "RAY_health_check_failure_threshold": "3",
    }


def test_a_host_with_the_wrong_certificate_is_refused(network: tuple[Host, Host, str, Path], tmp_path: Path) -> None:
    """Over TCP the certificate counts: to a server of another root, or without one, no password goes."""
    first, _, address, folder = network
    other = tmp_path / "root.crt"
    made = [*CERTIFICATE.split(), "-keyout", str(tmp_path / "key"), "-out", str(other)]
    subprocess.run(made, check=True, capture_output=True)
    code = "import sys, psycopg\ntry: psycopg.connect(sys.argv[1])\nexcept psycopg.OperationalError as no: print(no)"
    texts = (
        address,
        address.replace(str(folder / "root.crt"), str(other)),
        address.replace("verify-full", "disable"),
    )
    answers = [first.start("-c", code, text, home=str(folder)).communicate(timeout=60)[0] for text in texts]
    assert answers[0] == "" and "certificate verify failed" in answers[1] and answers[2] != ""


def test_a_worker_host_that_dies_in_the_middle_changes_no_byte(
    network: tuple[Host, Host, str, Path], stores: Stores, scratch: str
) -> None:
    """It dies with files staged that nobody will publish; what it was at work on is done on the other host."""
    if importlib.util.find_spec("ray") is None:
        pytest.skip("the extra `ray` is not installed")
    ingest(stores)
    alone = backfill(mean_close, SESSIONS[0], SESSIONS[6], stores, lambda *_: None)
    first, second, address, folder = network
    # a folder of its own, whose path is short enough for a socket: another cluster of this machine is none of ours
    own_cluster = {"RAY_TMPDIR": scratch, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": uuid4().hex}
    with_ray = variables(address, folder / "home") | own_cluster
    own = open_stores(local(folder / "home"))
    ingest(own)
    head = ("--head", f"--port={GCS}", f"--node-ip-address={first.address}", "--include-dashboard=false")
    _require_ray(first.start(*RAY, *head, **with_ray))
    joining = (f"--address={first.address}:{GCS}", f"--node-ip-address={second.address}")
    # it stands still once its first files are staged
    _require_ray(second.start(*RAY, *joining, **with_ray, FPM_FAULT="staged:1:SIGSTOP"))
    driver = first.start("-c", BACKFILL, apart=False, **with_ray, RAY_ADDRESS=f"{first.address}:{GCS}")
    until(lambda: driver.poll() is not None or list(own.lake.staging.glob(f"labels/*~{second.name}-*")), 240)
    assert driver.poll() is None, driver.stdout.read()
    time.sleep(1)
    second.lose_power()
    begun = time.monotonic()
    answer, _ = driver.communicate(timeout=300)
    print(f"ended {time.monotonic() - begun:.0f} s after the host")
    assert answer.splitlines()[-1] == str([outcome.status for outcome in alone]), answer
    assert lake_bytes(own) == lake_bytes(stores)
    assert not list(own.lake.staging.rglob("*.parquet"))
    own.ledger.close()


def _require_ray(child: subprocess.Popen) -> None:
    lines = []
    for line in child.stdout:
        lines.append(line)
        if "Ray runtime started" in line:
            return
    pytest.fail("".join(lines))


def test_the_lock_of_a_host_without_power_is_free_within_a_minute(tmp_path: Path) -> None:
    """Nobody tells the server that the host is gone: by the kernel alone its locks would stay for two hours."""
    with two_hosts() as (first, second), server_on(first, tmp_path) as address:
        named = variables(address, tmp_path / "home") | {"FPM_ALLOW_UNVERIFIED_DATABASE": "1"}
        holder = second.start("-c", HOLD, **named)
        assert holder.stdout.readline() == "held\n"
        ledger = Ledger(local(tmp_path / "home").database_url.get_secret_value())
        assert ledger.is_owned("labels", "2026-01-08")
        second.lose_power()
        seconds = until(lambda: not ledger.is_owned("labels", "2026-01-08"), TAKEOVER)
        ledger.close()
        print(f"free after {seconds:.0f} s")


def test_an_embedded_server_is_never_started_twice_on_its_files(tmp_path: Path) -> None:
    """Another host sees the folder and neither socket, process ids nor memory: it took the server for dead."""
    settings = Settings(home=tmp_path / "home", fsync=False)
    socket = conninfo_to_dict(ensure_server(settings).dsn)["host"]
    try:
        hidden = f"mount -t tmpfs -o mode=700,uid=65534 none {socket}; exec {sys.executable} -m fpm setup"
        elsewhere = subprocess.run(
            ["unshare", "--mount", "--ipc", "--pid", "--fork", "--mount-proc", "sh", "-c", hidden],
            env=environment(settings.home, PYTHONPATH=str(Path(__file__).parents[4])),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert elsewhere.returncode == 75 and "FPM-PG-095" in elsewhere.stderr, elsewhere.stderr
        with psycopg.connect(ensure_server(settings).dsn) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
    finally:
        assert stop_server(settings)
    ensure_server(settings)  # nothing of the lock outlives the server
    stop_server(settings)
