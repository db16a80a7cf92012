"""Frames and online values through Feast.

Begin at `features`.

    configuration  where Feast finds its parts, for one role
    features         definitions applied, frames retrieved, online values read
    quick_feast      Feast, imported in a third of the time
    dual_stream      the scorer's inputs of a span of sessions
    training_matrix  frames as the array that a model trains on
    exports          tables and frames as files for other programs

Imports: fpm, fpm.ingest, fpm.store, fpm.store.frames, fpm.store.lake, fpm.store.ledger, fpm.store.online,
fpm.store.postgres.
"""
