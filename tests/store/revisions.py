"""A later version of the library, as far as its schema goes."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import tunedb.migrations
from tunedb.store.sql import revision, schema

HEAD = revision.HEAD
LATER = f"{int(HEAD) + 1:04d}"
_REVISION = '''"""What a later version may change."""
import sqlalchemy as sa
from alembic import op

revision = "{later}"
down_revision = "{head}"


def upgrade():
    with op.batch_alter_table("sweep") as batch:
        batch.add_column(sa.Column("note", sa.Text(), nullable=True))
        batch.alter_column("{old}", new_column_name="{new}")
    op.create_table("extra", sa.Column("id", sa.Integer(), primary_key=True))
    {last}


def downgrade():
    op.drop_table("extra")
    with op.batch_alter_table("sweep") as batch:
        batch.alter_column("{new}", new_column_name="{old}")
        batch.drop_column("note")
'''


def later_version(
    folder: Path, patch: pytest.MonkeyPatch, last: str = "pass", rename: tuple[str, str] = ("host", "host")
) -> None:
    """From now on this is a later version, whose newest revision is `LATER`; `last` is what its upgrade ends with."""
    scripts = folder / "migrations"
    shutil.copytree(Path(tunedb.migrations.__file__).parent, scripts)
    text = _REVISION.format(last=last, old=rename[0], new=rename[1], head=HEAD, later=LATER)
    (scripts / "versions" / f"{LATER}_later.py").write_text(text)
    patch.setattr(schema, "SCRIPTS", str(scripts))
    patch.setattr(schema, "HEAD", LATER)
    patch.setattr(revision, "HEAD", LATER)
