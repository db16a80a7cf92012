"""Feast's feature server behind a door of ours, and the page.

Begin at `server`.

    server    the address it listens on, its life until interrupted
    door      the reading endpoints, in front of Feast's app
    responses  what goes back: status, content, headers
    openapi   what they answer, as an OpenAPI document
    requests  bodies checked against the catalogue
    published  the publication that an answer is of
    queries   queries of the GET paths, checked
    history   earlier sessions of one stock
    intraday  the last minute of a running session
    news      publications after one, for those who wait
    token     the bearer token
    patience  a time limit for the head of a request
    listening   the socket that a server listens on, and its configuration
    page_door  the app of `fpm page`: one way in, only reading
    page_server  its life until interrupted

Imports: fpm, fpm.page, fpm.store, fpm.store.lake, fpm.store.online, fpm.store.postgres, fpm.store.retrieval.
"""
