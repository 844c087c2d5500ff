"""Bundles as commands see them: one with the store that they read, and as a file that export writes."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from tunedb import settings
from tunedb.cli.opening import no_store, reading, sweeps_of, writing
from tunedb.cli.store_words import printable_store, store_option
from tunedb.core.sweep import Sweep
from tunedb.errors import AmbiguousUid, SettingError, TunedbError, UnknownSweep
from tunedb.store.bundles import bundle_layer
from tunedb.store.stored import Stored

if TYPE_CHECKING:
    from tunedb.store import Store
    from tunedb.store.reading import ReadStore


def all_stored(store: Store | ReadStore | None, *, bundles: bool = True, shipped: bool = False) -> Stored:
    """Return what is stored for a command that opened a store, or none: with bundles, if not told otherwise.

    `shipped` says whether what tunedb itself ships is listed as well.
    """
    layer = bundle_layer(settings.current().bundles) if bundles else None
    return Stored(store, layer, f"tunedb ls{store_option()}", shipped=shipped)


def find_sweep(store: Store | None, uid: str) -> Sweep:
    """Return the sweep of the store, or of a bundle, with this uid, or with the only one that starts like this.

    Raises AmbiguousUid if several start like this, UnknownSweep if none does, TunedbError if there is no store either.
    """
    try:
        return all_stored(store).find(uid)
    except AmbiguousUid:
        raise
    except UnknownSweep:
        if store is None and all_stored(None).is_empty:
            raise no_store() from None
        raise


@contextlib.contextmanager
def storing_about(uid: str) -> Iterator[Store]:
    """Open the store to keep something about a sweep. It is made for one that only a bundle has.

    Raises TunedbError if there is neither a store nor a bundle with the sweep.
    """
    with reading(announced=False) as store:
        if store is not None:
            yield store
            return
        find_sweep(store, uid)
    with writing() as store:
        yield store


def unused_note(count: int, what: str, verb: str, command: str) -> str:
    """Return a sentence about what bundles have that a command left out, with the command that takes it; or nothing."""
    if not count:
        return ""
    return (
        f"Left out: {count} {what}{'' if count == 1 else 's'} of bundles, tunedb's own included, that no call on this "
        f"machine was counted for. To {verb} these too: {command}"
    )


@dataclasses.dataclass(frozen=True, slots=True)
class Exported:
    """What is exported: of the store, and of bundles only if asked for, as others tuned these."""

    kernel: str | None
    device: str | None
    bundles: bool = False
    shipped: bool = False  # also what tunedb itself ships

    def sweeps(self, store: Store | None, *, with_trials: bool = False, announced: bool = True) -> Iterator[Sweep]:
        """Yield the sweeps that leave their store, ordered. A name that none has gets a hint if `announced`."""
        stored = all_stored(store, bundles=self.bundles, shipped=self.shipped)
        sweeps = sweeps_of(
            stored, kernel=self.kernel, device=self.device, with_trials=with_trials, announced=announced
        )  # fmt: skip
        return (sweep for sweep in sweeps if sweep.leaves_its_store)

    def nothing_found(self, store: Store | None) -> TunedbError:
        """Return the error for an export that found nothing, with the options that find what bundles have."""
        place = printable_store()
        of_kernel = f" of {self.kernel}" if self.kernel else ""
        on_device = f" on {self.device}" if self.device else ""
        what = (
            f"There is no store at {place}"
            if store is None
            else f"No sweep{of_kernel}{on_device} with a winner is stored in {place}"
        )
        hint = f"See: tunedb ls{store_option()}"
        for options, other in (
            ("--bundles", dataclasses.replace(self, bundles=True)),
            ("--bundles --shipped", dataclasses.replace(self, bundles=True, shipped=True)),
        ):
            count = 0 if other == self else sum(1 for _ in other.sweeps(store, announced=False))
            if count:
                hint = f"Bundles have {count}: add {options} to export them."
                break
        return TunedbError(f"{what}: no file was written. {hint}")


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
