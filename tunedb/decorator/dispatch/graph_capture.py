"""What of a decorated kernel is loaded: all that may be launched while a CUDA graph is captured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
import triton

from tunedb.decorator.call.arguments import Call, kind_of
from tunedb.decorator.call.specialization import has_descriptor
from tunedb.decorator.dispatch.codegen import MOST
from tunedb.errors import SweepError
from tunedb.runtime.loaded_kernel import is_call_loaded

if TYPE_CHECKING:
    from tunedb.decorator.autotuner import Autotuner


class Loaded:
    """The configs of one kernel that were launched, by what these launches were compiled for."""

    def __init__(self, kernel: Autotuner) -> None:
        self._kernel = kernel
        self._configs: dict[Any, list[triton.Config]] = {}

    def note(self, call: Call, index: int, config: triton.Config) -> None:
        """A call was launched with that config on the device of that index."""
        kind = self._kind_of(call, index)
        if len(self._configs) >= MOST:
            self._configs.clear()
        if kind is not None and config not in self._configs.setdefault(kind, []):
            self._configs[kind].append(config)

    def launch(self, call: Call, index: int, known: triton.Config | None) -> Any:
        """Launch with the config that is remembered for the call, or else with the first of the list that is loaded.

        Raises SweepError where none is.
        """
        kernel, noted = self._kernel, self._configs.get(self._kind_of(call, index), ())
        listed = [config for config in kernel.configs if config in noted and config is not known]
        is_set_late = any(map(has_descriptor, call.named.values()))
        # The kind does not tell what heuristics fill in, nor what the config's hook sets of a descriptor.
        for config in listed if known is None else [known, *listed]:
            if not is_set_late and not self._is_loaded(call, config):
                continue
            kernel.configure(call, config)
            if not is_set_late or self._is_loaded(call, config):
                return kernel.launch_with(call, config)
        raise not_loaded(kernel.name)

    def _is_loaded(self, call: Call, config: triton.Config) -> bool:
        return is_call_loaded(self._kernel.fn, call.args, {**call.kwargs, **config.all_kwargs()})

    def _kind_of(self, call: Call, index: int) -> tuple[Any, ...] | None:
        kernel = self._kernel
        found = kind_of(call, kernel.parameters, kernel.keys, kernel.buckets, loaded=True)
        return found and (index, *found)


def not_loaded(name: str) -> SweepError:
    """What a call in a capture raises where there is nothing to launch."""
    return SweepError(
        f"{name}: a CUDA graph is being captured, and no config of it is loaded for such arguments; nothing can be "
        "loaded or tuned now. To capture it, call it once before the capture."
    )


def is_capturing(index: int) -> bool:
    """Whether a CUDA graph is being captured on the current stream: then nothing can be loaded."""
    return index >= 0 and torch.cuda.is_available() and torch.cuda.is_current_stream_capturing()
