"""The account of an ingest, in numbers that balance: rows in = rows out + quarantined + deduplicated."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date
    from pathlib import Path

    import polars as pl

    from fpm.ingest.deliveries import Refused
    from fpm.ingest.vendor_bars import Combined, FileReport, Parsed


@dataclass
class IngestReport:
    """Counts of one ingest, filled while it runs.

    Rows count minute bars of accepted files. `missing_minutes`: absent minutes, where vendors deliver every minute.
    Of the `touched` sessions `changed` got new or revised rows, `unchanged` had these values before. `skipped` files
    were ingested before; `sessions` counts theirs too. `reference` counts the rows of daily and index-member files.
    `unavailable`: flows of the profile that no file has. `ticks`: the account of Level-2 records (`fpm.ticks.report`).
    """

    profile: str = ""
    sessions: set[date] = field(default_factory=set)
    touched: set[date] = field(default_factory=set)
    changed: int = 0
    unchanged: int = 0
    skipped: list[str] = field(default_factory=list)
    symbols: set[str] = field(default_factory=set)
    rows_in: int = 0
    rows_out: int = 0
    deduplicated: int = 0
    missing_minutes: int = 0
    nans: int = 0
    quarantined: Counter[str] = field(default_factory=Counter)
    refused: list[dict[str, str]] = field(default_factory=list)
    conventions: dict[str, list[str]] = field(default_factory=dict)
    synonyms: dict[str, str] = field(default_factory=dict)
    ignored: set[str] = field(default_factory=set)
    derived: set[str] = field(default_factory=set)
    unavailable: set[str] = field(default_factory=set)
    reference: dict[str, dict[str, int]] = field(default_factory=dict)
    ticks: dict[str, Any] = field(default_factory=dict)

    def add_skipped(self, path: Path, sessions: Sequence[date] | None) -> None:
        """Count a file that was ingested before, with its sessions; do nothing where `sessions` is None."""
        if sessions is not None:
            self.skipped.append(path.name)
            self.sessions.update(sessions)

    def add_outcome(self, session: date, status: str) -> None:
        """Count one session by the outcome of its publication."""
        self.sessions.add(session)
        self.touched.add(session)
        self.changed += status == "published"
        self.unchanged += status == "unchanged"

    def add_batch(self, files: Sequence[Parsed], combined: Combined, missing: int) -> None:
        """Count one batch of accepted files."""
        for parsed in files:
            self._add_file(parsed.report)
            self.quarantined.update(parsed.quarantined["reason_code"].to_list())
        self.quarantined.update(combined.quarantined["reason_code"].to_list())
        self.rows_out += combined.frame.height
        self.deduplicated += combined.deduplicated
        self.missing_minutes += missing
        self.symbols.update(combined.frame["symbol"].unique().to_list())

    def _add_file(self, report: FileReport) -> None:
        self.rows_in += report.rows
        self.nans += report.nans
        self.synonyms.update(report.synonyms)
        self.ignored.update(report.ignored)
        self.derived.update(report.derived)
        conventions = asdict(report.conventions)
        del conventions["seen"]
        text = ", ".join(f"{name} {value}" for name, value in conventions.items())
        self.conventions.setdefault(text, []).append(report.name)

    def add_refused(self, refused: Sequence[Refused]) -> None:
        """List files refused whole."""
        self.refused += [
            {"file": file.path.name, "code": file.refusal.code, "wrong": file.refusal.wrong, "todo": file.refusal.todo}
            for file in refused
        ]

    def add_reference(self, table: str, rows_in: int, faults: pl.DataFrame) -> None:
        """Count a daily or index-member file."""
        counts = self.reference.setdefault(table, {"rows_in": 0, "rows_out": 0, "quarantined": 0})
        counts["rows_in"] += rows_in
        counts["quarantined"] += faults.height
        counts["rows_out"] += rows_in - faults.height

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON: sets sorted and counted, sessions as first, last and number."""
        sessions = sorted(self.sessions)
        return {
            "profile": self.profile,
            "sessions": len(sessions),
            "first": str(sessions[0]) if sessions else None,
            "last": str(sessions[-1]) if sessions else None,
            "changed": self.changed,
            "unchanged": self.unchanged,
            "taken_before": len(self.skipped),
            "symbols": len(self.symbols),
            "rows_in": self.rows_in,
            "rows_out": self.rows_out,
            "quarantined": dict(sorted(self.quarantined.items())),
            "deduplicated": self.deduplicated,
            "missing_minutes": self.missing_minutes,
            "nans": self.nans,
            "refused": self.refused,
            "conventions": {text: f"{len(files)} files, first {files[0]}" for text, files in self.conventions.items()},
            "synonyms": self.synonyms,
            "ignored": sorted(self.ignored),
            "derived": sorted(self.derived),
            "unavailable": sorted(self.unavailable),
            "reference": self.reference,
            **({"ticks": self.ticks} if self.ticks else {}),
        }
