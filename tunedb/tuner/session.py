"""The session of a process: its tuner, and the tables in which launchers hold their plans."""

from __future__ import annotations

import logging
import threading
import weakref
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from tunedb import settings as settings_module
from tunedb._internal import forks
from tunedb._internal.redact import without_password
from tunedb.core.device import Device
from tunedb.errors import StoreError, StoreUnavailable
from tunedb.settings import Settings
from tunedb.store import at_end
from tunedb.store.bundle_lists import BundleLists
from tunedb.store.bundles import BundleLayer, bundle_layer
from tunedb.store.empty import EmptyStore
from tunedb.store.guarded import BUSY_TIMEOUT_S, GuardedStore
from tunedb.store.interface import SweepStore
from tunedb.store.layered import LayeredStore
from tunedb.store.local import LocalOpener, load_sqlalchemy
from tunedb.store.shared import DEADLINE_S, SharedStore, flush_shared
from tunedb.store.wait_budget import CALL_S, one_call
from tunedb.store.writer import Writer, flush_writers
from tunedb.tuner.lock_folder import lock_folder
from tunedb.tuner.sweeper import Spent
from tunedb.tuner.tuner import Tuner

if TYPE_CHECKING:
    from tunedb.store import Store


class _Table(dict[Any, Any]):
    """A dict that is hashed by identity, for weak references: a kernel that is deleted takes its plans with it."""

    __hash__ = object.__hash__  # type: ignore[assignment]  # a dict is not hashable
    __eq__ = object.__eq__


_active: Tuner | None = None
_spent = Spent()
_plans: weakref.WeakSet[_Table] = weakref.WeakSet()
_generation = 0
# By URL and whether it is written; kept when the settings change, with what was read.
_shared: dict[tuple[str, bool], SharedStore] = {}
_absent: set[str] = set()  # stores that are not there, and were logged
# By URL: those of earlier settings whose results still wait. Later settings find them there.
_writers: dict[str, Writer] = {}
COMMAND_S = 5.0  # a command waits this long for an answer of the shared store
CHANGE_S = 0.5  # a change of the settings waits this long for what is still to be written
_guard = threading.RLock()
_log = logging.getLogger("tunedb")


def active() -> Tuner:
    """Return the tuner of this process."""
    global _active
    with _guard:
        if _active is None:
            settings = settings_module.current()
            _active = make_tuner(settings, _writers.pop(settings.store, None) if settings.mode != "off" else None)
        return _active


def make_tuner(settings: Settings, writer: Writer | None = None) -> Tuner:
    """Return a tuner for these settings, on the store that they name.

    `writer`: that of the same store under earlier settings, if results still wait.
    """
    writable = settings.writes

    opener = LocalOpener(settings.store, busy_timeout=BUSY_TIMEOUT_S, writable=writable)
    shared = None
    if settings.shared and settings.mode != "off":
        key = (settings.shared, writable)
        shared = _shared.get(key)
        if shared is None:
            shared = _shared[key] = SharedStore(
                settings.shared,
                partial(_open_shared, settings.shared),
                load=partial(load_sqlalchemy, settings.shared),
                writable=writable,
            )
    bundles = None if settings.mode == "off" else bundle_layer(settings.bundles)
    local = GuardedStore(
        settings.store,
        partial(_opened, opener, settings.store, bundles),
        load=opener.load,
        is_new=opener.is_new,
        writable=writable,
        writer=writer,
    )
    layers = LayeredStore(local, shared, bundles)
    return Tuner(settings, layers, locks=lock_folder(settings), spent=_spent, on_better=clear_plans)


def with_bundles(store: Store | None, settings: Settings) -> SweepStore:
    """Return a store that a command has opened, or none, as one with the bundles."""
    return LayeredStore(EmptyStore() if store is None else store, bundles=bundle_layer(settings.bundles))


def with_shared(store: Store | None, settings: Settings) -> SweepStore:
    """Return a store that a command has opened, or none, as one with the bundles and with the shared store."""
    if settings.shared is None or settings.shared == settings.store:
        return with_bundles(store, settings)
    shared = SharedStore(
        settings.shared,
        partial(_open_shared, settings.shared),
        load=partial(load_sqlalchemy, settings.shared),
        deadline=COMMAND_S,
    )
    return LayeredStore(EmptyStore() if store is None else store, shared, bundle_layer(settings.bundles))


def _opened(opener: Callable[[], Any], url: str, bundles: BundleLayer | None) -> Any:
    """Open the store, and log, once, that there is none if nothing may be written, unless there are bundles."""
    store = opener()
    if store is None and url not in _absent and not (bundles is not None and bundles.is_known_to_have_any):
        _absent.add(url)
        _log.warning(
            "There is no store at %s: calls get untuned configs. See where it was named: tunedb path -v",
            without_password(url),
        )
    return store


def stored_devices() -> list[Device]:
    """Return the devices that the local store, the shared one and bundles have sweeps of. Failures are logged."""
    from tunedb.store import open_store

    current = settings_module.current()
    devices = BundleLists(bundle_layer(current.bundles)).devices() if current.mode != "off" else []
    for url in filter(None, (current.store, current.shared)):
        try:
            store = open_store(url, busy_timeout=BUSY_TIMEOUT_S, migrate=False, create=False)
            if store is not None:
                with store:
                    devices += store.upkeep.devices()
        except StoreError as error:
            _log.warning("The devices of a store can't be listed. %s", str(error))
    return devices


def _open_shared(url: str) -> Store:
    from tunedb.store import open_store
    from tunedb.store.sql.advice import on_store

    store = open_store(url, busy_timeout=DEADLINE_S, migrate=False, create=False)
    if store is None:
        printable = without_password(url)
        raise StoreUnavailable(f"There is no store at {printable}. Run: {on_store('tunedb db upgrade', printable)}")
    return store


def new_plans() -> dict[Any, Any]:
    """Return a table for a launcher's plans, emptied when the settings change or a better config appears."""
    table = _Table()
    _plans.add(table)
    return table


def clear_plans() -> None:
    """Empty every launcher's table. A plan that is being made at that moment is not kept."""
    global _generation
    _generation += 1
    for table in list(_plans):
        table.clear()


def generation() -> int:
    """Return how often the tables were emptied."""
    return _generation


def forget() -> None:
    """Forget what this process has looked up: the next calls ask the stores again."""
    global _active
    with _guard:
        before, _active = _active, None
    clear_plans()
    if before is None:
        return
    with one_call(CHANGE_S):
        before.close()  # outside the guard: it may wait for the store, and other threads must not
    local = before.store.local if isinstance(before.store, LayeredStore) else None
    writer = local.writer if isinstance(local, GuardedStore) else None
    if writer is not None and writer.waiting():
        with _guard:
            _writers[before.settings.store] = writer


def flush(timeout: float = CALL_S) -> bool:
    """Write to the stores what waits in memory; return whether all is written."""
    tuner = _active
    with one_call(timeout):
        if tuner is not None:
            tuner.usage.flush()
        is_written, is_sent = flush_writers(), flush_shared()
        return is_written and is_sent


@forks.in_child
def _renew() -> None:
    global _guard
    _guard = threading.RLock()  # another thread of the parent may hold the old one
    if _active is not None and _active.cache.has_weak:
        clear_plans()  # so that the next call of each kind asks the tuner, which then looks for a better choice again


settings_module.on_change(forget)


def _close() -> None:
    if _active is not None:
        _active.close()


at_end.register(_close)
