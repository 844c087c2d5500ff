"""What is stored, for every reader that lists it: the sweeps of one store, and those that only bundles have."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from tunedb.core.device import Device
from tunedb.core.problem import Config, Problem
from tunedb.core.sweep import Confirmation, Mark, Sweep, listed_order
from tunedb.errors import AmbiguousUid, UnknownSweep
from tunedb.store.bundle_lists import BundleLists
from tunedb.store.bundles import BundleLayer, bundle_layer
from tunedb.store.interface import SweepLists, SweptNames

if TYPE_CHECKING:
    from tunedb.store import Store


class KnownNames(SweptNames, Protocol):
    """What one database has sweeps of, and which uids it knows."""

    def known_uids(self, uids: Sequence[str]) -> set[str]:
        """Return those of these uids that finished sweeps of the store have."""


class ListedStore(SweepLists, Protocol):
    """One database as `Stored` reads it: a `Store` or a `ReadStore`."""

    @property
    def upkeep(self) -> KnownNames:
        """What it has sweeps of."""

    @property
    def whole(self) -> Store:
        """The database with all methods, which loads SQLAlchemy."""

    def get_sweep(self, uid: str) -> Sweep:
        """Return the sweep with this uid, or with the only one that starts like this, with its trials."""

    def get_marks_of(self, sweep_uids: list[str]) -> Mapping[str, list[Mark]]:
        """Return the marks of these sweeps by uid."""

    def get_confirmations_of(self, sweep_uids: list[str]) -> Mapping[str, list[Confirmation]]:
        """Return the confirmations of these sweeps by uid."""


class Stored:
    """A store, which need not exist, and bundles: everything that is listed, found by uid or named is read by this.

    The store is the local one, or the shared one where a reader asks for that. A sweep that both have is the store's.
    A bundle's sweep has the marks and the confirmations that the store has of it. `listing` is the command that lists
    all of it, for messages.

    What tunedb itself ships, hundreds of sweeps for each kind of GPU, answers calls like any bundle: it is read for a
    problem, and for a uid that nothing else has. Lists and names are without it, unless `shipped`.
    """

    def __init__(
        self,
        store: ListedStore | None,
        bundles: BundleLayer | None,
        listing: str = "tunedb ls",
        *,
        shipped: bool = False,
    ) -> None:
        self.store = store
        self._listing = listing
        self._bundles = None if bundles is None else BundleLists(bundles, shipped=shipped)
        self._with_shipped = None if bundles is None else BundleLists(bundles)
        self._unlisted: dict[tuple[str, str], dict[Problem, list[Sweep]]] = {}  # by kernel hash and device
        self.upkeep = StoredNames(store, self._bundles)

    @property
    def is_empty(self) -> bool:
        """Whether there is neither a store nor a bundle of those that are listed."""
        return self.store is None and (self._bundles is None or self._bundles.is_empty)

    @property
    def whole(self) -> Store | None:
        """The store with all methods, which loads SQLAlchemy; None if there is none."""
        return None if self.store is None else self.store.whole

    def get_problem_sweeps(self, problem: Problem) -> list[Sweep]:
        """Return the finished sweeps of that problem on any device, of any kernel hash, without trials."""
        stored = [] if self.store is None else self.store.get_problem_sweeps(problem)
        bundled = [] if self._with_shipped is None else self._with_shipped.get_problem_sweeps(problem)
        return [*stored, *self._only_bundled(bundled)]

    def get_unlisted(self, problem: Problem, device: Device, kernel_hash: str) -> list[Sweep]:
        """Return the sweeps of that identity that lists leave out, and that may answer calls all the same."""
        if self._bundles is None:
            return []
        key = kernel_hash, device.digest
        if key not in self._unlisted:
            by_problem: dict[Problem, list[Sweep]] = {}
            for sweep in self._only_bundled(self._bundles.unlisted(problem.kernel, device, kernel_hash)):
                by_problem.setdefault(sweep.problem, []).append(sweep)
            self._unlisted[key] = by_problem
        return self._unlisted[key].get(problem, [])

    def iter_sweeps(
        self,
        *,
        kernel: str | None = None,
        device_name: str | None = None,
        finished: bool = True,
        with_trials: bool = False,
        latest: int | None = None,
    ) -> Iterator[Sweep]:
        """Yield the sweeps by kernel, problem and device; running ones only without `finished`.

        Of one problem and device those of the store come first, then those of bundles; of each by time of finish. With
        `latest`, only as many as that of the store and of each bundle, those that came last.
        """
        bundled = self.bundled(kernel=kernel, device_name=device_name, with_trials=with_trials, latest=latest)
        stored: Iterator[Sweep] = iter(())
        if self.store is not None:
            stored = self.store.iter_sweeps(
                kernel=kernel, device_name=device_name, finished=finished, with_trials=with_trials, latest=latest
            )
        if not bundled:
            yield from stored
            return
        yield from sorted([*stored, *bundled], key=listed_order)

    def bundled(
        self,
        *,
        kernel: str | None = None,
        device_name: str | None = None,
        with_trials: bool = False,
        latest: int | None = None,
        shipped: bool = False,
    ) -> list[Sweep]:
        """Return the sweeps that only bundles have, of a kernel and a device or all; also of tunedb's if `shipped`."""
        bundles = self._with_shipped if shipped else self._bundles
        if bundles is None:
            return []
        sweeps = bundles.iter_sweeps(kernel=kernel, device_name=device_name, with_trials=with_trials, latest=latest)
        return self._only_bundled(sweeps)

    def find(self, uid: str) -> Sweep:
        """Return the sweep with this uid, or with the only one that starts like this, with its trials.

        Raises AmbiguousUid if several start like this, UnknownSweep if none does.
        """
        found: list[Sweep] = []
        unknown = UnknownSweep(f"No sweep has a uid that starts with {uid}. Run: {self._listing}")
        if self.store is not None:
            try:
                found = [self.store.get_sweep(uid)]
            except AmbiguousUid:
                raise
            except UnknownSweep as error:
                unknown = error
        if self._bundles is not None and not (found and found[0].uid == uid):
            uids = {sweep.uid for sweep in found}
            found += [sweep for sweep in self._only_bundled(self._bundles.find(uid)) if sweep.uid not in uids]
        listing = self._listing
        if self._with_shipped is not None and not found:
            found, listing = self._only_bundled(self._with_shipped.find(uid)), f"{listing} --shipped"
        if len(found) > 1:
            raise AmbiguousUid(
                f"More than one sweep has a uid that starts with {uid}, with those of bundles. Run: {listing}"
            )
        if not found:
            raise unknown
        return found[0]

    def _only_bundled(self, sweeps: Iterable[Sweep]) -> list[Sweep]:
        """Return sweeps of bundles, each once, without those of the store, with what the store has about them."""
        unique = {sweep.uid: sweep for sweep in sweeps}
        if self.store is None or not unique:
            return list(unique.values())
        known = self.store.upkeep.known_uids(list(unique))
        uids = [uid for uid in unique if uid not in known]
        marks, confirmed = self.store.get_marks_of(uids), self.store.get_confirmations_of(uids)
        return [
            dataclasses.replace(
                unique[uid],
                marks=tuple(marks.get(uid, ())),
                confirmations=tuple(
                    {one.uid: one for one in (*unique[uid].confirmations, *confirmed.get(uid, ()))}.values()
                ),
            )
            if uid in marks or uid in confirmed
            else unique[uid]
            for uid in uids
        ]


