"""The child of `decoder`: it calls one of our functions on a file and hands the frames back."""

from __future__ import annotations

import gc
import json
import os
import socket
import sys
import tempfile
from importlib import import_module
from inspect import isgenerator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polars.exceptions import PanicException

from fpm.errors import FpmError
from fpm.ingest.decoder import DECODED, too_large
from fpm.ingest.vendor_files import refusal

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import polars as pl


def main(handle: int) -> None:
    """Answer requests from the socket until the parent closes it."""
    modules = 0
    with socket.socket(fileno=handle) as parent, parent.makefile("rb") as lines:
        for line in lines:
            request = json.loads(line)
            if request:
                _answer(request, parent, lines)
            gc.collect()
            if len(sys.modules) > modules:  # else each collection looks at all that was imported: 20 ms a file
                gc.freeze()
                modules = len(sys.modules)


def _answer(request: dict[str, Any], parent: socket.socket, lines: Iterable[bytes]) -> None:
    """Send every part that the function gives, each when the one before was taken, then the end or the refusal."""
    path = Path(request["path"])
    try:
        for facts, frame in _parts(request, path):
            _send(parent, {"facts": facts}, _shared(frame, path))
            next(iter(lines))
    except FpmError as error:
        _refuse(parent, error)
    except (Exception, PanicException) as error:  # noqa: BLE001  a decoder's fault, whatever it raises, is the file's
        wrong = f"it cannot be decoded ({type(error).__name__}: {first_line(error)})"
        _refuse(parent, refusal(path, code="FPM-IN-003", wrong=wrong, todo="fetch the file again"))
    else:
        _send(parent, {"end": True}, None)


def first_line(error: BaseException) -> str:
    """The first line of a decoder's message."""
    return (str(error).splitlines() or [""])[0][:120]


def _parts(request: dict[str, Any], path: Path) -> Iterator[tuple[dict[str, Any], pl.DataFrame]]:
    module, _, function = request["function"].partition(":")
    result = getattr(import_module(module), function)(path, **request["arguments"])
    yield from result if isgenerator(result) else [result]


def _shared(frame: pl.DataFrame, path: Path) -> int | None:
    """The handle of a file in memory with the frame as Arrow. Raises InputRefused for more than `DECODED`."""
    if not frame.width:
        return None
    size = frame.estimated_size()
    if size > DECODED:
        raise too_large(path, f"its columns take {int(size) >> 20} MB, at most {DECODED >> 20} are taken")
    if hasattr(os, "memfd_create"):
        handle = os.memfd_create("fpm")
    else:
        with tempfile.TemporaryFile() as scratch:
            handle = os.dup(scratch.fileno())
    with os.fdopen(os.dup(handle), "wb") as sink:
        frame.write_ipc(sink, compression="uncompressed")
    return handle


def _refuse(parent: socket.socket, error: FpmError) -> None:
    words = {"code": error.code, "wrong": error.wrong, "effect": error.effect, "todo": error.todo}
    _send(parent, {"refusal": words}, None)


def _send(parent: socket.socket, message: dict[str, Any], handle: int | None) -> None:
    line = json.dumps(message, default=str).encode() + b"\n"
    if handle is None:
        parent.sendall(line)
        return
    sent = socket.send_fds(parent, [line], [handle])
    os.close(handle)
    parent.sendall(line[sent:])


if __name__ == "__main__":
    main(int(sys.argv[1]))
