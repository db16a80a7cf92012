"""Links between the pages of one folder: relative, and only to pages that are there."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    from pathlib import Path

NAMES = {"report.html": "Report", "morning.html": "Portfolios"}
KINDS = {"encoder": "Encoder", "explain": "Explained:"}
MOST = 12  # pages of one kind


def page_links(page: Path) -> list[tuple[str, str]]:
    """Title and relative address of each other page beside `page`, by name; of each kind the last `MOST`."""
    single = [(title, name) for name, title in NAMES.items() if (page.parent / name).is_file()]
    several = [
        (f"{title} {path.stem.removeprefix(f'{kind}-')}", path.name)
        for kind, title in KINDS.items()
        for path in sorted(page.parent.glob(f"{kind}-*.html"))[-MOST:]
    ]
    return [(title, quote(name)) for title, name in (*single, *several) if name != page.name]
