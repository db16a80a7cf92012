"""Published sessions in Postgres.

Begin at `publication`.

    tables        typed tables, one row per entity
    publication   one session, all views, one transaction
    transaction   what the transaction of every publication keeps to
    history       earlier sessions: scores and weights of every publication
    running       scores of the running session, minute by minute
    webhook       publications to a webhook
    online_store  Feast's online store over these tables
    answers       Feast's online answer as protobuf bytes
    engine        Feast's materialisation, in Arrow
    metrics       the figures of `serving.metrics` as Prometheus text
    neighbours    the nearest published fingerprints

Imports: fpm, fpm.store, fpm.store.ledger, fpm.store.postgres.
"""
