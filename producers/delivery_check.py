"""What an ingest of a delivery would store and refuse, file by file; nothing is stored.

The files take the way that `bars.ingest` takes, up to the moment at which it would write.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import product
from typing import TYPE_CHECKING, Any

import polars as pl

from fpm.errors import FpmError
from fpm.ingest.bar_files import order_in
from fpm.ingest.custody_files import read_custody
from fpm.ingest.daily_files import read_daily, read_members
from fpm.ingest.deliveries import Refused, batches, find, read_all, without_repeated_snapshots
from fpm.ingest.ingest_report import INCOMPLETE, capped, falls_in_words
from fpm.ingest.member_intervals import read_intervals
from fpm.ingest.restriction_files import read_restrictions
from fpm.ingest.score_files import read_scores
from fpm.ingest.signed_deliveries import require_signed
from fpm.ingest.symbol_files import read_symbols
from fpm.ingest.vector_files import length_of, read_vectors
from fpm.ingest.vendor_bars import combine
from fpm.ingest.vendor_files import digest, name_of
from fpm.schema import DAILY_BARS, OPTIONAL_FLOWS, SYMBOLS
from fpm.store.jobs.receipts import sessions_ingested
from producers import custody, stream_scores, vectors, whole_sessions
from producers.capitalisations import weighed
from producers.daily_tables import by_session, stored_minutes, symbols_of
from producers.decisions import (
    FROM_MINUTES,
    FROM_VENDOR,
    daily_policy,
    profile_of,
    remembered,
    stated_words,
    words,
)
from producers.listings import Listings
from producers.previous_closes import beside_closes
from producers.shrinkage import shrinkages, stopped
from producers.snapshots import last_session

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import date
    from pathlib import Path

    from fpm.ingest.conventions import Conventions
    from fpm.ingest.daily_files import ReferenceRows
    from fpm.ingest.session_holes import Presence
    from fpm.ingest.time_spellings import Order
    from fpm.ingest.vendor_bars import Combined, Parsed
    from fpm.markets import Market
    from fpm.minisign import PublicKey
    from fpm.progress import Progress
    from fpm.store.ledger.stores import Stores
    from producers.bars import Arrival, Reader

SHOWN_FILES = 20  # to a person
WHOLE, IN_PART, REFUSED, BEFORE = "whole", "in part", "refused", "taken before"


@dataclass(frozen=True)
class Home:
    """What an ingest asks of the home: its market, and its state where there is one (None: a new home).

    `key`: who must have signed the deliveries of a new home; one that is there has its own.
    """

    market: Market
    stores: Stores | None = None
    key: PublicKey | None = None


@dataclass
class DeliveryCheck:
    """The answer: `files`, one record each; `stated`: the caller's words, of this call or an earlier one.

    `incomplete`: sessions whose night would not run, and what they lack over the market. `passed_over`: names in the
    delivered folders that nobody looks into.

    `profile`: the feature profile of the home after this delivery. `falls`: see `IngestReport`.
    """

    market: str
    profile: str = ""
    stated: dict[str, str] = field(default_factory=dict)
    files: list[dict[str, Any]] = field(default_factory=list)
    incomplete: dict[date, str] = field(default_factory=dict)
    falls: list[str] = field(default_factory=list)
    passed_over: tuple[str, ...] = ()

    @property
    def whole(self) -> bool:
        """Whether every row of every file would go in, once."""
        return all(file["goes_in"] in (WHOLE, BEFORE) for file in self.files)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON: totals, then the files."""
        counts = Counter(file["goes_in"] for file in self.files)
        faults: dict[str, Counter[str]] = {"quarantined": Counter(), "amended": Counter()}
        for kind, file in product(faults, self.files):
            faults[kind].update({fault["code"]: fault["rows"] for fault in file.get(kind, ())})
        return {
            "market": self.market,
            "profile": self.profile,
            "stored": "nothing: this was a check",
            "goes_in": {state: counts[state] for state in (WHOLE, IN_PART, REFUSED, BEFORE) if counts[state]},
            **{name: sum(file.get(name, 0) for file in self.files) for name in ("rows_in", "rows_out", "deduplicated")},
            **{kind: dict(sorted(by_code.items())) for kind, by_code in faults.items()},
            **({"falls_beyond_limit": capped(self.falls)} if self.falls else {}),
            **({"stated": self.stated} if self.stated else {}),
            **({"passed_over": list(self.passed_over)} if self.passed_over else {}),
            **(
                {"incomplete_sessions": {str(day): f"{INCOMPLETE}  {text}" for day, text in self.incomplete.items()}}
                if self.incomplete
                else {}
            ),
            "files": self.files,
        }

    def summary(self) -> dict[str, Any]:
        """The same for a person: files with faults first, without empty cells and without the many files after them."""
        answer = self.to_dict()
        files = sorted(answer.pop("files"), key=lambda file: file["goes_in"] in (WHOLE, BEFORE))
        shown = {str(number): _in_words(file) for number, file in enumerate(files[:SHOWN_FILES], 1)}
        if len(files) > SHOWN_FILES:
            shown["and"] = {"more": f"{len(files) - SHOWN_FILES} files: use --json"}
        return {**answer, "files": shown}


