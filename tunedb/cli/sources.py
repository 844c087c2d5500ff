"""Exports that are Python source: a table of `triton.Config`, and a kernel's self-contained module."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from tunedb import registry
from tunedb.cli.command import log
from tunedb.cli.device import listed
from tunedb.core.device import Device
from tunedb.core.problem import Config
from tunedb.core.sweep import Sweep, now
from tunedb.errors import SettingError, TunedbError

_PYTHON_HEAD = '''\
"""Tuned configs, exported by tunedb: CONFIGS[kernel, device name, problem], the problem as canonical JSON."""

import triton

CONFIGS = {
'''


def python_source(sweeps: Sequence[Sweep]) -> tuple[str, int]:
    """A module with the winners as `triton.Config`, and how many there are. Imports triton only."""
    rows: dict[tuple[str, str, str], Config] = {}
    devices = {sweep.device for sweep in sweeps}
    if len({device.name for device in devices}) < len(devices):
        raise SettingError(f"Several devices have one name. Name one with --device: {listed(devices)}.")
    for sweep in winners(sweeps):
        assert sweep.config is not None  # a winner has one
        rows[sweep.problem.kernel, sweep.device.name, sweep.problem.key] = sweep.config
    lines = [f"    {key!r}: {_triton_config(config)},\n" for key, config in sorted(rows.items())]
    return "".join([_PYTHON_HEAD, *lines, "}\n"]), len(lines)


def module_source(sweeps: Sequence[Sweep]) -> tuple[str, int]:
    """The module of the only kernel with rows, for the only device or the one that is here; and how many configs.

    A gradient's kernel does not count, and neither does the interpreter where a GPU has rows. The kernel writes its
    module itself (`RegisteredKernel.module_source`). Raises SettingError, naming the choices, where one has to be made.
    """
    names = {sweep.problem.kernel for sweep in sweeps}
    names -= {registry.gradient_of(kernel) for kernel in registry.installed(names).values()}
    if len(names) > 1:
        raise SettingError(f"A module holds one kernel. Name it with --kernel: {', '.join(sorted(names))}.")
    [name] = names
    kernel = registry.kernel_named(name)
    write = getattr(kernel, "module_source", None)
    if write is None:
        raise SettingError(f"{name} has no module to export. Use --format python.")
    usable = [
        sweep
        for sweep in winners(sweep for sweep in sweeps if sweep.kernel_hash == kernel.hash)
        if sweep.problem.kernel == name and sweep.config in kernel.space(sweep.problem, sweep.device)
    ]
    if not usable:
        raise TunedbError(f"All sweeps of {name} are of another version of its kernel. Run: tunedb warm {name}")
    device = _device({sweep.device for sweep in usable})
    chosen = [sweep for sweep in usable if sweep.device == device]
    log.info("Configs of %s on %s.", name, device)
    text: str = write(chosen)
    return text, len(chosen)


def winners(sweeps: Iterable[Sweep]) -> list[Sweep]:
    """The sweep that answers for each problem and device: of several versions of a kernel, the one tuned last."""
    from tunedb.store import ranked

    groups: dict[tuple[str, str, str], list[Sweep]] = defaultdict(list)
    for sweep in sweeps:
        groups[sweep.problem.kernel, sweep.problem.key, sweep.device.key].append(sweep)
    found = []
    for _, group in sorted(groups.items()):
        best = [sweep for sweep, _ in ranked(group, None, now=now())]
        if best:
            latest = max(best, key=lambda sweep: (sweep.finished, sweep.uid)).kernel_hash
            found.append(next(sweep for sweep in best if sweep.kernel_hash == latest))
    return found


def _device(devices: set[Device]) -> Device:
    from tunedb.cli.device import current_placement

    gpus = {device for device in devices if device.backend != "interpreter"}
    choices = gpus or devices
    here = current_placement().device
    if here in choices:
        return here
    if len(choices) > 1:
        raise SettingError(f"A module holds one device's configs. Name it with --device: {listed(choices)}.")
    return next(iter(choices))


def _triton_config(config: Config) -> str:
    if any(type(value).__name__ == "dtype" for value in config.values()):
        raise SettingError(f"{config}: a knob that is a dtype can't be written as source. Use --format jsonl.")
    options = "".join(f", {name}={value!r}" for name, value in config.options.items())
    return f"triton.Config({config.constants!r}{options})"
