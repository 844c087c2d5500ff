"""Recorded lines: what `tunedb precompile` compiles for each, on a device that need not be here."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from tunedb import registry
from tunedb._internal.control import let_pass
from tunedb.adoption.companion import Companion
from tunedb.core.device import Device, Placement
from tunedb.core.problem import Config, Problem
from tunedb.core.source_text import HashUnavailable
from tunedb.core.task import Choice, TuningTask
from tunedb.decorator.autotuner import Autotuner
from tunedb.decorator.recording.argument_text import decode
from tunedb.decorator.recording.recorded_call import autotuners_of, call_of, job_of
from tunedb.decorator.tuning.called_kernel import CalledKernel
from tunedb.errors import SettingError
from tunedb.runtime.compat_cache import GPUTarget
from tunedb.runtime.compile_job import CompileJob
from tunedb.runtime.precompile import CompilesForOthers, Kernel

KINDS = ("call", "problem", "launch")
# The options of a launch that its author sets. Triton derives the others from the device.
_AUTHORS_OPTIONS = (
    "num_warps", "num_stages", "num_ctas", "maxnreg", "enable_fp_fusion", "launch_cooperative_grid", "launch_pdl",
    "debug", "sanitize_overflow",
)  # fmt: skip

_OTHER_TEXT = "its source text, or a global that it reads, is not the one that was recorded"

Choose = Callable[[TuningTask], Choice]


@dataclass(frozen=True, slots=True)
class Line:
    """A recorded line. `device` is what it was recorded on, `folder` the first one of that process's `sys.path`."""

    kind: str  # one of KINDS
    content: Mapping[str, Any]
    device: Device
    folder: str
    source: str  # Triton's hash of the function's text

    @property
    def kernel(self) -> str:
        """The kernel's name."""
        return str(self.content.get("kernel") or self.content["function"].replace(":", "."))


def line_of(record: Mapping[str, Any]) -> Line | None:
    """Return the line of a JSON object; None if it is not a recorded one. Raises SettingError for a damaged one."""
    kind = next((kind for kind in KINDS if isinstance(record.get(kind), dict) and "device" in record), None)
    if kind is None:
        return None
    try:
        device = Device(**json.loads(record["device"]))
        return Line(kind, record[kind], device, str(record["folder"]), str(record["source"]))
    except (KeyError, TypeError, ValueError) as error:
        raise SettingError(f"expected a line that tunedb recorded, got a damaged one ({error}).") from None


def kernels_of(lines: Iterable[Line], choose: Choose, device: Device, target: GPUTarget) -> Iterator[Kernel]:
    """Yield what to compile for the lines, each once. `choose` returns the config that a task's calls get."""
    lines = list(lines)
    served = {line.content["function"] for line in lines if line.kind != "launch"}
    jobs: list[CompileJob | None] = []
    for line in lines:
        if line.kind == "launch" and line.content["function"] in served:
            continue  # the launches of a sweep's configs, or of one that was chosen on another device
        for kernel in _kernels(line, choose, Placement(device, None), target):
            if kernel.job is None or kernel.job not in jobs:
                jobs.append(kernel.job)
                yield kernel


def _kernels(line: Line, choose: Choose, placement: Placement, target: GPUTarget) -> list[Kernel]:
    if line.folder not in sys.path:
        sys.path.insert(0, line.folder)  # where that process found its modules
    try:
        if line.kind == "problem":
            problem = Problem(line.content["key"], line.kernel)
            return of_registered(problem, choose, placement, target, decode(line.content["tensor"]))
        kernel = _of_launch(line, target) if line.kind == "launch" else _of_call(line, choose, placement, target)
        is_same = kernel.job is None or kernel.job.find().cache_key == line.source
        return [kernel if is_same else replace(kernel, note=_OTHER_TEXT)]
    # A user's module may raise anything when it is imported, and so may the kernel's hooks and heuristics.
    except Exception as error:
        let_pass(error)
        reason = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
        return [Kernel(line.kernel, {}, {}, "recorded", fault=reason)]


def _of_call(line: Line, choose: Choose, placement: Placement, target: GPUTarget) -> Kernel:
    state = _decorated(line)._state
    spec, arguments = state.spec, line.content["arguments"]
    call = call_of(spec, arguments)
    configs = state.prune(call)
    config, source, problem, shown = configs[0], "default", spec.problem(call), Config.of()
    with contextlib.suppress(HashUnavailable):  # nothing can be stored: its first config serves
        called = CalledKernel(spec, state.candidates, call, configs)
        called.configs = {stored: called.find(stored) for stored in map(Config, line.content["configs"])}
        shown = called.default(problem, placement.device)
        if len(called.configs) > 1 and spec.hash:
            choice = choose(TuningTask(called, problem, placement))
            shown, source = choice.config, str(choice.source)
        config = called.find(shown)
    # Not of the call above: pruning may have changed its descriptors, as the config's hook may.
    job = job_of(spec, call_of(spec, arguments), config, target)
    return Kernel(line.kernel, problem.plain(), shown.plain(), source, job)


def _decorated(line: Line) -> Autotuner:
    """Return the decorated kernel of a recorded call, or a companion of one that Triton's own decorator made.

    Raises ImportError or LookupError if there is none.
    """
    for kernel in autotuners_of(line.content["function"]):
        served = kernel if isinstance(kernel, Autotuner) else Companion(kernel)
        if served.name == line.kernel:
            return served
    raise LookupError(f"{line.content['function']}: its module has no autotuned kernel {line.kernel}")


def of_registered(
    problem: Problem, choose: Choose, placement: Placement, target: GPUTarget, tensor: Any = None
) -> list[Kernel]:
    """Return what to compile for a problem of a registered kernel. Raises what its code raises."""
    kernel = registry.kernel_named(problem.kernel)
    if not isinstance(kernel, CompilesForOthers):
        raise SettingError(f"{kernel.name} is of a class without compile_jobs, so only its calls can compile it.")
    choice = choose(TuningTask(kernel, problem, placement))
    jobs = kernel.compile_jobs(problem, choice.config, target, tensor)
    config, source = choice.config.plain(), str(choice.source)
    return [Kernel(problem.kernel, problem.plain(), config, source, job) for job in jobs]


def _of_launch(line: Line, target: GPUTarget) -> Kernel:
    """Return the very specialisation that was recorded; options that depend on the device are left to Triton."""
    content = line.content
    backend, arch, warp_size = content["target"]
    if backend != target.backend:
        raise SettingError(f"it was recorded on a device of {backend}, where other attributes count")
    options = {name: decode(value) for name, value in content["options"].items()}
    if GPUTarget(backend, arch, warp_size) != target:
        options = {name: value for name, value in options.items() if name in _AUTHORS_OPTIONS}
    module, _, name = content["function"].partition(":")
    job = CompileJob(
        module, name, {parameter: decode(kind) for parameter, kind in content["signature"].items()},
        {tuple(place): decode(value) for place, value in content["constants"]},
        {tuple(place): decode(value) for place, value in content["attributes"]}, options, target,
    )  # fmt: skip
    if list(job.signature) != list(job.find().arg_names):
        raise SettingError("its parameters have changed since it was recorded. Record its calls again.")
    shown = {name: options[name] for name in ("num_warps", "num_stages") if name in options}
    return Kernel(line.kernel, {}, shown, "recorded", job)
