"""What `tunedb precompile` compiles: stored problems of registered kernels, and the lines of files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tunedb import registry
from tunedb._internal.counted import counted
from tunedb.adoption import recorded_lines
from tunedb.adoption.recorded_lines import Choose
from tunedb.cli.command import log
from tunedb.cli.device import current_index
from tunedb.cli.shapes_file import Line, located, read_shapes
from tunedb.core.device import Device, Placement
from tunedb.core.problem import Problem
from tunedb.core.sweep import Source
from tunedb.core.task import Choice, TuningTask
from tunedb.errors import SettingError, TunedbError
from tunedb.runtime import compat_cache
from tunedb.runtime.compat_cache import GPUTarget
from tunedb.runtime.current_device import device_of
from tunedb.runtime.failures import reason_of_one
from tunedb.runtime.precompile import Kernel
from tunedb.store.interface import SweepLists
from tunedb.tuner.stored_device import device_named, listed


@dataclass(frozen=True, slots=True)
class Lines:
    """The lines of files: those that tunedb recorded, and problems of registered kernels."""

    recorded: Sequence[recorded_lines.Line]
    problems: Sequence[Line]


def read_lines(paths: Iterable[Path], kernels: Sequence[str]) -> Lines:
    """Read the files. `kernels` limits them to these kernels; a problem that names none is of the only one of them.

    Raises SettingError, with the line's number, for a line that can't be read.
    """
    recorded, problems = [], []
    for path in paths:
        for line in read_shapes(path, kernels[0] if len(kernels) == 1 else None):
            with located(line.path, line.number):
                call = recorded_lines.line_of(line.arguments)
            if call is None:
                if not kernels or line.kernel in (None, *kernels):
                    problems.append(line)
            elif not kernels or call.kernel in kernels:
                recorded.append(call)
    return Lines(recorded, problems)


def find_device(stored: SweepLists, lines: Lines, name: str | None) -> tuple[Device, GPUTarget]:
    """Return the device of that name, and what Triton compiles for there.

    It is one that sweeps are stored of, that calls were recorded on, or the current one, which is also meant without
    a name; without a GPU, the only other one is. Raises SettingError if none or several are meant.
    """
    known = {line.device for line in lines.recorded} | set(stored.upkeep.devices())
    known = {device for device in known if device.backend != "interpreter"}
    index = current_index()
    if name is None:
        candidates = {device_of(index)} if index >= 0 else known
        device = next(iter(candidates)) if len(candidates) == 1 else None
    else:
        device = device_named(known | ({device_of(index)} if index >= 0 else set()), name)
    if device is None:
        raise SettingError(
            f"--device: expected the name of a device that sweeps are stored of, or that calls were recorded on, "
            f"got {name or 'none'}. Known: {listed(known)}."
        )
    try:
        return device, compat_cache.target_of(device.backend, device.arch)
    except ValueError as error:
        raise SettingError(f"--device: {device}: {error}.") from None


def default_choice(task: TuningTask) -> Choice:
    """Return the default, which a call gets if the store does not exist."""
    return Choice(task.kernel.default(task.problem, task.device), Source.DEFAULT)


def kernels_of_lines(lines: Lines, choose: Choose, device: Device, target: GPUTarget) -> list[Kernel]:
    """Return what to compile for the lines of files; a kernel's gradient too."""
    kernels = list(recorded_lines.kernels_of(lines.recorded, choose, device, target))
    problems: list[Problem] = []
    for line in lines.problems:
        with located(line.path, line.number):
            kernel = registry.kernel_named(line.kernel_name())
            problems.append(kernel.problem(line.arguments))
            gradient = registry.gradient_of(kernel)
            if gradient is not None:
                problems.append(registry.kernel_named(gradient).problem(line.arguments))
    return kernels + _of_problems(problems, choose, device, target)


def kernels_of_store(
    stored: SweepLists, names: Sequence[str], choose: Choose, device: Device, target: GPUTarget
) -> list[Kernel]:
    """Return what to compile for the problems that sweeps on the device are stored of.

    Says which kernels are left out, because their calls are only known from a recording.
    """
    problems: dict[Problem, None] = {}
    for sweep in stored.iter_sweeps(device_name=device.name):
        if sweep.device == device and (not names or sweep.problem.kernel in names):
            problems[sweep.problem] = None
    registered = registry.kernel_names()
    unknown = Counter(problem.kernel for problem in problems if problem.kernel not in registered)
    for name, count in sorted(unknown.items()):
        log.info(
            "Left out: %s of %s, whose calls are not recorded. Run: tunedb run --record calls.jsonl SCRIPT, "
            "then tunedb precompile --from calls.jsonl", counted(count, "problem"), name,
        )  # fmt: skip
    return _of_problems((problem for problem in problems if problem.kernel in registered), choose, device, target)


def _of_problems(problems: Iterable[Problem], choose: Choose, device: Device, target: GPUTarget) -> list[Kernel]:
    kernels: list[Kernel] = []
    for problem in dict.fromkeys(problems):
        try:
            kernels += recorded_lines.of_registered(problem, choose, Placement(device, None), target)
        except (TunedbError, LookupError, TypeError, ValueError, ArithmeticError, AttributeError) as error:
            reason = str(error) if isinstance(error, TunedbError) else reason_of_one(error)
            kernels.append(Kernel(problem.kernel, problem.plain(), {}, "", fault=reason))
    return kernels
