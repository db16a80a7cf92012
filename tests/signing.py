"""Deliveries signed with the key of the tests, as their sender would sign them by sha256sum and minisign.

The layout of a secret key is that of minisign 0.11 without a password: 54 bytes before the key's number and its seed.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from hashlib import blake2b, sha256
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

KEYS = Path(__file__).parent / "data" / "minisign"
KEY, OTHER_KEY = (KEYS / name for name in ("test.pub", "other.pub"))
NUMBER, SEED = slice(54, 62), slice(62, 94)


def sign(content: bytes, comment: str = "delivery 7") -> bytes:
    """The signature file of the tests' key over some bytes."""
    secret = b64decode((KEYS / "test.key").read_text(encoding="utf-8").splitlines()[1])
    key = Ed25519PrivateKey.from_private_bytes(secret[SEED])
    own = key.sign(blake2b(content).digest())
    second = key.sign(own + comment.encode())
    first = b64encode(b"ED" + secret[NUMBER] + own).decode()
    return f"untrusted comment: x\n{first}\ntrusted comment: {comment}\n{b64encode(second).decode()}\n".encode()


def sums(folder: Path) -> bytes:
    """The list of a folder's files, as `sha256sum` writes it."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("SHA256SUMS"))
    lines = [f"{sha256(path.read_bytes()).hexdigest()}  {path.relative_to(folder).as_posix()}\n" for path in files]
    return "".join(lines).encode()


def sign_folder(folder: Path) -> Path:
    """The folder with its signed list."""
    content = sums(folder)
    (folder / "SHA256SUMS").write_bytes(content)
    (folder / "SHA256SUMS.minisig").write_bytes(sign(content))
    return folder
