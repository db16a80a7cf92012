"""Point-in-time frames from the lake.

Begin at `point_in_time`.

    entities        entity frames of any kind
    point_in_time   entity rows in, the values known beside them out
    session_blocks  long histories in blocks of sessions
    files           frames as Parquet files
    offline_store   Feast's offline store over these
    vector_archive  one vintage's fingerprints as a mapped matrix

Imports: fpm, fpm.evaluation, fpm.store.lake, fpm.store.ledger.
"""
