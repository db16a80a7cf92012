"""The binary COPY stream against a real Postgres, which must read back exactly what was encoded."""

from __future__ import annotations

from datetime import UTC, datetime

import polars as pl
import psycopg
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fpm.store.postgres.binary_copy import encode
from fpm.store.postgres.server import Server

TYPES = {
    "text": "text",
    "real": "real",
    "double": "double precision",
    "integer": "integer",
    "bigint": "bigint",
    "boolean": "boolean",
    "moment": "timestamptz",
    "vector": "vector(3)",
}
SCHEMA = {
    "text": pl.String,
    "real": pl.Float32,
    "double": pl.Float64,
    "integer": pl.Int32,
    "bigint": pl.Int64,
    "boolean": pl.Boolean,
    "moment": pl.Datetime("us", "UTC"),
    "vector": pl.List(pl.Float32),
}
NAIVE_BOUNDS = datetime(1900, 1, 1), datetime(2200, 1, 1)  # noqa: DTZ001  hypothesis wants naive bounds
FLOAT32 = st.floats(width=32, allow_nan=False, allow_infinity=False)
VALUES = st.tuples(
    *map(
        st.one_of,
        [st.none()] * len(TYPES),
        [
            st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])),
            FLOAT32,
            st.floats(allow_nan=False, allow_infinity=False),
            st.integers(-(2**31), 2**31 - 1),
            st.integers(-(2**63), 2**63 - 1),
            st.booleans(),
            st.datetimes(*NAIVE_BOUNDS, timezones=st.just(UTC)),
            st.lists(FLOAT32, min_size=3, max_size=3),
        ],
    )
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(VALUES, max_size=8))
def test_postgres_reads_back_what_was_encoded(postgres_server: Server, rows: list[tuple[object, ...]]) -> None:
    frame = pl.DataFrame(rows, schema=SCHEMA, orient="row")
    columns = ", ".join(f'"{name}" {kind}' for name, kind in TYPES.items())
    with psycopg.connect(postgres_server.dsn) as connection, connection.cursor(binary=True) as cursor:
        cursor.execute(f"CREATE TEMPORARY TABLE copied ({columns}, n serial)")
        names = ", ".join(f'"{name}"' for name in TYPES)
        with cursor.copy(f"COPY copied ({names}) FROM STDIN (FORMAT BINARY)") as copy:
            copy.write(encode(frame, TYPES))
        cursor.execute("SELECT " + names.replace('"vector"', "vector::real[]") + " FROM copied ORDER BY n")
        assert cursor.fetchall() == frame.rows()
        connection.rollback()
