"""Are two homes the same bytes: lake, models, report, online rows. The proof that a change moved or renamed code only.

    python benchmarks/compare_homes.py BEFORE AFTER

A scorer's name holds the digest of the code that trained it, so another code digest names the same weights otherwise:
names are paired by vintage and last session, and read as one. Everything else must be equal. Manifests may differ in
`MAY_DIFFER`: digests of code and of the environment. Exit code 1 where anything differs.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import polars as pl

from fpm.store.postgres.server import connect
from fpm.store.settings import Settings

MAY_DIFFER = ("inputs", "environment", ("versions", "code"))


def partitions(home: Path) -> dict[str, Path]:
    """Every file of the lake by its path below it."""
    return {str(path.relative_to(home / "lake")): path for path in sorted((home / "lake").rglob("*.parquet"))}


def scorers(home: Path) -> dict[str, str]:
    """Vintage and last session of every scorer -> its name."""
    names = sorted(path.name for path in (home / "models" / "scorer").iterdir())
    return {name.rpartition("-")[0]: name for name in names}


def same_rows(before: Path, after: Path, names: dict[str, str]) -> bool:
    """Whether two partitions hold the same rows once scorers go by one name."""
    first, second = pl.read_parquet(before), pl.read_parquet(after)
    text = [column for column, kind in first.schema.items() if kind == pl.String]
    return first.with_columns(pl.col(text).replace(names)).equals(second, null_equal=True)


def compare_lake(before: Path, after: Path, names: dict[str, str]) -> Counter[str]:
    """How many partitions are equal bytes, equal rows, different, or in one home only; what differs is printed."""
    left, right = partitions(before), partitions(after)
    counts: Counter[str] = Counter()
    for path in sorted({*left, *right}):
        if path not in left or path not in right:
            verdict = "in one home only"
        elif left[path].read_bytes() == right[path].read_bytes():
            verdict = "equal bytes"
        else:
            verdict = "equal but for a scorer's name" if same_rows(left[path], right[path], names) else "different"
        counts[verdict] += 1
        if verdict in ("different", "in one home only"):
            print(f"lake/{path}: {verdict}")
    return counts


def without(manifest: dict[str, Any]) -> dict[str, Any]:
    """A manifest less what may differ."""
    rest = {name: value for name, value in manifest.items() if name not in MAY_DIFFER}
    for outer, inner in (key for key in MAY_DIFFER if isinstance(key, tuple)):
        if outer in rest:
            rest[outer] = {name: value for name, value in rest[outer].items() if name != inner}
    return rest


def compare_models(before: Path, after: Path, names: dict[str, str]) -> Counter[str]:
    """How many files of models are equal bytes, equal but for digests of code, or different."""
    counts: Counter[str] = Counter()
    for path in sorted((before / "models").rglob("*")):
        if not path.is_file() or ".training" in path.parts:
            continue
        kind, name, file = path.relative_to(before / "models").parts
        other = after / "models" / kind / names.get(name, name) / file
        if not other.is_file():
            verdict = "in one home only"
        elif path.read_bytes() == other.read_bytes():
            verdict = "equal bytes"
        elif file == "manifest.json" and without(json.loads(path.read_bytes())) == without(
            json.loads(other.read_bytes())
        ):
            verdict = "equal but for digests of code"
        else:
            verdict = "different"
        counts[verdict] += 1
        if verdict in ("different", "in one home only"):
            print(f"models/{kind}/{name}/{file}: {verdict}")
    return counts


def compare_reports(before: Path, after: Path, names: dict[str, str]) -> Counter[str]:
    """Report, JSON and Markdown, with scorers by one name."""
    counts: Counter[str] = Counter()
    for file in ("report.json", "report.md", "report.html"):
        first, second = ((home / "reports" / file).read_text() for home in (before, after))
        for old, new in names.items():
            first = first.replace(old, new)
        verdict = "equal" if first == second else "different"
        counts[verdict] += 1
        if verdict == "different":
            print(f"reports/{file}: different")
    return counts


def online_tables(home: Path) -> dict[str, list[str]]:
    """Every row of schema `online`, as text, in order."""
    with connect(Settings(home=home)) as connection:
        tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'online' ORDER BY 1").fetchall()
        return {
            str(name): sorted(
                str(row) for (row,) in connection.execute(f'SELECT to_jsonb(t)::text FROM online."{name}" t').fetchall()
            )
            for (name,) in tables
        }


def compare_online(before: Path, after: Path, names: dict[str, str]) -> Counter[str]:
    """How many online tables hold the same rows."""
    left, right = online_tables(before), online_tables(after)
    counts: Counter[str] = Counter()
    for table in sorted({*left, *right}):
        rows = sorted(_renamed(row, names) for row in left.get(table, []))
        verdict = "equal" if rows == right.get(table) else "different"
        counts[verdict] += 1
        if verdict == "different":
            print(f"online.{table}: different")
    return counts


def _renamed(text: str, names: dict[str, str]) -> str:
    for old, new in names.items():
        text = text.replace(old, new)
    return text


def main(before: Path, after: Path) -> int:
    """Compare two homes; the exit code."""
    olds, news = scorers(before), scorers(after)
    names = {old: news[key] for key, old in olds.items() if key in news}
    totals = {
        "lake": compare_lake(before, after, names),
        "models": compare_models(before, after, names),
        "reports": compare_reports(before, after, names),
        "online": compare_online(before, after, names),
    }
    for part, counts in totals.items():
        print(f"{part:<8}", ", ".join(f"{count} {verdict}" for verdict, count in sorted(counts.items())))
    return int(any(counts["different"] + counts["in one home only"] for counts in totals.values()))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve()))
