"""What a table of the lake is: keys, columns, and who may read it how."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Table:
    """One table of the lake: `keys` name what a row describes, `columns` (name -> type) what it says.

    Every stored row also carries `event_timestamp` (the moment it describes) and
    `created_timestamp` (the earliest moment it could have been known), both ``timestamp[us, UTC]``.
    `by_vintage` tables have a `vintage=<id>/` folder above the session; `view`: a Feast view; `online`: published.
    `by_session`: online, only the published session's rows stay. `ttl_days` is how long a value may be served after its
    event. `open_columns`: more columns depend on the profile.
    """

    name: str
    keys: tuple[str, ...]
    columns: dict[str, str]
    by_vintage: bool = False
    view: bool = False
    online: bool = False
    by_session: bool = False
    ttl_days: int = 10
    open_columns: bool = field(default=False)
