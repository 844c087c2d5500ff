"""Bundles as commands see them: their sweeps next to those of the local store, and as a file that export writes."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from tunedb import settings
from tunedb.cli.opening import no_store, whole_store
from tunedb.cli.store_words import store_option
from tunedb.core.device import Device
from tunedb.core.sweep import Sweep
from tunedb.errors import SettingError, TunedbError, UnknownSweep
from tunedb.store.bundles import bundle_layer
from tunedb.tuner.stored_device import devices_named

if TYPE_CHECKING:
    from tunedb.store import Store
    from tunedb.store.reading import ReadStore


def bundled_sweeps(
    listed: Store | ReadStore | None,
    *,
    kernel: str | None = None,
    device: str | None = None,
) -> list[Sweep]:
    """Return the bundles' sweeps of a kernel and a device, or all of them, that the store does not have as well."""
    sweeps = list(bundle_layer(settings.current().bundles).iter_sweeps(kernel=kernel))
    if not sweeps:
        return []
    store = whole_store(listed)
    if device is not None and sweeps:
        stored = [] if store is None else store.upkeep.devices()
        wanted = devices_named({*stored, *(sweep.device for sweep in sweeps)}, device)
        sweeps = [sweep for sweep in sweeps if sweep.device in wanted]
    known = set(store.upkeep.uids()) if store is not None and sweeps else set()
    unique = {sweep.uid: sweep for sweep in sweeps if sweep.uid not in known}
    if store is None or not unique:
        return list(unique.values())
    return _with_marks(store, list(unique.values()))


def merged(stored: Iterable[Sweep], bundled: list[Sweep]) -> Iterable[Sweep]:
    """Return all of them by kernel, problem and device, as the stored ones come."""
    if not bundled:
        return stored
    return sorted([*stored, *bundled], key=lambda sweep: (sweep.problem.kernel, sweep.problem.key, str(sweep.device)))


def bundled_devices() -> list[Device]:
    """Return the devices of the bundles' sweeps."""
    return list({sweep.device: None for sweep in bundle_layer(settings.current().bundles).iter_sweeps()})


def find_sweep(store: Store | None, uid: str) -> Sweep:
    """Return the sweep of the store, or of a bundle, with this uid, or with the only one that starts like this.

    Raises UnknownSweep, or TunedbError if there is no store either.
    """
    unknown: TunedbError = no_store()
    if store is not None:
        try:
            return store.get_sweep(uid)
        except UnknownSweep as error:
            if str(error).startswith("More than one"):
                raise
            unknown = error
    found = bundle_layer(settings.current().bundles).find(uid)
    if len(found) > 1:
        raise UnknownSweep(
            f"More than one sweep has a uid that starts with {uid}, in bundles. Run: tunedb ls{store_option()}"
        )
    if not found:
        raise unknown
    return found[0] if store is None else _with_marks(store, found)[0]


def _with_marks(store: Store, sweeps: list[Sweep]) -> list[Sweep]:
    marks = store.marks.get_of([sweep.uid for sweep in sweeps])
    return [dataclasses.replace(sweep, marks=tuple(marks.get(sweep.uid, ()))) for sweep in sweeps]


def write_bundle_of(sweeps: Iterable[Sweep], output: str, *, only_winners: bool) -> int:
    """Write a bundle of the sweeps, read with their trials; return how many it has. Raises OSError."""
    from tunedb.store.bundle.writing import bundle_bytes, write_bundle

    content, count = bundle_bytes(_importable(sweeps), only_winners=only_winners)
    if count:
        write_bundle(Path(output), content)
    return count


def check_output(output: str) -> None:
    """Raise SettingError for a file that a bundle can't be written to, or should not be: a store."""
    from tunedb.store.bundle.file_format import MAGIC, is_bundle

    if output == "-":
        raise SettingError("A bundle is not text: name a file with -o, such as tuned.db.")
    head = b""
    if Path(output).is_file():
        with Path(output).open("rb") as file:
            head = file.read(100)
    if head.startswith(MAGIC) and not is_bundle(head):
        raise SettingError(f"{output} is a database, and no bundle: it stays as it is. Name another file with -o.")


def _importable(sweeps: Iterable[Sweep]) -> Iterator[Sweep]:
    from tunedb.store.exchange.jsonl import is_importable

    return (sweep for sweep in sweeps if is_importable(sweep))
