"""What Alembic runs: always online, on the connection that models.database hands over."""

from alembic import context
from sqlmodel import SQLModel

import models.tables  # noqa: F401 — registers the tables

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=SQLModel.metadata,
    version_table="warmline_version",
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