def check(paths: Sequence[Path], arrival: Arrival, home: Home, progress: Progress) -> DeliveryCheck:
    """Read everything below `paths` as `bars.ingest` would, and store nothing.

    Raises UsageError for a path that is no delivery, and for words or a daily table that do not fit the home.
    """
    stores = home.stores
    require_signed(paths, stores.settings.signing_key if stores else home.key)
    vectors.require_session(arrival.of_vectors.born, home.market, arrival.now)
    delivery = find(paths)
    stated, policy = arrival.stated, FROM_VENDOR if delivery.daily else FROM_MINUTES
    if stores:
        stated, policy = stated_words(stated, stores), daily_policy(delivery, stores)
    answer = DeliveryCheck(home.market.name, stated=words(stated), passed_over=delivery.passed_over)
    answer.profile = stores.ledger.deployment().get("profile", "") if stores else ""
    fallback = remembered(stores) if stores else None
    answer.files += [_refused(file) for file in delivery.refused]
    intervals = partial(read_intervals, through=last_session(arrival.now, home.market))
    books = partial(_books, stores) if stores else read_custody
    tables = (
        ((delivery.daily, read_daily),),
        ((delivery.members, read_members), (delivery.intervals, intervals)),
        ((delivery.symbols, read_symbols), (delivery.restrictions, read_restrictions), (delivery.holdings, books)),
    )
    delivered: set[str] = set()
    references: list[ReferenceRows] = []
    daily_files: list[ReferenceRows] = []
    for readers in tables:
        rows = [file for paths, read in readers for file in _read(paths, read, answer, home)]
        if readers is tables[0]:
            daily_files, daily = rows, by_session(rows)
            delivered.update(symbol for file in rows for symbol in file.frame["symbol"].unique().to_list())
        if readers is tables[1]:
            rows, refused = without_repeated_snapshots(weighed(rows, daily_files, stores))
            answer.files += [_refused(file) for file in refused]
        if stores and arrival.acceptance is None:
            refused = [file for own in _by_table(rows) for file in stopped(own, shrinkages(own, stores))]
            answer.files += [_refused(file) for file in refused]
            rows = [file for file in rows if file.path not in {each.path for each in refused}]
        references += rows
        answer.files += [_reference(file) for file in rows]
    listings = _listings(references, stores)
    new = list(_new(delivery.bars, answer, stores))
    order = order_in(new)
    groups = batches(new, order)
    whole: dict[date, Presence] = {}
    for done, group in enumerate(groups):
        progress(done, len(groups), name_of(group[0]))
        parsed, refused = read_all(group, home.market, arrival.now, fallback, stated, order)
        answer.files += [_refused(file) for file in refused]
        if not parsed:
            continue
        combined = combine(parsed, home.market, stored_minutes(parsed, stores) if stores else None)
        if stores:
            compared = beside_closes(combined, stated, stores, daily)
            combined = compared.combined
            answer.falls += falls_in_words(compared.falls)
        combined = listings.without_strangers(combined) if policy == FROM_VENDOR else combined
        answer.files += [_bar_file(number, file, combined) for number, file in enumerate(parsed)]
        delivered.update(combined.frame["symbol"].unique().to_list())
        answer.incomplete |= whole_sessions.of_delivery(combined.frame, stores, home.market, whole)
        if combined.frame.height:  # an ingest decides these with the first rows that it stores
            fallback = fallback or parsed[0].report.conventions
            answer.profile = answer.profile or profile_of(_flows(combined.frame))
    reader = partial(read_scores, now=arrival.now, stream=arrival.stream)
    scores = _read(delivery.scores, reader, answer, home, arrival.stream)
    answer.files += [_scores(file) for file in stream_scores.judged(scores, delivered, stores)]
    reader = partial(read_vectors, now=arrival.now, vintage=arrival.of_vectors.vintage)
    others = _read(delivery.vectors, reader, answer, home, arrival.of_vectors.vintage)
    good, refused = vectors.judged(others, delivered, arrival.of_vectors.born, stores)
    answer.files += [*map(_refused, refused), *map(_vectors, good)]
    progress(len(groups), len(groups), "done")
    return answer


