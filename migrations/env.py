"""Alembic's entry: runs in one transaction on the connection of `fpm.store.postgres.migrate`."""

from alembic import context

context.configure(
    connection=context.config.attributes["connection"],
    version_table="migration",
    version_table_schema="fpm",
    transaction_per_migration=False,
)
context.run_migrations()
