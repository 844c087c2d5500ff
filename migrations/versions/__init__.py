"""One file per revision, numbered. They import Alembic and SQLAlchemy only, never the models of today."""
