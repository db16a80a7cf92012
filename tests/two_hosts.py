"""Two hosts on one machine: network namespaces with a cable between them, each with its own name and process ids.

They share the file system, as hosts share a mounted folder. Needs Linux, root and `ip`.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

from psycopg.conninfo import conninfo_to_dict

from fpm.store.postgres.migrate import migrate
from fpm.store.postgres.server import ensure_server, stop_server
from fpm.store.settings import Settings
from tests.shell import environment

PORT, SECURE_PORT = 5432, 5433
CERTIFICATE = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=fpm"


def can_be_made() -> bool:
    """Whether this machine lets us make hosts."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return False
    try:
        name = f"fpm{uuid4().hex[:6]}"
        subprocess.run(["ip", "netns", "add", name], check=True, capture_output=True)
        subprocess.run(["ip", "netns", "del", name], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        return False
    return True


@dataclass
class Host:
    """A host by the name of its namespace; `name` is also what it calls itself."""

    name: str
    address: str
    children: list[subprocess.Popen] = field(default_factory=list)

    def start(self, *words: str, apart: bool = True, **variables: str) -> subprocess.Popen:
        """Begin a Python command here, with process ids of its own (`apart`): SIGKILL of its first ends them all."""
        own = ["unshare", "--uts", *(["--pid", "--fork", "--mount-proc", "--kill-child"] if apart else [])]
        script = f'hostname {self.name}; exec "$@"'
        command = ["ip", "netns", "exec", self.name, *own, "sh", "-c", script, "sh", sys.executable, *words]
        child = subprocess.Popen(
            command,
            env=environment(Path(variables.pop("home")), PYTHONPATH=str(Path(__file__).parents[1]), **variables),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.children.append(child)
        return child

    def lose_power(self) -> None:
        """The cable carries nothing any more, then every process ends: nobody is told."""
        subprocess.run(["ip", "netns", "exec", self.name, "ip", "link", "set", "cable", "down"], check=True)
        self.end()

    def end(self) -> None:
        """Kill every process that was started here."""
        for child in self.children:
            if child.poll() is None:
                os.killpg(child.pid, signal.SIGKILL)
                child.wait(30)
            child.stdout.close()


@contextmanager
def two_hosts() -> Iterator[tuple[Host, Host]]:
    """Two hosts, which end with the context."""
    word = uuid4().hex[:4]
    hosts = (Host(f"fpm-a-{word}", "10.77.0.1"), Host(f"fpm-b-{word}", "10.77.0.2"))
    near, far = f"fa{word}", f"fb{word}"

    def ip(*words: str) -> None:
        subprocess.run(["ip", *words], check=True, capture_output=True)

    try:
        ip("link", "add", near, "type", "veth", "peer", "name", far)
        for host, end in zip(hosts, (near, far), strict=True):
            ip("netns", "add", host.name)
            ip("link", "set", end, "netns", host.name)
            ip("-n", host.name, "link", "set", end, "name", "cable")
            ip("-n", host.name, "address", "add", f"{host.address}/24", "dev", "cable")
            for link in ("lo", "cable"):
                ip("-n", host.name, "link", "set", link, "up")
            ip("-n", host.name, "route", "add", "default", "dev", "cable")
        yield hosts
    finally:
        for host in hosts:
            host.end()
            subprocess.run(["ip", "netns", "del", host.name], check=False, capture_output=True)


@contextmanager
def server_on(host: Host, folder: Path) -> Iterator[str]:
    """The address of a migrated database that listens on a host's cable, plain; `secure` puts TLS before it."""
    settings = Settings(home=folder / "server", fsync=False)
    parts = conninfo_to_dict(ensure_server(settings).dsn)
    stop_server(settings)
    with (settings.pg / "data/postgresql.conf").open("a") as configuration:
        configuration.write(f"listen_addresses = '{host.address}'\n")
    with (settings.pg / "data/pg_hba.conf").open("a") as rules:
        rules.write("host all all 10.77.0.0/24 scram-sha-256\n")
    code = "import sys; from fpm.store.postgres.server import *; from fpm.store.settings import Settings; "
    code += "ensure_server(Settings(home=sys.argv[1], fsync=False))"
    starting = host.start("-c", code, str(settings.home), apart=False, home=str(folder))
    assert starting.wait(120) == 0, starting.stdout.read()
    migrate(settings)
    try:
        yield f"postgresql://{parts['user']}:{parts['password']}@{host.address}:{PORT}/{parts['dbname']}"
    finally:
        stop_server(settings)


def secure(host: Host, folder: Path, address: str) -> str:
    """The address of the same database through TLS, for whoever checks the name: the wheel's server knows no TLS."""
    root, key = folder / "root.crt", folder / "server.key"
    named = ["-addext", f"subjectAltName=IP:{host.address}", "-keyout", str(key), "-out", str(root)]
    subprocess.run([*CERTIFICATE.split(), *named], check=True, capture_output=True)
    server = conninfo_to_dict(ensure_server(Settings(home=folder / "server", fsync=False)).dsn)
    socket = f"{server['host']}/.s.PGSQL.{server['port']}"
    words = (host.address, str(SECURE_PORT), socket, str(root), str(key))
    door = host.start("-m", "tests.tls_door", *words, apart=False, home=str(folder))
    assert door.stdout.readline() == "open\n"
    return address.replace(f":{PORT}/", f":{SECURE_PORT}/") + f"?sslmode=verify-full&sslrootcert={root}"
