"""Runs the migrations on the connection that `gateway.store.versions` hands over."""

from alembic import context

from gateway.store.tables import metadata
from gateway.store.versions import VERSION_TABLE

context.configure(
    connection=context.config.attributes["connection"], target_metadata=metadata, version_table=VERSION_TABLE
)
with context.begin_transaction():
    context.run_migrations()
