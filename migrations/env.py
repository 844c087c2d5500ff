"""Runs revisions on the connection it is handed; the `alembic` command hands none and names a store: `-x url=...`."""

from alembic import context
from sqlalchemy import Connection

from tunedb.store.sql import engine, models, schema


def run(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=models.Base.metadata,
        version_table=schema.VERSION_TABLE,
        compare_server_default=True,
        render_as_batch=connection.dialect.name == "sqlite",
    )
    with context.begin_transaction():  # does nothing: the caller's transaction has begun, and ends it
        context.run_migrations()


if context.is_offline_mode():
    raise SystemExit("Revisions run on a live connection only: leave out --sql.")
if "connection" in context.config.attributes:
    run(context.config.attributes["connection"])
else:
    url = context.get_x_argument(as_dictionary=True).get("url")
    if not url:
        raise SystemExit("Needed a store to work on: alembic -x url=sqlite:///t.db ...")
    with schema.transaction(engine.locate(url)) as connection:
        run(connection)
