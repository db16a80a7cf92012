"""Foreign files are decoded in a child process with limits on memory and processor time.

A file from outside may be damaged or hostile: 1.4 MB that decode to 8.5 GB, a footer that makes the decoder panic. The
child calls one of our functions (`module:function`) with a path, and hands its frames back as Arrow in shared memory.
It lives as long as its parent; where it dies, or is stopped at a limit, the file is refused and the next one gets a new
child. Its standard error goes nowhere: the text of a panic is nobody's message.
"""

from __future__ import annotations

import atexit
import json
import mmap
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import pyarrow as pa

from fpm.errors import InputRefused
from fpm.ingest.vendor_files import refusal

if TYPE_CHECKING:
    from collections.abc import Iterator

MEMORY = 832 << 20  # bytes of the child's resident memory beyond the 0.1 GB it begins with
DECODED = 512 << 20  # bytes that the columns of one file, or of one batch of it, may have
SECONDS = 120.0  # of processor time a message
WAIT = 0.01  # seconds between two looks at the child; it fills 20 MB in that time
_PAGE, _TICKS = os.sysconf("SC_PAGE_SIZE"), os.sysconf("SC_CLK_TCK")
_children: dict[int, Child] = {}  # by process, so that a forked process does not share its parent's


def decode(function: str, path: Path, **arguments: Any) -> tuple[dict[str, Any], pl.DataFrame]:
    """The facts and the frame of one file by `function` (`module:function`), called in the child.

    Raises InputRefused: what the function raises; RES-144 beyond the limits; 003 where the file ends the child.
    """
    [part] = parts(function, path, **arguments)
    return part


def parts(function: str, path: Path, **arguments: Any) -> Iterator[tuple[dict[str, Any], pl.DataFrame]]:
    """Like `decode`, for a function that yields several parts; the next is decoded when it is asked for."""
    child = start()
    complete = False
    try:
        child.send({"function": function, "path": str(path.absolute()), "arguments": arguments})
        while (answer := child.answer(path)) is not None:
            yield answer
            child.send({})
        complete = True
    except InputRefused:
        complete = not child.closed  # a refusal in words leaves the child ready for the next file
        raise
    finally:
        if not complete:  # the caller stops early, or the child is gone: what it still holds belongs to no one
            child.close()
            _children.pop(os.getpid(), None)


def start() -> Child:
    """The child of this process; calling it early hides the third of a second that its imports take."""
    child = _children.get(os.getpid())
    if child is None or child.closed or child.process.poll() is not None:
        child = _children[os.getpid()] = Child()
    return child


class Child:
    """One decoding process and the socket to it: a line of JSON there, a line of JSON and perhaps a file back."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        variables = {name: value for name, value in os.environ.items() if not name.upper().startswith("FPM_")}
        ours_first = [str(Path(__file__).parents[2]), *filter(None, [variables.get("PYTHONPATH")])]
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", "fpm.ingest.decoder_process", str(theirs.fileno())],
                env={**variables, "PYTHONPATH": os.pathsep.join(ours_first), "RUST_BACKTRACE": "0"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                process_group=0,  # Ctrl-C in a terminal is the parent's: a child that it ends looks like a bad file
            )
        folder = Path("/proc", str(self.process.pid))  # opened once: a look while a file is decoded is two short reads
        self._proc = [os.open(folder / name, os.O_RDONLY) for name in ("statm", "stat")] if folder.is_dir() else []
        self.socket, self.closed, self._base = ours, False, (0, 0.0)
        self.socket.settimeout(WAIT)
        atexit.register(self.close)

    def send(self, request: dict[str, Any]) -> None:
        """One request, or `{}` for the next part."""
        self._base = self._usage()
        try:
            self.socket.settimeout(None)
            self.socket.sendall(json.dumps(request).encode() + b"\n")
        except OSError:
            pass  # the child is gone; `answer` says so
        finally:
            self.socket.settimeout(WAIT)

    def answer(self, path: Path) -> tuple[dict[str, Any], pl.DataFrame] | None:
        """The next part, or None after the last. Raises InputRefused as `decode` does."""
        text, handles = self._line(path)
        message = json.loads(text)
        if "refusal" in message:
            raise InputRefused(**message["refusal"])
        if "end" in message:
            return None
        return message["facts"], _frame(handles[0]) if handles else pl.DataFrame()

    def _line(self, path: Path) -> tuple[bytes, list[int]]:
        """One line and the handles that came with it, while the child stays within its limits."""
        text: bytes = b""
        handles: list[int] = []
        while not text.endswith(b"\n"):
            try:
                block, received, _, _ = socket.recv_fds(self.socket, 1 << 16, 1)
            except TimeoutError:
                self._watch(path)
                continue
            except OSError:
                block, received = b"", []
            if not block:
                raise self._ended(path)
            text, handles = text + block, handles + received
        return text, handles

    def _watch(self, path: Path) -> None:
        """Stop the child where it is beyond a limit."""
        memory, seconds = (now - before for now, before in zip(self._usage(), self._base, strict=True))
        if memory > MEMORY:
            self.close()
            raise too_large(path, f"decoding it takes more than {MEMORY >> 20} MB of memory")
        if seconds > SECONDS:
            self.close()
            raise refusal(
                path,
                code="FPM-RES-148",
                wrong=f"decoding it takes more than {SECONDS:.0f} seconds of processor time",
                todo="split the file by session",
            )

    def _usage(self) -> tuple[int, float]:
        """Resident memory in bytes and processor seconds of the child; zeros where the system does not say."""
        try:
            statm, stat = (os.pread(handle, 1024, 0) for handle in self._proc)
            times = stat.rpartition(b")")[2].split()
            return int(statm.split()[1]) * _PAGE, (int(times[11]) + int(times[12])) / _TICKS
        except (OSError, IndexError, ValueError):
            return 0, 0.0

    def _ended(self, path: Path) -> InputRefused:
        code = self.process.wait()
        self.close()
        if code == -9:  # the machine's own limit came first
            return too_large(path, "decoding it was stopped by the system, most likely for its memory")
        return refusal(
            path, code="FPM-IN-003", wrong=f"reading it ended the reader ({code})", todo="fetch the file again"
        )

    def close(self) -> None:
        """End the child."""
        atexit.unregister(self.close)
        self.closed = True
        while self._proc:
            os.close(self._proc.pop())
        self.socket.close()
        self.process.kill()
        self.process.wait()


def too_large(path: Path, wrong: str) -> InputRefused:
    """The refusal of a file beyond the limits of memory, for the caller to raise."""
    return refusal(path, code="FPM-RES-144", wrong=wrong, todo="split the file by session, or by symbol")


def _frame(handle: int) -> pl.DataFrame:
    """The frame in a shared file, without a copy."""
    with os.fdopen(handle, "rb") as shared:
        memory = mmap.mmap(shared.fileno(), 0, access=mmap.ACCESS_READ)
    with pa.ipc.open_file(pa.py_buffer(memory)) as stored:
        return pl.DataFrame(pl.from_arrow(stored.read_all(), rechunk=False))
