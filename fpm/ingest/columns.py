"""Columns of a vendor's file under our names: our own spelling, or one synonym; a near miss is never guessed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fpm.ingest.vendor_files import refusal

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

MOST_NAMES = 40  # of the file's columns in a message
TABLES = "daily_bars, index_members, scores, holdings, restrictions or symbols"  # names of files that are no bars

Synonyms = dict[str, tuple[str, ...]]  # our name -> other names of it, the preferred one first


def resolve(
    path: Path,
    header: Sequence[str],
    required: Sequence[str],
    optional: Sequence[str],
    synonyms: Mapping[str, Sequence[str]],
    ranked: Collection[str] = (),
) -> dict[str, str]:
    """Our name -> the file's name, for every required or optional column in the file's `header`.

    Two synonyms of one name are refused, except for names in `ranked`: these take the first synonym of the list.
    Raises InputRefused: 006 missing required column, 007 near miss or two synonyms.
    """
    ours = (*required, *optional)
    names: dict[str, str] = {}
    for name in ours:
        matches = [name] if name in header else [word for word in synonyms.get(name, ()) if word in header]
        if len(matches) > 1 and name not in ranked:
            raise refusal(
                path,
                code="FPM-IN-007",
                wrong=f"columns {' and '.join(matches)} both mean {name}",
                todo="keep one of them",
            )
        if matches:
            names[name] = matches[0]
    in_small = {word.lower(): name for name in ours for word in (name, *synonyms.get(name, ()))}
    for column in header:
        near = in_small.get(column.strip().lower())
        if near and near not in names:
            raise refusal(
                path,
                code="FPM-IN-007",
                wrong=f"column {column!r} is not known, {near!r} is near",
                todo=f"rename it to {near!r}",
            )
    if missing := [name for name in required if name not in names]:
        other = f"; a file without minute bars is named {TABLES}" if "minute" in missing else ""
        raise refusal(
            path,
            code="FPM-IN-006",
            wrong=f"missing column(s): {', '.join(missing)}; found: {', '.join(header[:MOST_NAMES])}",
            todo=f"add the column(s) under these names{other}",
        )
    return names
