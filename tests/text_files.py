"""Where the product reads or writes text in whatever encoding the user's locale names."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

TEXT = ("read_text", "write_text")


def unnamed_encodings(source: str) -> Iterator[int]:
    """Lines of calls that open text and name no encoding."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and _is_text(node) and "encoding" not in {each.arg for each in node.keywords}:
            yield node.lineno


def _is_text(call: ast.Call) -> bool:
    if not isinstance(call.func, ast.Attribute):
        return isinstance(call.func, ast.Name) and call.func.id == "open"
    modes = [each.value for each in call.args if isinstance(each, ast.Constant) and isinstance(each.value, str)]
    is_text = call.func.attr == "open" and bool(modes) and "b" not in modes[0] and set(modes[0]) <= set("rwax+t")
    return call.func.attr in TEXT or is_text


def sources(root: Path) -> Iterator[Path]:
    """The product's modules."""
    for folder in ("fpm", "producers", "consumers", "feature_repo", "migrations"):
        yield from sorted((root / folder).rglob("*.py"))
