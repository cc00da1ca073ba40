"""Alembic's entry: runs migrations on the connection that `hpastore.store.migrate` gives.

The transaction, the lock, foreign keys and views are that module's; here only what Alembic asks
for. Developers write a new migration with
``alembic -x db=sqlite:///some.db revision --autogenerate -m "why"``.
"""

from __future__ import annotations

from alembic import context
from sqlalchemy import Connection

from hpastore.schema.tables import Base
from hpastore.store.engine import connect


def run(connection: Connection) -> None:
    """Run the migrations in the connection's transaction."""
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        render_as_batch=True,
        transactional_ddl=True,
        compare_type=True,
    )
    with context.begin_transaction():
        context.run_migrations()


given = context.config.attributes.get("connection")
if given is not None:
    run(given)
else:
    with connect(context.get_x_argument(as_dictionary=True)["db"], create=True).writing() as made:
        run(made)
