"""Which traditional factors the second stream reads: a set by name, columns by name, or both, in one line."""

from __future__ import annotations

from difflib import get_close_matches

from fpm.schema import ALPHA158, CLASSIC, DAILY_FACTORS

SETS = {"classic": CLASSIC, "alpha158": ALPHA158, "all": DAILY_FACTORS}


def factor_columns(asked: str | None) -> tuple[str, ...]:
    """Columns of daily_factors, each once: "classic", "alpha158, log_size", "roc5,ma20"; none of None.

    Raises ValueError for a name that is neither a set nor a column, or where nothing is named.
    """
    if asked is None:
        return ()
    names = [name.strip().lower() for name in asked.split(",") if name.strip()]
    unknown = [name for name in names if name not in SETS and name not in DAILY_FACTORS]
    if unknown or not names:
        near = get_close_matches(unknown[0], [*SETS, *DAILY_FACTORS], n=1) if unknown else []
        meant = f"; did you mean {near[0]}?" if near else f"; use {', '.join(SETS)} or columns of daily_factors"
        raise ValueError(f"no factor {', '.join(unknown) or asked!r}{meant}")
    return tuple(dict.fromkeys(column for name in names for column in SETS.get(name, (name,))))
