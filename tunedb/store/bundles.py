"""All bundles of a process as one read-only layer, found and opened at its first use. It never raises."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from tunedb._internal import forks
from tunedb._internal.control import let_pass
from tunedb.core.device import Device
from tunedb.core.problem import Config, Problem
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
    with one log record. `find_installed` returns the bundles of packages.
    """

    def __init__(
        self, paths: Sequence[str], find_installed: Callable[[], list[BundleSource]] = sources.installed
    ) -> None:
        self._paths = paths
        self._find_installed = find_installed
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
        """Whether the bundles were opened, and there is one. Opens none."""
        return bool(self._bundles)

    def opened(self) -> list[Bundle]:
        """Return the bundles that can be used, on the caller's thread."""
        if self._bundles is None:
            bundles = []
            for source in (*sources.named(self._paths), *self._find_installed()):
                try:
                    from tunedb.store.bundle.reading import Bundle  # here, because a Python may have no sqlite3

                    bundles.append(Bundle(source))
                except BundleRefused as error:
                    self._refuse(source.name, error)
                except ImportError as error:
                    remedy = "Install a Python that has the module sqlite3."
                    self._refuse(source.name, BundleRefused(f"{source.name} can't be read: {error}.", remedy))
            self._bundles = bundles
        return list(self._bundles)

    def get_sweeps(self, problem: Problem, device: Device, kernel_hash: str) -> list[Sweep]:
        """Return the sweeps of that identity in all bundles; none if they can't be read in time."""
        return self._ask(lambda bundle: bundle.get_sweeps(problem, device, kernel_hash))

    def get_kernel_sweeps(self, kernel: str, device: Device, kernel_hash: str, most: int | None = None) -> list[Sweep]:
        """Return the sweeps of a kernel on a device, of each bundle the newest first, at most `most`."""
        return self._ask(lambda bundle: bundle.get_kernel_sweeps(kernel, device, kernel_hash, most))

    def get_problem_sweeps(self, problem: Problem) -> list[Sweep]:
        """Return the sweeps of that problem on any device, of any kernel hash. Waits as long as it takes."""
        return self._each(lambda bundle: bundle.get_problem_sweeps(problem))

    def iter_sweeps(
        self,
        *,
        kernel: str | None = None,
        device_name: str | None = None,
        latest: int | None = None,
        with_trials: bool = False,
    ) -> Iterator[Sweep]:
        """Yield the sweeps of a kernel and a device, or all, bundle by bundle. Waits as long as it takes.

        With `latest`, of each bundle only as many as that, those that ended last.
        """
        asked: dict[str, Any] = {"kernel": kernel, "device_name": device_name, "latest": latest}
        yield from self._each(lambda bundle: list(bundle.iter_sweeps(**asked, with_trials=with_trials)))

    def devices(self, kernel: str | None = None) -> list[Device]:
        """Return the devices that sweeps are of: those of a kernel, or of all. Waits as long as it takes."""
        return list(dict.fromkeys(self._each(lambda bundle: bundle.devices(kernel))))

    def kernels(self) -> list[str]:
        """Return the names of the kernels, sorted. Waits as long as it takes."""
        return sorted(set(self._each(lambda bundle: bundle.kernels())))

    def problems(self, kernel: str) -> list[Problem]:
        """Return the problems of a kernel that sweeps are of, each once. Waits as long as it takes."""
        return list(dict.fromkeys(self._each(lambda bundle: bundle.problems(kernel))))

    def tried_configs(self, kernel: str) -> list[Config]:
        """Return the configs of a kernel whose trials are in a bundle, and the winners. Waits as long as it takes."""
        return list(dict.fromkeys(self._each(lambda bundle: bundle.tried_configs(kernel))))

    def find(self, uid: str) -> list[Sweep]:
        """Return the sweeps whose uids begin like this, each once, with trials. Waits as long as it takes."""
        return list({sweep.uid: sweep for sweep in self._each(lambda bundle: bundle.find(uid))}.values())

    def close(self) -> None:
        """Close the bundles. They are opened again at the next use."""
        bundles, self._bundles = self._bundles, None
        for bundle in bundles or ():
            bundle.close()

    def _ask(self, read: Callable[[Bundle], list[Sweep]]) -> list[Sweep]:
        if self._bundles == []:  # there are none, which is the usual case
            return []
        job = self._thread.submit(lambda: self._each(read))
        if not wait_budget.current().wait(job, READ_S):
            job.cancel()
            self._say_once("late", f"Bundles gave no answer within {READ_S:g} s; calls go on without them.")
        return job.value or []

    def _each(self, read: Callable[[Bundle], list[_T]]) -> list[_T]:
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
