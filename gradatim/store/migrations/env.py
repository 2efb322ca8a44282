"""What alembic runs to migrate: on the connection, and in the transaction, that `upgrade` of the package gave it."""

from alembic import context

from gradatim.store.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
