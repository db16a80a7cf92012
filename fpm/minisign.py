"""Signatures as minisign and OpenBSD's signify make them: Ed25519 over a file, or over its BLAKE2b digest.

A public key is 2 bytes of algorithm, 8 of the key's number, 32 of the key; a signature has 64 bytes in place of the
key, and a second one over the first and the trusted comment: https://jedisct1.github.io/minisign/#signature-format
"""

from __future__ import annotations

import binascii
from base64 import b64decode
from dataclasses import dataclass
from hashlib import blake2b

OF_FILE, OF_DIGEST = b"Ed", b"ED"
KEY_BYTES, SIGNATURE_BYTES, SECOND_BYTES = 42, 74, 64
COMMENT, TRUSTED = "untrusted comment: ", "trusted comment: "
LONGEST = 1 << 14  # bytes of a signature file


@dataclass(frozen=True)
class PublicKey:
    """A key and its number, as `minisign -G` makes them."""

    number: bytes
    key: bytes

    @property
    def name(self) -> str:
        """The number as minisign prints it."""
        return self.number[::-1].hex().upper()


@dataclass(frozen=True)
class Signature:
    """What a signature file says: who signed (`number`), how, and the comment that is signed, too."""

    algorithm: bytes
    number: bytes
    signature: bytes
    comment: str
    second: bytes


def public_key(text: str) -> PublicKey:
    """A key from its one line, or from a whole `.pub` file. Raises ValueError for anything else."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if len(lines) == 2 and lines[0].startswith(COMMENT):
        lines = lines[1:]
    content = _decoded(lines[0], KEY_BYTES) if len(lines) == 1 else b""
    if content[:2] != OF_FILE:
        raise ValueError("it is no public key of minisign, which begins with RW")
    return PublicKey(content[2:10], content[10:])


def signature(content: bytes) -> Signature:
    """A signature file. Raises ValueError for anything else."""
    lines = content[: LONGEST + 1].decode("utf-8").splitlines()
    if len(content) > LONGEST or len(lines) != 4 or not lines[0].startswith(COMMENT):
        raise ValueError("it has not the four lines of a signature")
    first, second = _decoded(lines[1], SIGNATURE_BYTES), _decoded(lines[3], SECOND_BYTES)
    if first[:2] not in (OF_FILE, OF_DIGEST) or not lines[2].startswith(TRUSTED) or not second:
        raise ValueError("it is no signature of minisign")
    return Signature(first[:2], first[2:10], first[10:], lines[2].removeprefix(TRUSTED), second)


def is_valid(message: bytes, own: Signature, key: PublicKey) -> bool:
    """Whether the key signed the message and the comment."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    verifier = Ed25519PublicKey.from_public_bytes(key.key)
    try:
        verifier.verify(own.signature, blake2b(message).digest() if own.algorithm == OF_DIGEST else message)
        verifier.verify(own.second, own.signature + own.comment.encode())
    except InvalidSignature:
        return False
    return True


def _decoded(line: str, size: int) -> bytes:
    """The bytes of a line of base64; none where there are not so many."""
    try:
        content = b64decode(line, validate=True)
    except (binascii.Error, ValueError):
        return b""
    return content if len(content) == size else b""