def _read(
    paths: Sequence[Path], read: Reader, answer: DeliveryCheck, home: Home, stream: str | None = None
) -> list[ReferenceRows]:
    """The rows of new files of one table; refused files are noted."""
    new, files = list(_new(paths, answer, home.stores, stream)), []
    order = order_in(new, "session")
    for path in new:
        try:
            files.append(read(path, home.market, order))
        except FpmError as refusal:
            answer.files.append(_refused(Refused(path, refusal)))
    return files


def _by_table(files: Sequence[ReferenceRows]) -> list[list[ReferenceRows]]:
    return [[file for file in files if file.table == name] for name in dict.fromkeys(file.table for file in files)]


def _listings(references: Sequence[ReferenceRows], stores: Stores | None) -> Listings:
    """Whom the delivery's daily rows and symbols, and the home, know."""
    daily, names = ([file for file in references if file.table == name] for name in (DAILY_BARS.name, SYMBOLS.name))
    named = frozenset(symbol for file in names for symbol in file.frame["symbol"].to_list())
    return Listings(symbols_of(by_session(daily)), stores, named)


def _new(
    paths: Sequence[Path], answer: DeliveryCheck, stores: Stores | None, stream: str | None = None
) -> Iterable[Path]:
    """The files that the home has not taken before; the others are noted."""
    for path in paths:
        key = stream_scores.receipt(digest(path), stream)
        sessions = sessions_ingested(key, stores) if stores else None
        if sessions is None:
            yield path
        else:
            answer.files.append({"file": path.name, "goes_in": BEFORE, **_span(sessions)})


def _flows(bars: pl.DataFrame) -> set[str]:
    return {name for name in OPTIONAL_FLOWS if name in bars.columns and bars[name].null_count() < bars.height}


def _refused(file: Refused) -> dict[str, Any]:
    refusal = file.refusal
    return {
        "file": name_of(file.path),
        "goes_in": REFUSED,
        "code": refusal.code,
        "wrong": refusal.wrong,
        "todo": refusal.todo,
    }


def _books(stores: Stores, path: Path, market: Market, order: Order) -> ReferenceRows:
    """A custodian's file with what this home refuses of it; a symbol whose first bar comes with it is unknown."""
    file = read_custody(path, market, order)
    ((_, faults),) = custody.checked([file], stores)
    frame = file.frame.join(faults, on="row", how="anti", maintain_order="left")
    return replace(file, frame=frame, quarantined=file.with_faults(faults))


