"""Alembic's entry: runs on the connection that `fpm.store.postgres.migrate` hands over, in its one transaction."""

from alembic import context

context.configure(
    connection=context.config.attributes["connection"],
    version_table="migration",
    version_table_schema="fpm",
    transaction_per_migration=False,
)
context.run_migrations()
