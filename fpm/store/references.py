"""Values of settings that name a file: `file:PATH` stands for its text, `~` for a user's folder."""

from __future__ import annotations

from pathlib import Path

from fpm import calendar_overrides

REFERENCE = "file:"  # a secret that a file holds


def referenced(text: str) -> str:
    """The text, or that of the file it names. Raises ValueError where there is none; what may be secret is not said."""
    if not text.startswith(REFERENCE):
        return text
    path = Path(text.removeprefix(REFERENCE))
    try:
        return calendar_overrides.small_text(user_path(path)).strip()
    except (OSError, ValueError) as wrong:
        shown = "after file:" if "@" in text or "://" in text else str(path)
        raise ValueError(f"there is no readable file {shown} ({type(wrong).__name__})") from None


def user_path(path: Path) -> Path:
    """`~` and `~name` as their folders. Raises ValueError for a name that nobody has, or a path with a NUL."""
    if "\0" in str(path):
        raise ValueError("a path holds no NUL")
    try:
        return path.expanduser()
    except RuntimeError as wrong:
        raise ValueError(f"{path.parts[0]}: {wrong}") from None
