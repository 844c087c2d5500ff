"""A launch as a sweep times it: Triton's last step alone, so that the GPU does not wait for the host between two."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import triton

from tunedb.decorator.call.arguments import Call
from tunedb.decorator.call.specialization import can_plan
from tunedb.decorator.kernel import KernelSpec
from tunedb.runtime import compat_triton
from tunedb.runtime.loaded_kernel import load_call


def direct_launch(spec: KernelSpec, call: Call, config: triton.Config) -> Callable[[], object] | None:
    """Return a launch of the call with a config, its arguments in order and its grid computed.

    Returns None if Triton has to launch: heuristics fill arguments in, or something observes each launch. Raises what
    the grid function raises.
    """
    jit, names = spec.jit, spec.parameters.names
    if spec.heuristics or compat_triton.is_launch_replaced(spec.fn) or compat_triton.is_interpreted(jit):
        return None
    if not spec.parameters.is_plain or compat_triton.is_observed(jit):
        return None
    values = {**spec.parameters.defaults, **call.named, **config.all_kwargs()}
    if not all(name in values and can_plan(values[name]) for name in names):
        return None
    loaded = load_call(spec.fn, call.args, {**call.kwargs, **config.all_kwargs()})
    if loaded.run is None:
        return None
    arguments = {name: values[name] for name in names}
    grid = call.grid(arguments) if callable(call.grid) else call.grid
    return partial(loaded.run, tuple(grid), *arguments.values())
