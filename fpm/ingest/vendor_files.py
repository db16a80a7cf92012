"""One file of a vendor, whatever it holds: its digest, a first look at its bytes, and its refusal in words."""

from __future__ import annotations

import os
import stat
from hashlib import file_digest, sha256
from typing import TYPE_CHECKING

from fpm.errors import InputRefused

if TYPE_CHECKING:
    from pathlib import Path

PARQUET, CSV = "parquet", "csv"
KINDS = {".parquet": PARQUET, ".csv": CSV}
PACKED = {
    b"\x1f\x8b": "gzip",
    b"\x28\xb5": "zstd",
    b"\x78\x01": "zlib",
    b"\x78\x9c": "zlib",
    b"\x78\xda": "zlib",
    b"PK": "a zip archive, or an Excel workbook",
    b"\xd0\xcf": "an Excel workbook",
}
SUMS = {".sha256": "sha256", ".CHECKSUM": "sha256", ".sha512": "sha512", ".sha1": "sha1", ".md5": "md5"}
LONGEST_NAME = 255  # bytes of a file's name, on every usual file system
MAGIC = b"PAR1"  # a Parquet file begins and ends with it: https://parquet.apache.org/docs/file-format/


def name_of(path: Path) -> str:
    r"""A file's name as one line of text: control characters, and bytes that are no UTF-8, as escapes.

    >>> from pathlib import Path
    >>> name_of(Path("a\nb.csv"))
    'a\\nb.csv'
    """
    text = os.fsencode(path.name).decode("utf-8", "backslashreplace")
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def refusal(path: Path, *, code: str, wrong: str, todo: str) -> InputRefused:
    """The refusal of one whole file, for the caller to raise."""
    return InputRefused(
        code=code,
        wrong=f"{name_of(path)}: {wrong}",
        effect="the file is refused whole, nothing of it is stored",
        todo=todo,
    )


def kind_of(path: Path) -> str:
    """`PARQUET`, `CSV` or "" by the file's suffix in small letters.

    >>> from pathlib import Path
    >>> kind_of(Path("AAPL.CSV"))
    'csv'
    """
    return KINDS.get(path.suffix.lower(), "")


def check_regular(path: Path, folder: Path | None = None) -> None:
    """Refuse what is no plain file: a folder, a device, a pipe, a link that leads nowhere or out of `folder`.

    Raises InputRefused 005; 195 a name that no report could repeat.
    """
    if name_of(path) != path.name:
        raise refusal(
            path,
            code="FPM-IN-195",
            wrong="its name holds control characters, or bytes that are no UTF-8",
            todo="rename it in plain letters",
        )
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise _not_plain(path, error.strerror or "it cannot be read") from None
    if not stat.S_ISREG(mode):
        raise _not_plain(path, f"it is {_KINDS.get(stat.S_IFMT(mode), 'something else')}, no file")
    if folder is not None and path.is_symlink() and not path.resolve().is_relative_to(folder.resolve()):
        raise _not_plain(path, f"it is a link out of the delivery, to {path.resolve()}")
    if not os.access(path, os.R_OK):
        raise _not_plain(path, "it may not be read")


_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}


def _not_plain(path: Path, wrong: str) -> InputRefused:
    return refusal(path, code="FPM-IN-005", wrong=wrong, todo="deliver plain files")


def digest(path: Path) -> str:
    """The sha256 of the file's bytes, hex."""
    with path.open("rb") as stream:
        total = sha256()
        while block := stream.read(1 << 20):
            total.update(block)
    return total.hexdigest()


def check_content(path: Path) -> None:
    """Refuse a file that is empty, truncated, of another format than its name says, or not what its sum says.

    Raises InputRefused: 001 empty, 002 truncated, 003 another checksum, 004 content and name differ.
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
    if kind_of(path) == CSV and head == MAGIC:
        raise refusal(path, code="FPM-IN-004", wrong="content is Parquet, name says CSV", todo="rename the file")
    if kind_of(path) == CSV and head[:2] in PACKED and (head[:2] != b"PK" or head[2:] == b"\x03\x04"):
        wrong = f"content is {PACKED[head[:2]]}, name says CSV"
        raise refusal(path, code="FPM-IN-004", wrong=wrong, todo="unpack the file, or save it as CSV")
    if kind_of(path) == PARQUET and head != MAGIC:
        raise refusal(
            path,
            code="FPM-IN-004",
            wrong="content is not Parquet (CSV?), name says Parquet",
            todo="rename the file",
        )
    if kind_of(path) == PARQUET and (size < 12 or tail != MAGIC):
        raise refusal(
            path,
            code="FPM-IN-002",
            wrong=f"truncated at byte {size}",
            todo="wait for the upload to finish, ingest again",
        )
    check_sum(path)


def check_sum(path: Path) -> None:
    """Refuse a file whose bytes are not those that a checksum beside it tells of.

    `bars.parquet.sha256`, `.md5`, `.sha1`, `.sha512` or `.CHECKSUM` (Binance's, SHA-256) holds the file's sum first, as
    `sha256sum` writes it. A damaged page that still decodes shows in no other way.
    Raises InputRefused 003.
    """
    for ending, kind in SUMS.items():
        note = path.with_name(path.name + ending)
        if len(os.fsencode(note.name)) > LONGEST_NAME or not note.is_file():
            continue
        with note.open("rb") as stream:
            words = stream.read(1 << 16).decode("utf-8-sig", "replace").split()
        with path.open("rb") as stream:
            own = file_digest(stream, kind).hexdigest()
        if not words or words[0].lower() != own:
            stated = words[0][:16] if words else "nothing"
            raise refusal(
                path,
                code="FPM-IN-003",
                wrong=f"its {kind} is {own[:16]}…, {note.name} says {stated}…",
                todo="fetch the file and its checksum again",
            )
