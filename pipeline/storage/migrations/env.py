"""What Alembic runs: the steps, on the connection and in the transaction it is given."""

from __future__ import annotations

from alembic import context

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=context.config.attributes.get("metadata"),
    # SQLite cannot alter a column: such steps copy the table.
    render_as_batch=True,
)
context.run_migrations()
