"""A GPU that is not there: Triton compiles for it in earnest, and a launch is noted down instead of made.

So the paths that only a GPU takes (plans, bound kernels, captures) run on a machine that has none. Tensors lie on the
CPU; nothing is computed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from triton.backends.compiler import GPUTarget
from triton.compiler import CompiledKernel
from triton.runtime import driver

from tunedb.core.device import Device
from tunedb.decorator import launcher, resolve
from tunedb.decorator.dispatch import plans
from tunedb.decorator.tuning import workload
from tunedb.runtime import current_device
from tunedb.tuner import sweeper

FIRST = 64  # no real device's index: Triton keeps what it has compiled by that, for the GPU that may be here as well
GPU = Device("Stub 9000", "cuda", "sm_90", 132)


def once(launch: Callable[[], object], quantiles: Sequence[float] = (0.5, 0.2, 0.8)) -> list[float]:
    """A benchmark function to decorate with: one launch, and always the same time, in milliseconds."""
    launch()
    return [1.0] * len(quantiles)


@dataclass
class StubDriver:
    """What Triton asks of a driver. `launches` are grid and arguments of every launch, `functions` what it ran."""

    launches: list[tuple[Any, ...]] = field(default_factory=list)
    functions: list[int] = field(default_factory=list)
    loaded: list[str] = field(default_factory=list)
    index: int = FIRST
    capturing: bool = False

    def __post_init__(self) -> None:
        self.utils = SimpleNamespace(get_device_properties=self._properties, load_binary=self._load)

    def get_current_device(self) -> int:
        """The index that the test set."""
        return self.index

    def get_current_stream(self, device: int) -> int:
        """The null stream."""
        return 0

    def get_current_target(self) -> GPUTarget:
        """A Hopper."""
        return GPUTarget("cuda", 90, 32)

    def get_benchmarker(self) -> Any:
        """One launch, and always the same time."""
        return once

    def launcher_cls(self, source: Any, metadata: Any) -> Any:
        """A launcher that notes down what it gets."""

        def launch(*given: Any) -> None:
            # The kernel outlives the test that compiled it, and so does its launcher.
            driver.active.launches.append((given[:3], given[9:]))
            driver.active.functions.append(given[4])

        return launch

    def _properties(self, device: int) -> dict[str, int]:
        return {"max_shared_mem": 1 << 18, "multiprocessor_count": 132}

    def _load(self, name: str, kernel: bytes, shared: int, device: int) -> tuple[object, int, int, int, int]:
        assert not self.capturing, "a module can't be loaded while a graph is captured"
        self.loaded.append(name)
        return _MODULE, len(self.loaded), 32, 0, 1024


_MODULE = object()
_unload = getattr(CompiledKernel, "__del__", None)


def _unload_others(kernel: CompiledKernel) -> None:
    """From 3.9 on Triton unloads a module with its kernel: ours was never loaded, and the stub may be gone by then."""
    if kernel.module is not _MODULE:
        _unload(kernel)


if _unload is not None:
    CompiledKernel.__del__ = _unload_others


@contextlib.contextmanager
def stub_gpu(patch: pytest.MonkeyPatch) -> Iterator[StubDriver]:
    """Have Triton and tunedb believe in a GPU for a block."""
    stub = StubDriver()
    before = driver._active
    patch.setenv("TRITON_DEFAULT_FP_FUSION", "1")  # Triton 3.9 warns where it is left open
    patch.setattr(current_device, "gpu", lambda index: GPU)
    patch.setattr(sweeper, "untraced", lambda index: contextlib.nullcontext())
    patch.setattr(workload, "_on_device", lambda index: contextlib.nullcontext())
    for module in (resolve, plans):
        patch.setattr(module, "is_on_host", lambda tensor: False)
    for module in (launcher, plans):
        patch.setattr(module, "is_capturing", lambda index: stub.capturing)
    driver.set_active(stub)
    try:
        yield stub
    finally:
        driver._active = before  # Triton has no way to set none
