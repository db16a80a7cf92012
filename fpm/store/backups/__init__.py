"""A home and its database of one moment, in a folder of their own, and back.

Begin at `backup`.

    backup    from a home, while its nights run
    restore   into a home that does not exist yet
    manifest  what a backup holds, hash by hash
    database  the schemas, by PostgreSQL's own programs

Imports: fpm, fpm.store, fpm.store.lake, fpm.store.ledger, fpm.store.postgres.
"""
