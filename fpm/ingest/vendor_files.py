"""One file of a vendor, whatever it holds: its digest, a first look at its bytes, and its refusal in words."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

from fpm.errors import InputRefused

if TYPE_CHECKING:
    from pathlib import Path

MAGIC = b"PAR1"  # a Parquet file begins and ends with it: https://parquet.apache.org/docs/file-format/


def refusal(path: Path, *, code: str, wrong: str, todo: str) -> InputRefused:
    """The refusal of one whole file, for the caller to raise."""
    return InputRefused(
        code=code, wrong=f"{path.name}: {wrong}", effect="the file is refused whole, nothing of it is stored", todo=todo
    )


def digest(path: Path) -> str:
    """The sha256 of the file's bytes, hex."""
    with path.open("rb") as stream:
        total = sha256()
        while block := stream.read(1 << 20):
            total.update(block)
    return total.hexdigest()


def check_content(path: Path) -> None:
    """Refuse a file that is empty, truncated, or of another format than its name says.

    Raises InputRefused: 001 empty, 002 truncated, 004 content and name differ.
    """
    size = path.stat().st_size
    if size == 0:
        raise refusal(
            path, code="FPM-IN-001", wrong="file is empty (0 bytes)", todo="ask the vendor for the file again"
        )
    with path.open("rb") as stream:
        head = stream.read(4)
        stream.seek(max(0, size - 4))
        tail = stream.read(4)
    if path.suffix == ".csv" and head == MAGIC:
        raise refusal(path, code="FPM-IN-004", wrong="content is Parquet, name says CSV", todo="rename the file")
    if path.suffix == ".parquet" and head != MAGIC:
        raise refusal(
            path,
            code="FPM-IN-004",
            wrong="content is not Parquet (CSV?), name says Parquet",
            todo="rename the file",
        )
    if path.suffix == ".parquet" and tail != MAGIC:
        raise refusal(
            path,
            code="FPM-IN-002",
            wrong=f"truncated at byte {size}",
            todo="wait for the upload to finish, ingest again",
        )
