"""The schema's history, run by Alembic (installed as `tunedb.migrations`)."""
