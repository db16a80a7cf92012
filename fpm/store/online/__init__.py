"""Published sessions in Postgres.

Begin at `publication`.

    table         typed tables, one row an entity
    publication   one session, all views, one transaction
    online_store  Feast's online store over these tables
    answers       Feast's online answer as protobuf bytes
    engine        Feast's materialisation, as Arrow
    neighbours    the nearest published fingerprints

Imports: fpm, fpm.store.ledger, fpm.store.postgres.
"""
