"""Lists of what bundles have, for commands and programs. They wait as long as it takes, as calls do not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from tunedb.core.device import Device
from tunedb.core.problem import Config, Problem
from tunedb.core.sweep import Sweep
from tunedb.store.bundles import BundleLayer

if TYPE_CHECKING:
    from tunedb.store.bundle.reading import Bundle

_T = TypeVar("_T")


class BundleLists:
    """What the bundles of a layer have: without the one that tunedb itself ships, unless `shipped`."""

    def __init__(self, layer: BundleLayer, *, shipped: bool = True) -> None:
        self._layer = layer
        self._shipped = shipped

    @property
    def is_empty(self) -> bool:
        """Whether there is no such bundle."""
        return not any(self._lists(bundle) for bundle in self._layer.opened())

    def get_problem_sweeps(self, problem: Problem) -> list[Sweep]:
        """Return the sweeps of that problem on any device, of any kernel hash."""
        return self._each(lambda bundle: bundle.get_problem_sweeps(problem))

    def unlisted(self, kernel: str, device: Device, kernel_hash: str) -> list[Sweep]:
        """Return the sweeps of a kernel on a device that the other bundle has, the one that tunedb itself ships."""

        def read(bundle: Bundle) -> list[Sweep]:
            if self._lists(bundle) or not bundle.may_have(kernel_hash, device):
                return []
            return bundle.get_kernel_sweeps(kernel, device, kernel_hash)

        return self._layer.read_each(read)

    def iter_sweeps(
        self,
        *,
        kernel: str | None = None,
        device_name: str | None = None,
        latest: int | None = None,
        with_trials: bool = False,
    ) -> Iterator[Sweep]:
        """Yield the sweeps of a kernel and a device, or all, bundle by bundle.

        With `latest`, of each bundle only as many as that, those that ended last.
        """
        asked: dict[str, Any] = {"kernel": kernel, "device_name": device_name, "latest": latest}
        yield from self._each(lambda bundle: list(bundle.iter_sweeps(**asked, with_trials=with_trials)))

    def devices(self, kernel: str | None = None) -> list[Device]:
        """Return the devices that sweeps are of: those of a kernel, or of all."""
        return list(dict.fromkeys(self._each(lambda bundle: bundle.devices(kernel))))

    def kernels(self) -> list[str]:
        """Return the names of the kernels, sorted."""
        return sorted(set(self._each(lambda bundle: bundle.kernels())))

    def problems(self, kernel: str) -> list[Problem]:
        """Return the problems of a kernel that sweeps are of, each once."""
        return list(dict.fromkeys(self._each(lambda bundle: bundle.problems(kernel))))

    def tried_configs(self, kernel: str) -> list[Config]:
        """Return the configs of a kernel whose trials are in a bundle, and the winners."""
        return list(dict.fromkeys(self._each(lambda bundle: bundle.tried_configs(kernel))))

    def find(self, uid: str) -> list[Sweep]:
        """Return the sweeps whose uids begin like this, each once, with trials."""
        return list({sweep.uid: sweep for sweep in self._each(lambda bundle: bundle.find(uid))}.values())

    def _lists(self, bundle: Bundle) -> bool:
        return self._shipped or not bundle.is_own

    def _each(self, read: Callable[[Bundle], list[_T]]) -> list[_T]:
        return self._layer.read_each(lambda bundle: read(bundle) if self._lists(bundle) else [])