def stored_with(store: ListedStore | None, bundles: tuple[str, ...]) -> Stored:
    """Return a store, or none, with the bundles at these paths and those of installed packages but tunedb."""
    return Stored(store, bundle_layer(bundles))


class StoredNames:
    """What a store and bundles have sweeps of."""

    def __init__(self, store: ListedStore | None, bundles: BundleLists | None) -> None:
        self._sources: list[SweptNames] = []
        if store is not None:
            self._sources.append(store.upkeep)
        if bundles is not None:
            self._sources.append(bundles)

    def devices(self, kernel: str | None = None) -> list[Device]:
        """Return the devices that finished sweeps are of: those of a kernel, or of all."""
        return list(dict.fromkeys(device for source in self._sources for device in source.devices(kernel)))

    def kernels(self) -> list[str]:
        """Return the names of the kernels that tuned sweeps are of, sorted."""
        return sorted({name for source in self._sources for name in source.kernels()})

    def problems(self, kernel: str) -> list[Problem]:
        """Return the problems of a kernel that finished sweeps are of, each once."""
        return list(dict.fromkeys(problem for source in self._sources for problem in source.problems(kernel)))

    def tried_configs(self, kernel: str) -> list[Config]:
        """Return the configs that sweeps of a kernel tried, each once."""
        return list(dict.fromkeys(config for source in self._sources for config in source.tried_configs(kernel)))
