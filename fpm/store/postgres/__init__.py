"""The embedded Postgres, or the user's own.

Begin at `server`.

    server       which database, and connections to it
    cluster      the embedded server: initialise, start, stop
    roles        owner, producer, reader, server: their passwords
    fence        what readers may not do, and what each may take
    readers      consumers with a login of their own
    identity     one home, one database: compared at every start
    migrate      migrations, with Alembic
    requirements  what the user's own server must be
    binary_copy  frames as binary COPY

Imports: fpm, fpm.store, fpm.store.lake.
"""
