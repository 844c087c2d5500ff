"""Bundles as commands see them: one with the store that they read, and as a file that export writes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from tunedb import settings
from tunedb.cli.names import devices_of_list
from tunedb.cli.opening import no_store
from tunedb.cli.store_words import store_option
from tunedb.core.sweep import Sweep
from tunedb.errors import AmbiguousUid, SettingError, TunedbError, UnknownSweep
from tunedb.store.bundles import bundle_layer
from tunedb.store.stored import Stored

if TYPE_CHECKING:
    from tunedb.store import Store
    from tunedb.store.reading import ReadStore


def all_stored(store: Store | ReadStore | None, *, fleet: bool = False) -> Stored:
    """Return what is stored for a command that opened a store, or none: with bundles, unless it asks the fleet's."""
    return Stored(store, None if fleet else bundle_layer(settings.current().bundles))


def bundled_sweeps(
    store: Store | ReadStore | None,
    *,
    kernel: str | None = None,
    device: str | None = None,
) -> list[Sweep]:
    """Return the bundles' sweeps of a kernel and a device, or all of them, that the store does not have as well.

    They come with their trials.
    """
    stored = all_stored(store)
    if device is None:
        return stored.bundled(kernel=kernel, with_trials=True)
    wanted = devices_of_list(stored, device)
    return [sweep for sweep in stored.bundled(kernel=kernel, with_trials=True) if sweep.device in wanted]


def find_sweep(store: Store | None, uid: str) -> Sweep:
    """Return the sweep of the store, or of a bundle, with this uid, or with the only one that starts like this.

    Raises AmbiguousUid if several start like this, UnknownSweep if none does, TunedbError if there is no store either.
    """
    unknown: TunedbError = no_store()
    found: list[Sweep] = []
    if store is not None:
        try:
            found = [store.get_sweep(uid)]
        except AmbiguousUid:
            raise
        except UnknownSweep as error:
            unknown = error
    if not (found and found[0].uid == uid):
        found += [sweep for sweep in all_stored(store).find_bundled(uid) if sweep.uid not in {one.uid for one in found}]
    if len(found) > 1:
        raise AmbiguousUid(
            f"More than one sweep has a uid that starts with {uid}, with those of bundles. "
            f"Run: tunedb ls{store_option()}"
        )
    if not found:
        raise unknown
    return found[0]


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
