"""The account of an ingest, in numbers that balance: rows in = rows out + quarantined + deduplicated."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import polars as pl

from fpm.errors import InputRefused
from fpm.first_copies import NOTES
from fpm.ingest import balance
from fpm.ingest.vendor_files import name_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date
    from pathlib import Path

    from fpm.first_copies import Rule
    from fpm.ingest.balance import Counts
    from fpm.ingest.deliveries import Refused
    from fpm.ingest.vendor_bars import Combined, FileReport, Parsed
    from fpm.universe import Finding

OTHERS_ARE_IN = "its file was not read in, the other files of the delivery were"
SHRUNKEN = "FPM-IN-184"  # a universe that lost symbols since the last one known
INCOMPLETE = "FPM-NGT-020"  # the code under which the night refuses such a session
SHOWN = 20  # items of a list that the report's JSON shows


@dataclass
class IngestReport:
    """Counts of one ingest, filled while it runs.

    Rows count minute bars of accepted files. `amended`: stored rows of which one cell was wrong, by code; `exceptions`:
    symbol-sessions in other units than their file, and converted daily tables. `disagreements`: symbol-sessions whose
    daily row and minutes differ, in words; `falls`: stored ones below the price limit, seen from the close before, that
    may be ex-dates (`price_jumps`); `universe`: what is said of symbols by session (`fpm.universe`), such as
    who is absent; `accepted`: by session, whose word let a smaller universe in. `missing_minutes`: absent ones, where
    vendors deliver every minute.
    Of the `touched` sessions `changed` got new or revised rows, `unchanged` had these values before. `skipped` files
    were ingested before; `sessions` counts theirs too. `reference` counts the rows of other tables,
    `reference_faults` their bad rows by table and code; `streams`: rows and sessions of the scores from outside.
    `knowledge`: sessions with a first copy, by the rule that says from when it is known (`fpm.first_copies`).
    `passed_over`: names in the delivered folders that nobody looked into. `unavailable`: flows of the profile that no
    file has. `stated`: the caller's words about the files, of this call or
    an earlier one. `ticks`: the account of Level-2 records (`fpm.ticks.report`).
    `files` and `balance` account for every row by file and by session (`fpm.ingest.balance`); `lost` names the sessions
    of which rows came and none was stored, with the reasons; `example` is one bad row of the last batch with any.
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
    amended: Counter[str] = field(default_factory=Counter)
    exceptions: list[str] = field(default_factory=list)
    disagreements: list[str] = field(default_factory=list)
    falls: list[str] = field(default_factory=list)
    universe: list[Finding] = field(default_factory=list)
    accepted: dict[date | None, list[str]] = field(default_factory=dict)
    incomplete_sessions: dict[date, str] = field(default_factory=dict)
    nans: int = 0
    quarantined: Counter[str] = field(default_factory=Counter)
    refused: list[dict[str, str]] = field(default_factory=list)
    conventions: dict[str, list[str]] = field(default_factory=dict)
    synonyms: dict[str, str] = field(default_factory=dict)
    passed_over: tuple[str, ...] = ()
    ignored: set[str] = field(default_factory=set)
    derived: set[str] = field(default_factory=set)
    unavailable: set[str] = field(default_factory=set)
    stated: dict[str, str] = field(default_factory=dict)
    signed: dict[str, str] = field(default_factory=dict)
    reference: dict[str, dict[str, int]] = field(default_factory=dict)
    reference_faults: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    streams: dict[str, dict[str, Any]] = field(default_factory=dict)
    knowledge: Counter[Rule] = field(default_factory=Counter)
    ticks: dict[str, Any] = field(default_factory=dict)
    files: list[dict[str, Any]] = field(default_factory=list)
    balance: dict[date | None, Counts] = field(default_factory=dict)
    lost: dict[str, str] = field(default_factory=dict)
    example: str = ""

    def add_skipped(self, path: Path, sessions: Sequence[date] | None) -> None:
        """Count a file that was ingested before, with its sessions; do nothing where `sessions` is None."""
        if sessions is not None:
            self.skipped.append(path.name)
            self.sessions.update(sessions)

    def add_first_copy(self, rule: Rule) -> None:
        """Count one session with a first copy, by the rule from when it is known."""
        self.knowledge[rule] += 1

    def add_outcome(self, session: date, status: str) -> None:
        """Count one session by the outcome of its publication."""
        self.sessions.add(session)
        self.touched.add(session)
        self.changed += status == "published"
        self.unchanged += status == "unchanged"

    def add_wholeness(self, session: date, fault: str | None) -> None:
        """Note what a session lacks over the market; None: it is whole now."""
        if fault is None:
            self.incomplete_sessions.pop(session, None)
        else:
            self.incomplete_sessions[session] = f"{INCOMPLETE}  {fault}"

    def add_batch(self, files: Sequence[Parsed], combined: Combined, missing: int) -> None:
        """Count one batch of accepted files. Raises FpmError where a row is lost, or counted twice."""
        self._add_balance(files, combined)
        for parsed in files:
            self._add_file(parsed.report)
            self.quarantined.update(parsed.quarantined["reason_code"].to_list())
        self.quarantined.update(combined.quarantined["reason_code"].to_list())
        self.amended.update(combined.amended["reason_code"].to_list())
        self.rows_out += combined.frame.height
        self.deduplicated += combined.deduplicated
        self.missing_minutes += missing
        self.symbols.update(combined.frame["symbol"].unique().to_list())

    def _add_balance(self, files: Sequence[Parsed], combined: Combined) -> None:
        sessions = balance.by_session(files, combined)
        faults = pl.concat(
            [
                frame.select("session", "row", "reason_code", "reason")
                for frame in (*(file.quarantined for file in files), combined.quarantined)
            ]
        )
        for file, counts in zip(files, balance.by_file(files, combined), strict=True):
            balance.check(counts, file.report.name)
            self.files.append({"file": file.report.name, **counts})
        for session, counts in sessions.items():
            balance.check(counts, f"session {session}")
            self.balance[session] = dict(Counter(self.balance.get(session, {})) + Counter(counts))
        self.lost.update(balance.lost(sessions, faults))
        if faults.height:
            row, code, reason = faults.select("row", "reason_code", "reason").row(0)
            self.example = f"row {row}: {code} {reason}"

    def require_content(self) -> None:
        """Raises InputRefused where nothing was stored and nothing had been before, or where a universe shrank.

        The exit code is not 0 then, though other files of the delivery may be in.
        """
        shrunken = next((file for file in self.refused if file["code"] == SHRUNKEN), None)
        if shrunken is not None:
            raise InputRefused(code=SHRUNKEN, wrong=shrunken["wrong"], effect=OTHERS_ARE_IN, todo=shrunken["todo"])
        if self.sessions or any(counts["rows_out"] for counts in self.reference.values()):
            return
        if self.refused:
            raise self._first_refusal("nothing was stored")
        faults = [(code, own) for by_code in self.reference_faults.values() for code, own in by_code.items()]
        counts = Counter({code: own["rows"] for code, own in faults}) + self.quarantined
        codes = ", ".join(f"{code} x {count}" for code, count in balance.most_first(counts))
        example = self.example or next((own["example"] for _, own in faults), "")
        rows = self.rows_in + sum(own["rows_in"] for own in self.reference.values())
        raise InputRefused(
            code="FPM-IN-151",
            wrong=f"no row of {rows} could be stored: {codes or 'nothing came'}"
            + (f"; e.g. {example}" if example else ""),
            effect="nothing was stored, the rows are in quarantine",
            todo="correct the source, or leave these files out",
        )

    def require_whole(self) -> None:
        """Raises InputRefused where a file was refused: the exit code is not 0 then, though all others are in."""
        if self.refused:
            raise self._first_refusal(OTHERS_ARE_IN)

    def _first_refusal(self, effect: str) -> InputRefused:
        first = self.refused[0]
        more = f" (and {len(self.refused) - 1} more files)" if len(self.refused) > 1 else ""
        return InputRefused(code=first["code"], wrong=first["wrong"] + more, effect=effect, todo=first["todo"])

    def _add_file(self, report: FileReport) -> None:
        self.rows_in += report.rows
        self.nans += report.nans
        self.exceptions += [f"{report.name}: {text}" for text in report.exceptions]
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
            {
                "file": name_of(file.path),
                "code": file.refusal.code,
                "wrong": file.refusal.wrong,
                "todo": file.refusal.todo,
            }
            for file in refused
        ]

    def add_reference(self, table: str, rows_in: int, faults: pl.DataFrame, deduplicated: int = 0) -> None:
        """Count a file of another table than minute bars."""
        counts = self.reference.setdefault(table, {"rows_in": 0, "rows_out": 0, "quarantined": 0})
        counts["rows_in"] += rows_in
        counts["quarantined"] += faults.height
        counts["rows_out"] += rows_in - faults.height - deduplicated
        if deduplicated:
            counts["deduplicated"] = counts.get("deduplicated", 0) + deduplicated

    def add_faults(self, table: str, faults: pl.DataFrame) -> None:
        """Count the quarantined rows of a file by code; `faults` has reason_code and reason."""
        if faults.is_empty():
            return
        by_code = self.reference_faults.setdefault(table, {})
        for code, number, reason in (
            faults.group_by("reason_code").agg(pl.len(), pl.col("reason").first()).sort("reason_code").iter_rows()
        ):
            before = by_code.get(code, {"rows": 0, "example": reason})
            by_code[code] = {"rows": before["rows"] + number, "example": before["example"]}

    def add_stream(self, stream: str, sessions: Sequence[date], rows: int) -> None:
        """Count the rows of one stream of scores from outside."""
        before = self.streams.get(stream, {"rows": 0, "first": str(sessions[0]), "last": str(sessions[-1])})
        self.streams[stream] = {
            "rows": before["rows"] + rows,
            "first": min(before["first"], str(sessions[0])),
            "last": max(before["last"], str(sessions[-1])),
        }

    def add_refused_rows(self, table: str, rows: int) -> None:
        """Count rows of reference files that the home refuses after they were read as good."""
        self.reference[table]["quarantined"] += rows
        self.reference[table]["rows_out"] -= rows

    def add_conversions(self, file: str, texts: Sequence[str]) -> None:
        """List what was converted in a daily table, each text once."""
        self.exceptions += [
            text for text in dict.fromkeys(f"{file}: {text}" for text in texts) if text not in self.exceptions
        ]

    def add_disagreements(self, differing: pl.DataFrame, daily_rows: int) -> None:
        """List symbol-sessions (session, symbol, reason) of which daily rows and minutes went to quarantine.

        `daily_rows`: how many of them have their daily row in this delivery.
        """
        self.disagreements += [f"{session} {symbol}: {reason}" for session, symbol, reason in differing.iter_rows()]
        if daily_rows:
            self.add_refused_rows("daily_bars", daily_rows)

    def add_falls(self, falls: pl.DataFrame) -> None:
        """List symbol-sessions (session, symbol, reason) that are stored and may be an ex-date or wrong."""
        self.falls += falls_in_words(falls)

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
            "amended": dict(sorted(self.amended.items())),
            "exceptions": self.exceptions,
            "disagreements": capped(self.disagreements),
            **({"falls_beyond_limit": capped(self.falls)} if self.falls else {}),
            "universe": [
                {
                    "session": str(finding.session),
                    "code": finding.code,
                    "wrong": finding.wrong,
                    "count": len(finding.symbols),
                    "symbols": capped(finding.symbols),
                }
                for finding in sorted(self.universe, key=lambda finding: (finding.session, finding.code))
            ],
            **({"accepted": [words for own in self.accepted.values() for words in own]} if self.accepted else {}),
            **(
                {"incomplete_sessions": {str(day): text for day, text in sorted(self.incomplete_sessions.items())}}
                if self.incomplete_sessions
                else {}
            ),
            "nans": self.nans,
            "refused": self.refused,
            **({"passed_over": capped(self.passed_over)} if self.passed_over else {}),
            "files": self.files,
            "lost": self.lost,
            "conventions": {text: f"{len(files)} files, first {files[0]}" for text, files in self.conventions.items()},
            "synonyms": self.synonyms,
            "ignored": sorted(self.ignored),
            "derived": sorted(self.derived),
            "unavailable": sorted(self.unavailable),
            "reference": self.reference,
            **({"reference_faults": self.reference_faults} if self.reference_faults else {}),
            **({"streams": self.streams} if self.streams else {}),
            **({"stated": self.stated} if self.stated else {}),
            **({"signed": self.signed} if self.signed else {}),
            "knowledge": {rule: self.knowledge[rule] for rule in NOTES},
            **({"ticks": self.ticks} if self.ticks else {}),
        }


def capped(texts: Sequence[str]) -> list[str]:
    """The first `SHOWN` texts, and how many more there are."""
    return [*texts[:SHOWN], *([f"and {len(texts) - SHOWN} more"] if len(texts) > SHOWN else [])]


def falls_in_words(falls: pl.DataFrame) -> list[str]:
    """Symbol-sessions (session, symbol, reason) as text."""
    return [f"{session} {symbol}: {reason}" for session, symbol, reason in falls.iter_rows()]
