"""A call of a decorated kernel as it is recorded, and what another process compiles for it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any

import triton
from triton.backends.compiler import GPUTarget

from tunedb.core.source_text import HashUnavailable
from tunedb.decorator.call.arguments import Call
from tunedb.decorator.call.specialization import binary_specialization
from tunedb.decorator.configs import run_hook
from tunedb.decorator.kernel import KernelSpec, KernelState
from tunedb.decorator.recording import call_log
from tunedb.decorator.recording.argument_text import decode, encode
from tunedb.runtime import compat_triton
from tunedb.runtime.compile_job import CompileJob

_GRID = (1,)  # nothing is launched


def record_call(state: KernelState, call: Call) -> None:
    """Record a call that was served, unless one like it is recorded: of the same problem, and compiled for the same.

    Its configs are recorded too: a module may define other configs when it is imported on a machine without a GPU.
    """
    spec = state.spec

    def made() -> dict[str, Any]:
        configs: list[str] = []
        with contextlib.suppress(HashUnavailable):  # of a knob
            configs = [state.candidates.stored(config).key for config in state.prune(call)]
        arguments = {name: encode(value) for name, value in call.named.items()}
        return {"kernel": spec.name, "arguments": arguments, "configs": configs}

    try:
        problem = spec.problem(call).key
    except HashUnavailable:  # of a function that it was given
        problem = ""
    specialization = binary_specialization(call.named, spec.parameters.constexprs)
    call_log.record("call", spec.jit, (problem, repr(specialization)), made)


def call_of(spec: KernelSpec, arguments: Mapping[str, Any]) -> Call:
    """Return a recorded call, with tensors without memory. Raises what finding its functions raises."""
    return spec.call(_GRID, (), {name: decode(value) for name, value in arguments.items()})


def autotuners_of(place: str) -> Iterator[triton.runtime.Autotuner]:
    """Yield the autotuned kernels around the function at `module:name`, among what its module has at the top.

    Raises what importing the module raises.
    """
    module, _, name = place.partition(":")
    scope = vars(import_module(module))
    for value in [scope.get(name.partition(".")[0]), *scope.values()]:
        while value is not None and not isinstance(value, triton.runtime.Autotuner) and hasattr(value, "fn"):
            value = value.fn  # heuristics around it
        if isinstance(value, triton.runtime.Autotuner):
            function = getattr(compat_triton.jit_of(value), "fn", None)
            if getattr(function, "__qualname__", None) == name:
                yield value


def job_of(spec: KernelSpec, call: Call, config: triton.Config, target: GPUTarget) -> CompileJob:
    """Return what compiles the kernel of a call with a config, which it may change: hooks set blocks of descriptors.

    Raises what hooks and heuristics raise, and what an unknown Triton does.
    """
    run_hook(config, call)
    values = {**call.named, **config.all_kwargs()}
    for name, function in spec.heuristics:
        values[name] = function({**values, "grid": call.grid, "warmup": False})
    return CompileJob.of(spec.jit, (), values, target)
