"""Frames and online values through Feast.

Begin at `features`.

    features         apply definitions, ask for frames, read online values
    quick_feast      Feast, imported in a third of the time
    dual_stream      what the scorer sees of a span of sessions
    training_matrix  frames as the array that a model trains on
    exports          tables and frames as files for other programs

Imports: fpm, fpm.store, fpm.store.frames, fpm.store.lake, fpm.store.ledger, fpm.store.online, fpm.store.postgres.
"""
