"""Alembic migrations of schema `fpm`, the typed online tables and the serving views.

    env        entry of Alembic
    expansion  a column added online, in two steps

The revisions in `versions` import fpm and fpm.store.online.

Imports: migrations.
"""
