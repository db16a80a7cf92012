"""The knowledge history: a file gives back what the job wrote at each moment."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from fpm.schema import TABLES
from fpm.sessions import market
from fpm.store.jobs.history import _append, slot_ends
from fpm.store.lake.files import canonical, latest
from fpm.store.ledger.stores import Stores
from tests.fpm.store.small_bars import SESSIONS

EVENT = datetime(2026, 1, 5, 7, tzinfo=UTC)
LABELS = TABLES["labels"]
ANSWERS = st.dictionaries(st.sampled_from("ABC"), st.sampled_from([1.0, 2.0, -0.0, 0.1 + 0.2]), max_size=3)


def labels(answer: dict[str, float], created: datetime) -> pl.DataFrame:
    rows = pl.DataFrame(list(answer.items()), schema={"symbol": pl.String, "label": pl.Float64}, orient="row")
    return canonical(LABELS, rows.with_columns(event_timestamp=pl.lit(EVENT), created_timestamp=pl.lit(created)))


@settings(deadline=None)
@given(st.lists(ANSWERS, min_size=1, max_size=6))
def test_every_answer_can_be_read_back_as_it_was_known(answers: list[dict[str, float]]) -> None:
    moments = [EVENT + timedelta(days=n) for n in range(len(answers))]
    frames = [labels(answer, moment) for answer, moment in zip(answers, moments, strict=True)]
    history = frames[0]
    for frame, moment in zip(frames[1:], moments[1:], strict=True):
        history = _append(LABELS, history, frame, moment)
    for answer, moment in zip(answers, moments, strict=True):
        read = latest(LABELS, history, moment).drop_nulls("label")
        assert dict(read.select("symbol", "label").iter_rows()) == answer
    changes = sum(before != after for before, after in pairwise(answers))
    assert history["created_timestamp"].n_unique() <= 1 + changes  # unchanged rows are not written again


def test_a_version_of_vectors_is_only_added_where_they_differ() -> None:
    def frame(first: float, created: datetime) -> pl.DataFrame:
        vectors = pl.Series("fingerprint", [[first] * 128, [3.0] * 128], dtype=pl.Array(pl.Float32, 128))
        rows = pl.DataFrame({"symbol": ["A", "B"], "vintage": ["v", "v"]}).with_columns(vectors)
        clocks = rows.with_columns(event_timestamp=pl.lit(EVENT), created_timestamp=pl.lit(created))
        return canonical(TABLES["fingerprints"], clocks)

    later = EVENT + timedelta(days=1)
    history = _append(TABLES["fingerprints"], frame(1.0, EVENT), frame(2.0, later), later)
    assert history.select("symbol", "created_timestamp").rows() == [("A", EVENT), ("A", later), ("B", EVENT)]


def at(hour: int, minute: int) -> datetime:
    return datetime(2026, 1, 5, hour, minute, tzinfo=UTC)


def test_minutes_end_where_the_exchange_says(stores: Stores) -> None:
    """Shanghai is UTC+8 all year.

    Stored slots: 09:25 (call), 09:31, …, 15:00, 15:00 (call); 240 minutes merge both calls into their neighbours.
    """
    stores.decide_profile("bar_32")
    stored = slot_ends(TABLES["minute_bars"], SESSIONS[0], stores)
    merged = slot_ends(TABLES["minute_features"], SESSIONS[0], stores)
    assert len(stored) == len(market("cn").slots) == 242
    assert [stored[slot] for slot in (0, 1, 121, 240, 241)] == [at(1, 25), at(1, 31), at(5, 1), at(7, 0), at(7, 0)]
    assert len(merged) == 240
    assert [merged[slot] for slot in (0, 119, 120, 239)] == [at(1, 31), at(3, 30), at(5, 1), at(7, 0)]
