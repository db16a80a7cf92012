"""Keys and signatures that minisign 0.11 itself made, and ours checked by it where it is installed."""

from __future__ import annotations

import shutil
import subprocess
from base64 import b64decode, b64encode
from dataclasses import replace
from pathlib import Path

import pytest

from fpm.minisign import is_valid, public_key, signature
from tests.signing import KEY, KEYS, OTHER_KEY, sign

MESSAGE = (KEYS / "SHA256SUMS").read_bytes()
OWN = public_key(KEY.read_text(encoding="utf-8"))


def test_a_key_is_read_from_its_line_and_from_its_file() -> None:
    line = KEY.read_text(encoding="utf-8").splitlines()[1]
    assert public_key(line) == public_key(f"  {line}\n") == OWN
    assert OWN.name == "FBD5F427197A629F"  # as its file names it


@pytest.mark.parametrize(
    "text", ["", "RW", "RWS=", "x\ny", b64encode(b"XX" + bytes(40)).decode(), "untrusted comment: x"]
)
def test_what_is_no_key_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no public key of minisign"):
        public_key(text)


@pytest.mark.parametrize("name", ["digest", "file"])
def test_a_signature_of_minisign_holds(name: str) -> None:
    """Over the digest, as it signs today, and over the file itself, as it did before."""
    own = signature((KEYS / f"{name}.minisig").read_bytes())
    assert own.comment == "delivery 7" and own.number == OWN.number
    assert is_valid(MESSAGE, own, OWN)
    assert not is_valid(MESSAGE + b" ", own, OWN)
    assert not is_valid(MESSAGE, replace(own, comment="delivery 8"), OWN)
    assert not is_valid(MESSAGE, own, public_key(OTHER_KEY.read_text(encoding="utf-8")))


@pytest.mark.parametrize("name", ["digest", "file"])
def test_no_bit_of_a_signature_can_change(name: str) -> None:
    own = signature((KEYS / f"{name}.minisig").read_bytes())
    for field in ("signature", "second"):
        content = getattr(own, field)
        for place in range(0, 8 * len(content), 7):
            other = bytearray(content)
            other[place // 8] ^= 1 << place % 8
            assert not is_valid(MESSAGE, replace(own, **{field: bytes(other)}), OWN)


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff", b"one\ntwo", sign(b"") + b"more\n", sign(b"").replace(b"untrusted", b"trusted"), b"x" * 20_000],
)
def test_what_is_no_signature_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  bytes that are no text, too
        signature(content)


@pytest.mark.parametrize("line", [1, 3])
def test_a_signature_of_another_length_is_refused(line: int) -> None:
    lines = sign(b"").decode().splitlines()
    lines[line] = b64encode(b64decode(lines[line])[:-1]).decode()
    with pytest.raises(ValueError, match="no signature of minisign"):
        signature("\n".join(lines).encode())


@pytest.mark.skipif(shutil.which("minisign") is None, reason="minisign is not installed")
@pytest.mark.parametrize("option", ["-H", "-l"])
def test_minisign_and_we_agree(option: str, tmp_path: Path) -> None:
    (tmp_path / "list").write_bytes(MESSAGE * 3)
    command = ["minisign", "-S", option, "-s", str(KEYS / "test.key"), "-m", "list", "-t", "now", "-x", "signature"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, input=b"")
    assert is_valid(MESSAGE * 3, signature((tmp_path / "signature").read_bytes()), OWN)
    (tmp_path / "ours").write_bytes(sign(MESSAGE * 3, "ours"))
    check = ["minisign", "-V", "-p", str(KEY), "-m", "list", "-x", "ours"]
    assert b"Trusted comment: ours" in subprocess.run(check, cwd=tmp_path, check=True, capture_output=True).stdout
