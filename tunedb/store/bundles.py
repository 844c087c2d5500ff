"""All bundles of a process as one read-only layer, found and opened at its first use. It never raises."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

from tunedb._internal import forks
from tunedb._internal.control import let_pass
from tunedb._internal.setting_values import OFF
from tunedb.core.device import Device
from tunedb.core.problem import Problem
from tunedb.core.sweep import Sweep
from tunedb.store import wait_budget
from tunedb.store.bundle import sources
from tunedb.store.bundle.file_format import BundleRefused
from tunedb.store.bundle.sources import BundleSource
from tunedb.store.store_thread import StoreThread

if TYPE_CHECKING:
    from tunedb.store.bundle.reading import Bundle

_T = TypeVar("_T")
READ_S = 1.0  # a call waits this long for what is in the bundles: their files may be on a network that hangs

_log = logging.getLogger("tunedb")
_logged: set[str] = set()  # what this process has said about bundles, however often the settings change
_layers: dict[tuple[str, ...], BundleLayer] = {}  # by the setting; kept when other settings change
_abandoned: list[Bundle] = []  # of the parent of this forked process: they are neither used nor closed in it


class BundleLayer:
    """The bundles that the settings name, and those of installed packages.

    A call reads them on a thread of their own, within its time for stores; a bundle that can't be used is left out,
    with one log record, and so is one without sweeps, with none. `find_installed` returns the bundles of packages.
    The setting `off` leaves out all.
    """

    def __init__(
        self, paths: Sequence[str], find_installed: Callable[[], list[BundleSource]] = sources.installed
    ) -> None:
        is_off = tuple(paths) == (OFF,)
        self._paths: Sequence[str] = () if is_off else paths
        self._find_installed = list if is_off else find_installed
        self._thread = StoreThread("tunedb-bundles")
        self._bundles: list[Bundle] | None = None
        self.refused: dict[str, BundleRefused] = {}  # why, by name
        forks.renew_in_child(self)

    def renew(self) -> None:
        """Open the bundles again in a forked child: connections are the parent's."""
        _abandoned.extend(self._bundles or ())
        self._bundles = None

    @property
    def names(self) -> list[str]:
        """The names of the bundles that can be used."""
        return [bundle.name for bundle in self.opened()]

    @property
    def is_known_to_have_any(self) -> bool:
        """Whether the bundles were opened, and there is one besides tunedb's own. Opens none."""
        return any(not bundle.is_own for bundle in self._bundles or ())

    def opened(self) -> list[Bundle]:
        """Return the bundles that can be used, on the caller's thread."""
        if self._bundles is None:
            bundles = []
            for source in (*sources.named(self._paths), *self._find_installed()):
                try:
                    from tunedb.store.bundle.reading import Bundle  # here, because a Python may have no sqlite3

                    bundle = Bundle(source)
                    if bundle.is_empty:
                        bundle.close()
                    else:
                        bundles.append(bundle)
                except BundleRefused as error:
                    self._refuse(source.name, error)
                except ImportError as error:
                    remedy = "Install a Python that has the module sqlite3."
                    self._refuse(source.name, BundleRefused(f"{source.name} can't be read: {error}.", remedy))
            self._bundles = bundles
        return list(self._bundles)

    def get_sweeps(self, problem: Problem, device: Device, kernel_hash: str) -> list[Sweep]:
        """Return the sweeps of that identity in all bundles; none if they can't be read in time."""
        return self._ask(kernel_hash, device, lambda bundle: bundle.get_sweeps(problem, device, kernel_hash))

    def get_kernel_sweeps(self, kernel: str, device: Device, kernel_hash: str, most: int | None = None) -> list[Sweep]:
        """Return the sweeps of a kernel on a device, of each bundle the newest first, at most `most`."""
        return self._ask(
            kernel_hash, device, lambda bundle: bundle.get_kernel_sweeps(kernel, device, kernel_hash, most)
        )

    def get_devices(self, kernel_hash: str) -> list[Device]:
        """Return the devices that the bundles have sweeps of a kernel of; none if they can't be read in time."""
        return self._ask(kernel_hash, None, lambda bundle: bundle.get_devices(kernel_hash))

    def read_each(self, read: Callable[[Bundle], list[_T]]) -> list[_T]:
        """Return what is read from each bundle, one after the other, on the caller's thread."""
        found: list[_T] = []
        for bundle in self.opened():
            try:
                found += read(bundle)
            # sqlite3's, or whatever else a file gives that was changed after it was checked: a call goes on.
            except Exception as error:
                let_pass(error)
                self._refuse(bundle.name, BundleRefused(f"{bundle.name} can't be read: {error}."))
                self._bundles = [other for other in self._bundles or () if other is not bundle]
        return found

    def close(self) -> None:
        """Close the bundles. They are opened again at the next use."""
        bundles, self._bundles = self._bundles, None
        for bundle in bundles or ():
            bundle.close()

    def _ask(self, kernel_hash: str, device: Device | None, read: Callable[[Bundle], list[_T]]) -> list[_T]:
        bundles = self._bundles
        if bundles is not None and not any(bundle.may_have(kernel_hash, device) for bundle in bundles):
            return []  # the usual case: there are none, or only tunedb's own
        job = self._thread.submit(lambda: self.read_each(read))
        if not wait_budget.current().wait(job, READ_S):
            job.cancel()
            self._say_once("late", f"Bundles gave no answer within {READ_S:g} s; calls go on without them.")
        return job.value or []

    def _refuse(self, name: str, reason: BundleRefused) -> None:
        self.refused[name] = reason
        self._say_once(name, f"A bundle is left out. {reason}")

    @staticmethod
    def _say_once(about: str, sentence: str) -> None:
        if about not in _logged:
            _logged.add(about)
            _log.warning("%s", sentence)


def bundle_layer(paths: tuple[str, ...]) -> BundleLayer:
    """Return this process's layer of the bundles at these paths and of those in packages."""
    layer = _layers.get(paths)
    if layer is None:
        layer = _layers[paths] = BundleLayer(paths)
    return layer
