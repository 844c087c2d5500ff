"""A store that several threads use while it has to be opened again."""

from __future__ import annotations

from typing import Any

from tunedb.errors import StoreUnavailable
from tunedb.store.reopening import ReopeningStore


def test_an_access_that_fails_leaves_a_store_that_another_thread_has_opened_since() -> None:
    opened: list[Any] = []

    def opener() -> Any:
        opened.append(object())
        return opened[-1]

    store = ReopeningStore(opener)
    store.run(lambda _: None)

    def work(this: object) -> object:
        if this is opened[0]:
            store._store = None  # as another thread's access does that failed earlier
            store.run(lambda _: None)
            raise StoreUnavailable("It was removed.")
        return this

    assert store.run(work) is opened[1]
    assert len(opened) == 2


def test_an_access_is_made_also_if_another_thread_drops_the_store_at_that_moment() -> None:
    class Dropping(ReopeningStore):
        def __setattr__(self, name: str, value: object) -> None:
            super().__setattr__(name, None if name == "_store" else value)

    opened: Any = object()
    assert Dropping(lambda: opened).run(lambda store: store) is opened
