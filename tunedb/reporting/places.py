"""Places of sweeps that people name: a store (a path or URL), a bundle, or a file that `tunedb export` wrote."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tunedb._internal.redact import without_password
from tunedb.core.device import Device
from tunedb.core.sweep import Sweep
from tunedb.errors import ImportRejected, SettingError, StoreError
from tunedb.store.bundle.file_format import MAGIC, is_bundle
from tunedb.store.stored import Stored
from tunedb.tuner.stored_names import among

if TYPE_CHECKING:
    from tunedb.store.sql.copy_rates import CopyRate

FILE_ENDINGS = (".db", ".jsonl", ".sqlite")  # a name that ends so is meant to be a file's


@dataclass(frozen=True, slots=True)
class Held:
    """What a place holds: the names of its kernels, the devices of its sweeps, and of what was asked for the sweeps.

    The sweeps come with their trials. The copy rates are those of all devices, by digest.
    """

    kernels: Collection[str]
    devices: Collection[Device]
    sweeps: Sequence[Sweep]
    copy_rates: Mapping[str, CopyRate] = field(default_factory=dict)


def is_place(text: str) -> bool:
    """Say whether a text names a store, a bundle or a file: a URL, or a path of a file that is there."""
    return "://" in text or Path(text).is_file()


def is_missing_file(text: str) -> bool:
    """Say whether a text that is no place looks like the path of one."""
    return text.endswith(FILE_ENDINGS) or text.startswith(("/", "./", "../", "~/"))


def printable_place(text: str) -> str:
    """Return the place as it was typed, without a password."""
    return without_password(text) if "://" in text else text


def read_place(text: str, kernels: Iterable[str] = ()) -> Held:
    """Return what a place holds of these kernels, or of all. A kernel may be named without its module.

    Raises StoreError if it can't be read, and SettingError if a name fits several kernels.
    """
    if "://" in text:
        return _of_store(text, kernels)
    with _readable(text), Path(text).open("rb") as file:
        head = file.read(100)
    if not head.startswith(MAGIC) and Path(text).suffix != ".db":
        with _readable(text):
            return _of_export(text, kernels)
    return _of_bundle(text, kernels) if is_bundle(head) else _of_store(text, kernels)


def held_by(stored: Stored, kernels: Iterable[str] = ()) -> Held:
    """Return what is stored of these kernels, or of all: nothing if there is neither a store nor a bundle."""
    kernels = list(kernels)
    names = stored.upkeep.kernels()
    wanted: Sequence[str | None] = among(kernels, names) if kernels else [None]
    sweeps = [sweep for kernel in wanted for sweep in stored.iter_sweeps(kernel=kernel, with_trials=True)]
    rates = {} if stored.whole is None else stored.whole.copy_rates.get()
    return Held(names, stored.upkeep.devices(), sweeps, rates)


def _of_store(text: str, kernels: Iterable[str]) -> Held:
    from tunedb.store import open_store

    store = open_store(text, migrate=False, create=False)
    if store is None:
        raise StoreError(f"There is no store at {printable_place(text)}.")
    with store:
        return held_by(Stored(store, None), kernels)


def _of_bundle(text: str, kernels: Iterable[str]) -> Held:
    from tunedb.store.bundle import sources
    from tunedb.store.bundle.reading import Bundle

    with contextlib.closing(Bundle(sources.named([text])[0])) as bundle:
        return _of_these(bundle.iter_sweeps(), kernels)


def _of_export(text: str, kernels: Iterable[str]) -> Held:
    from tunedb.store.exchange.jsonl import load

    try:
        return _of_these(load(text, strict=True).sweeps, kernels)
    except ImportRejected as error:
        raise ImportRejected(
            f"{text} is neither a store, a bundle, nor a file that tunedb export wrote: {error}"
        ) from None


def _of_these(sweeps: Iterable[Sweep], kernels: Iterable[str]) -> Held:
    kernels, sweeps = list(kernels), list(sweeps)
    stored = {sweep.problem.kernel for sweep in sweeps}
    wanted = among(kernels, stored) if kernels else stored
    devices = {sweep.device for sweep in sweeps}
    return Held(stored, devices, [sweep for sweep in sweeps if sweep.problem.kernel in wanted])


@contextlib.contextmanager
def _readable(text: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise SettingError(f"Can't read {text}: {error.strerror or error}.") from None
