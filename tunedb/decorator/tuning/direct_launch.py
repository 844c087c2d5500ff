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
    """Return a launch of the call with a config: arguments in order, heuristics and the grid computed once.

    Returns None if Triton has to launch, because something observes each launch or changes it. Raises what heuristics
    and the grid function raise.
    """
    jit, names = spec.jit, spec.parameters.names
    if compat_triton.is_interpreted(jit) or compat_triton.is_launch_replaced(spec.fn):
        return None
    if not spec.parameters.is_plain or compat_triton.is_observed(jit):
        return None
    seen = {**call.named, **call.extra, **config.all_kwargs()}
    for name, function in spec.heuristics:
        seen[name] = function(seen)
    values = {**spec.parameters.defaults, **seen}
    if not all(name in values and can_plan(values[name]) for name in names):
        return None
    loaded = load_call(spec.fn, call.args, {**call.kwargs, **config.all_kwargs()})
    if loaded.run is None:
        return None
    arguments = {name: values[name] for name in names}
    grid = call.grid(arguments) if callable(call.grid) else call.grid
    return partial(loaded.run, tuple(grid), *arguments.values())
