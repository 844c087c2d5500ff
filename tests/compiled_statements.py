"""Statements that SQLAlchemy compiled for one store serve all stores of their kind in this process.

An engine compiles each statement once, and each test has engines of its own: that was a fifth of the tests' work.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import sqlalchemy as sa
from sqlalchemy.util import LRUCache

MAX_STATEMENTS = 2_000  # tests make some hundred, on two engines
_compiled: LRUCache[Hashable, Any] = LRUCache(MAX_STATEMENTS)


class OfDialect:
    """The compiled statements as one engine sees them: its keys begin with its own dialect object."""

    def __init__(self, dialect: sa.Dialect) -> None:
        self._dialect = dialect

    def _key(self, key: tuple[Any, ...]) -> Hashable:
        dialect = self._dialect
        return dialect.name, dialect.driver, getattr(dialect, "server_version_info", None), *key[1:]

    def get(self, key: tuple[Any, ...]) -> Any:
        """Return the compiled statement, or None."""
        return _compiled.get(self._key(key))

    def __setitem__(self, key: tuple[Any, ...], compiled: Any) -> None:
        _compiled[self._key(key)] = compiled


def share_statements() -> None:
    """Have engines that are made from now on share what they compile."""
    create_engine = sa.create_engine

    def create(*arguments: Any, **options: Any) -> sa.Engine:
        engine = create_engine(*arguments, **options)
        engine._compiled_cache = OfDialect(engine.dialect)  # type: ignore[assignment]
        return engine

    sa.create_engine = create
