"""Signed deliveries: a folder with `SHA256SUMS`, as sha256sum writes it, and minisign's signature of that list.

Where a home has a key, everything that is delivered is in such a list, and everything in the list is there: a file that
was altered, left out or slipped in refuses the whole delivery before anything of it is read.
"""

from __future__ import annotations

import os
import re
from hashlib import file_digest
from typing import TYPE_CHECKING

from fpm import minisign
from fpm.errors import InputRefused

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from fpm.minisign import PublicKey

LIST, SIGNATURE, MARK = "SHA256SUMS", "SHA256SUMS.minisig", ".done"
LONGEST_LIST = 64 << 20  # bytes
_LINE = re.compile(r"([0-9a-f]{64}) [ *](?:\./)?(.+)")


def require_signed(paths: Sequence[Path], key: PublicKey | None) -> dict[str, str]:
    """Who signed each of the paths, in words, by its name; nothing without a key.

    A folder is judged whole, a file by the list beside it. Raises InputRefused for the first that is not as signed.
    """
    if key is None:
        return {}
    return {str(path): _signer(path, key) for path in paths}


def _signer(path: Path, key: PublicKey) -> str:
    folder = path if path.is_dir() else path.parent
    content = _read(folder / LIST, LONGEST_LIST)
    own = _signature(folder / SIGNATURE)
    if own.number != key.number:
        raise _refused(
            code="FPM-SIG-002",
            wrong=f"{folder / LIST} is signed by key {minisign.PublicKey(own.number, b'').name}, expected {key.name}",
            todo="find out whose key that is; FPM_DELIVERY_KEY is the one of the sender",
        )
    if not minisign.is_valid(content, own, key):
        raise _refused(
            code="FPM-SIG-003",
            wrong=f"{folder / LIST} is not what key {key.name} signed: it was altered",
            todo="fetch the delivery again, or ask its sender",
        )
    sums = _sums(content, folder / LIST)
    names = _names(folder) if path.is_dir() else [path.name]
    if missing := sorted(sums.keys() - set(names)) if path.is_dir() else []:
        raise _refused(
            code="FPM-SIG-005",
            wrong=f"{folder} lacks {_some(missing)} of its signed list",
            todo="fetch the whole delivery again",
        )
    if extra := [name for name in names if name not in sums]:
        raise _refused(
            code="FPM-SIG-006",
            wrong=f"{folder} holds {_some(extra)}, which its signed list does not name",
            todo="take it out, or let the sender sign it, too",
        )
    for name in names:
        _compare(folder / name, sums[name])
    return f"key {key.name}: {own.comment}"


def _read(file: Path, longest: int) -> bytes:
    try:
        if file.is_symlink() or not file.is_file():
            raise FileNotFoundError
        with file.open("rb") as stream:
            content = stream.read(longest + 1)
    except OSError:
        raise _refused(
            code="FPM-SIG-001",
            wrong=f"there is no {file}, and this home takes signed deliveries",
            todo="let its sender add SHA256SUMS and SHA256SUMS.minisig (docs/night.md)",
        ) from None
    if len(content) > longest:
        raise _refused(
            code="FPM-SIG-007", wrong=f"{file} is longer than {longest} bytes", todo="let its sender sign it again"
        )
    return content


def _signature(file: Path) -> minisign.Signature:
    content = _read(file, minisign.LONGEST)
    try:
        return minisign.signature(content)
    except ValueError as wrong:
        raise _refused(
            code="FPM-SIG-007", wrong=f"{file} cannot be read: {wrong}", todo="let its sender sign it again"
        ) from None


def _sums(content: bytes, file: Path) -> Mapping[str, str]:
    """The sha256 of every file by its name below the folder."""
    sums: dict[str, str] = {}
    try:
        lines = [line for line in content.decode("utf-8").split("\n") if line]
    except UnicodeDecodeError:
        lines = [""]
    for number, line in enumerate(lines, 1):
        match = _LINE.fullmatch(line)
        name = match[2] if match else ""
        if match is None or name in sums or name.startswith("/") or {"", ".", ".."} & set(name.split("/")):
            raise _refused(
                code="FPM-SIG-007",
                wrong=f"line {number} of {file} is no sha256 with the name of one file below the folder",
                todo="let its sender make the list with sha256sum, each file once",
            )
        sums[name] = match[1]
    return sums


def _names(folder: Path) -> list[str]:
    """Everything in the folder but its folders, the list, its signature and the mark of a complete delivery."""
    names = []
    for where, folders, files in os.walk(folder):
        links = [name for name in folders if os.path.islink(os.path.join(where, name))]  # noqa: PTH114, PTH118
        below = os.path.relpath(where, folder)
        names += [os.path.normpath(os.path.join(below, name)) for name in (*files, *links)]  # noqa: PTH118
    return sorted(set(names) - {LIST, SIGNATURE, MARK})


def _compare(file: Path, stated: str) -> None:
    if file.is_symlink() or not file.is_file():
        raise _refused(code="FPM-SIG-006", wrong=f"{file} is no plain file", todo="deliver the file itself")
    try:
        with file.open("rb") as stream:
            own = file_digest(stream, "sha256").hexdigest()
    except OSError as wrong:
        raise _refused(
            code="FPM-SIG-004", wrong=f"{file} cannot be read: {wrong.strerror}", todo="give fpm the right to read it"
        ) from None
    if own != stated:
        raise _refused(
            code="FPM-SIG-004",
            wrong=f"{file} was altered: sha256 {own[:16]}…, signed {stated[:16]}…",
            todo="fetch the file again, or ask its sender",
        )


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(ascii(name)[1:-1] for name in names[:3]) + more


def _refused(*, code: str, wrong: str, todo: str) -> InputRefused:
    return InputRefused(code=code, wrong=wrong, effect="nothing of the delivery was read", todo=todo)
