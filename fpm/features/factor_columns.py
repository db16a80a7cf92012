"""The traditional factors that the second stream reads, in one line: sets, columns, or both."""

from __future__ import annotations

from difflib import get_close_matches

from fpm.schema import ALPHA158, CLASSIC, DAILY_FACTORS

SETS = {"classic": CLASSIC, "alpha158": ALPHA158, "all": DAILY_FACTORS}


def factor_columns(line: str | None) -> tuple[str, ...]:
    """Return the columns of daily_factors that a line names, without repetitions; none for None.

    Raises ValueError if a name is neither a set nor a column, or if the line has no name.

    >>> factor_columns("roc5, log_size, ROC5")
    ('roc5', 'log_size')
    """
    if line is None:
        return ()
    names = [name.strip().lower() for name in line.split(",") if name.strip()]
    unknown = [name for name in names if name not in SETS and name not in DAILY_FACTORS]
    if unknown or not names:
        near = get_close_matches(unknown[0], [*SETS, *DAILY_FACTORS], n=1) if unknown else []
        meant = f"; did you mean {near[0]}?" if near else f"; use {', '.join(SETS)} or columns of daily_factors"
        raise ValueError(f"no factor {', '.join(unknown) or line!r}{meant}")
    return tuple(dict.fromkeys(column for name in names for column in SETS.get(name, (name,))))