def _reference(rows: ReferenceRows) -> dict[str, Any]:
    return {
        "file": rows.path.name,
        "goes_in": _state(rows.rows_out, rows.quarantined.height),
        "table": rows.table,
        **_names(rows.synonyms, rows.ignored),
        **({"exceptions": list(rows.conversions)} if rows.conversions else {}),
        **_span(rows.frame["session"].drop_nulls().unique().to_list() if "session" in rows.frame.columns else []),
        "symbols": rows.frame["symbol"].n_unique(),
        "rows_in": rows.rows_in,
        "rows_out": rows.rows_out,
        **({"deduplicated": rows.deduplicated} if rows.deduplicated else {}),
        "quarantined": _faults(rows.quarantined),
    }


def _scores(rows: ReferenceRows) -> dict[str, Any]:
    return {**_reference(rows), "streams": rows.frame["stream"].unique().sort().to_list()}


def _vectors(rows: ReferenceRows) -> dict[str, Any]:
    return {**_reference(rows), "vintages": rows.frame["vintage"].unique().sort().to_list(), "length": length_of(rows)}


def _bar_file(number: int, file: Parsed, combined: Combined) -> dict[str, Any]:
    """The account of one file of bars: rows in = rows out + quarantined + deduplicated; `amended` rows lose a cell."""
    rows = combined.frame.filter(pl.col("source") == number)
    across, amended = (
        frame.filter(pl.col("source") == number).select(file.quarantined.columns)
        for frame in (combined.quarantined, combined.amended)
    )
    faults = pl.concat([file.quarantined, across])
    report = file.report
    return {
        "file": report.name,
        "goes_in": _state(rows.height, faults.height + amended.height),
        "conventions": _conventions(report.conventions),
        "evidence": report.conventions.seen,
        **_names(report.synonyms, report.ignored),
        "derived": list(report.derived),
        "exceptions": list(report.exceptions),
        **_span(rows["session"].unique().to_list()),
        "symbols": rows["symbol"].n_unique(),
        "rows_in": report.rows,
        "rows_out": rows.height,
        "deduplicated": report.rows - rows.height - faults.height,
        "nans": report.nans,
        "quarantined": _faults(faults),
        "amended": _faults(amended),
    }


def _in_words(file: dict[str, Any]) -> dict[str, Any]:
    """One file's record without empty cells; conventions, synonyms and faults as text."""
    conventions = file.get("conventions", {})
    texts = {
        "conventions": ", ".join(f"{name} {value}" for name, value in conventions.items() if value != []),
        "synonyms": ", ".join(f"{name} is {theirs}" for name, theirs in file.get("synonyms", {}).items()),
        **{
            kind: [
                f"{fault['rows']} rows {fault['code']}, the first is row {fault['first_row']}: {fault['reason']}"
                for fault in file.get(kind, ())
            ]
            for kind in ("quarantined", "amended")
        },
    }
    cells = {name: texts.get(name, value) for name, value in file.items()}
    return {
        name: cell
        for name, cell in cells.items()
        if cell not in ("", []) and not (name in ("deduplicated", "nans") and cell == 0)
    }


def _state(rows: int, faults: int) -> str:
    return WHOLE if not faults else IN_PART if rows else REFUSED


def _conventions(conventions: Conventions) -> dict[str, Any]:
    return {
        "stamp_side": conventions.stamp_side,
        "calls": list(conventions.calls),
        "volume_unit": conventions.volume_unit,
        "price_basis": conventions.price_basis,
        "moved": [list(pair) for pair in conventions.moved],
    }


def _names(synonyms: dict[str, str], ignored: Sequence[str]) -> dict[str, Any]:
    return {"synonyms": synonyms, "ignored": list(ignored)}


def _span(sessions: Sequence[date]) -> dict[str, Any]:
    return {
        "sessions": len(sessions),
        "first": str(min(sessions)) if sessions else None,
        "last": str(max(sessions)) if sessions else None,
    }


def _faults(faults: pl.DataFrame) -> list[dict[str, Any]]:
    """Per code the number of rows and the first of them: row number of the file from 0, and the reason."""
    return [
        {"code": code, "rows": part.height, "first_row": part["row"][0], "reason": part["reason"][0]}
        for (code,), part in faults.sort("row").partition_by("reason_code", as_dict=True).items()
    ]
