"""What of a decorated kernel is loaded: all that may be launched while a CUDA graph is captured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
import triton

from tunedb import bound
from tunedb.decorated.arguments import Call, kind_of
from tunedb.decorated.fast import MOST
from tunedb.errors import SweepError

if TYPE_CHECKING:
    from tunedb.decorated.autotuner import Autotuner


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

    def launch(self, call: Call, index: int) -> Any:
        """Launch with the first config of the list that is loaded. Raises SweepError where none is."""
        kernel, noted = self._kernel, self._configs.get(self._kind_of(call, index), ())
        for config in kernel.configs:
            if config not in noted:
                continue
            kernel.configure(call, config)
            # The kind does not tell what heuristics fill in, nor what that hook has set.
            if bound.is_loaded(kernel.fn, call.args, {**call.kwargs, **config.all_kwargs()}):
                return kernel.launch_with(call, config)
        raise not_loaded(kernel.name)

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
