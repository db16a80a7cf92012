"""Point-in-time frames from the lake.

Begin at `point_in_time`.

    entities        entity frames in every form, their checks, the question they put
    point_in_time   entity rows in, the same rows with the values known beside them out
    session_blocks  the same in blocks, for long histories
    files           frames as Parquet files
    offline_store   Feast's offline store over these
    vector_archive  one vintage's fingerprints as a mapped matrix

Imports: fpm, fpm.evaluation, fpm.ingest, fpm.store.lake, fpm.store.ledger.
"""
