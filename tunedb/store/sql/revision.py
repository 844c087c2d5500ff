"""The revision of the schema that this version needs."""

from __future__ import annotations

HEAD = "0008"  # the newest revision in migrations/versions; revisions are numbered, so that they can be compared
VERSION_TABLE = "tunedb_alembic_version"  # two users of Alembic in one database collide on the default name
