"""Feast's feature server behind a door of ours.

Begin at `server`.

    server    the two reading endpoints
    requests  what a request may contain
    token     the bearer token
    patience  an end to slow requests

Imports: fpm, fpm.store, fpm.store.lake, fpm.store.online, fpm.store.postgres, fpm.store.retrieval.
"""
