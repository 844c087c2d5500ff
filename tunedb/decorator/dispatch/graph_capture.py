"""Launches during the capture of a CUDA graph, when only a loaded kernel may be launched."""

from __future__ import annotations

from typing import Any

import torch
import triton

from tunedb.decorator.call.arguments import Call
from tunedb.decorator.call.specialization import binary_specialization, has_descriptor
from tunedb.decorator.configs import run_hook
from tunedb.decorator.dispatch.codegen import MAX_PLANS
from tunedb.decorator.kernel import KernelState
from tunedb.errors import SweepError
from tunedb.runtime.loaded_kernel import is_call_loaded


class GraphCapture:
    """The configs of one kernel that were launched before, by what those launches were compiled for."""

    def __init__(self, state: KernelState) -> None:
        self._state = state
        self._launched: dict[Any, list[triton.Config]] = {}

    def note(self, call: Call, index: int, config: triton.Config) -> None:
        """Record that a call was launched with this config on the device of that index."""
        key = self._key_of(call, index)
        if len(self._launched) >= MAX_PLANS:
            self._launched.clear()
        if key is not None and config not in self._launched.setdefault(key, []):
            self._launched[key].append(config)

    def config_for(self, call: Call, index: int, remembered: triton.Config | None) -> triton.Config:
        """Return the config to launch in a capture, after running its hook.

        That is the config remembered for the call, else the first of the list that is loaded. Raises
        SweepError if none is loaded.
        """
        launched = self._launched.get(self._key_of(call, index), ())
        loaded = [config for config in self._state.configs if config in launched and config is not remembered]
        has_descriptors = any(map(has_descriptor, call.named.values()))
        # The key does not cover what heuristics fill in, nor the blocks that a config's hook sets: ask Triton.
        for config in loaded if remembered is None else [remembered, *loaded]:
            if not has_descriptors and not self._is_loaded(call, config):
                continue
            run_hook(config, call)
            if not has_descriptors or self._is_loaded(call, config):
                return config
        raise not_loaded(self._state.spec.name)

    def _is_loaded(self, call: Call, config: triton.Config) -> bool:
        return is_call_loaded(self._state.spec.fn, call.args, {**call.kwargs, **config.all_kwargs()})

    def _key_of(self, call: Call, index: int) -> tuple[Any, ...] | None:
        key = binary_specialization(call.named, self._state.spec.parameters.constexprs)
        return key and (index, *key)


def not_loaded(name: str) -> SweepError:
    """Return the error of a call in a capture for which no config is loaded."""
    return SweepError(
        f"{name}: a CUDA graph is being captured, and no config of the kernel is loaded for such arguments; nothing "
        "can be loaded or tuned now. To capture it, call it once before the capture."
    )


def is_capturing(index: int) -> bool:
    """Say whether a CUDA graph is being captured on the current stream."""
    return index >= 0 and torch.cuda.is_available() and torch.cuda.is_current_stream_capturing()
