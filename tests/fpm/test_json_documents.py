"""Damaged documents are a ValueError, whatever is wrong with them."""

import pytest

from fpm.json_documents import from_json, sealed, unsealed


@pytest.mark.parametrize(
    "content",
    [
        b"", b"\xff", b"{", b"[" * 100_000, b"NaN", b'{"a": Infinity}', b"1e999", b'"\\ud800"', b"9" * 5000,
    ],
)  # fmt: skip
def test_what_is_no_json(content: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  json's own words differ between Python's versions
        from_json(content)


@pytest.mark.parametrize(
    "change",
    [(b"3", b"4"), (b"rows", b"Rows"), (b'"seal"', b'"Seal"'), (b"{", b"["), (b": 3, ", b': 3, "more": 1, ')],
)
def test_a_change_of_a_sealed_document_shows(change: tuple[bytes, bytes]) -> None:
    document = sealed({"rows": 3})
    assert unsealed(document) == {"rows": 3}
    with pytest.raises(ValueError):  # noqa: PT011  as above
        unsealed(document.replace(*change, 1))


def test_the_order_of_keys_and_the_spaces_are_no_change() -> None:
    assert unsealed(sealed({"b": [1, None], "a": "é"}, indent=1)) == {"a": "é", "b": [1, None]}
