"""The first share of a panel's days, as one delivery: what is left stays unlooked at.

Usage: python benchmarks/first_sessions.py FILES... OUT [--share 0.8]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import polars as pl


def main() -> None:
    """Write one Parquet file and print its first and last day."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--share", type=float, default=0.8)
    arguments = parser.parse_args()
    rows = pl.concat([pl.read_parquet(path) for path in arguments.files])
    days = rows["datetime"].dt.date().unique().sort()
    kept = days.head(int(len(days) * arguments.share))
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    rows.filter(pl.col("datetime").dt.date() <= kept[-1]).write_parquet(arguments.out)
    print(kept[0], kept[-1])


if __name__ == "__main__":
    main()
