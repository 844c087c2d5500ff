"""The export of a kernel's self-contained module, for one device."""

from __future__ import annotations

from collections.abc import Sequence

from tunedb import registry
from tunedb.cli.command import log
from tunedb.cli.device import current_placement
from tunedb.cli.store_words import store_option
from tunedb.core.device import Device
from tunedb.core.kernel import ODD_FACTS, ExportsModule
from tunedb.core.sweep import Sweep
from tunedb.errors import SettingError, TunedbError
from tunedb.store.exchange.python_source import latest_winners
from tunedb.tuner.pending import accepts
from tunedb.tuner.stored_device import listed


def module_source(sweeps: Sequence[Sweep]) -> tuple[str, int]:
    """Return a kernel's self-contained module, and how many configs it holds.

    The sweeps have to be of one kernel. The device is the current one if it has winners, else the only one with any.

    A gradient's kernel does not count, and neither does the interpreter if a GPU has winners. The kernel writes its
    module itself (`ExportsModule.module_source`). Raises SettingError with the choices if there are several.
    """
    names = {sweep.problem.kernel for sweep in sweeps}
    names -= {registry.gradient_of(kernel) for kernel in registry.installed(names).values()}
    if len(names) > 1:
        raise SettingError(f"A module holds one kernel. Name it with --kernel: {', '.join(sorted(names))}.")
    [name] = names
    kernel = registry.kernel_named(name)
    if not isinstance(kernel, ExportsModule):
        raise SettingError(f"{name} has no module to export. Use --format python.")
    usable = [
        sweep
        for sweep in latest_winners(sweep for sweep in sweeps if sweep.kernel_hash == kernel.hash)
        if sweep.problem.kernel == name
        and accepts(kernel, sweep.problem, sweep.device)
        and sweep.config in kernel.space(sweep.problem, sweep.device)
    ]
    if not usable:
        raise TunedbError(_why_none(name, kernel.hash, sweeps))
    device = _device({sweep.device for sweep in usable})
    chosen = [sweep for sweep in usable if sweep.device == device]
    log.info("Configs of %s on %s.", name, device)
    try:
        return kernel.module_source(chosen), len(chosen)
    except ODD_FACTS:
        chosen = _writable(kernel, chosen)
        return kernel.module_source(chosen), len(chosen)


def _writable(kernel: ExportsModule, sweeps: Sequence[Sweep]) -> list[Sweep]:
    """Return the sweeps that the kernel can write into one module. Raises what it raises for the first if none is."""
    writable: list[Sweep] = []
    for sweep in sweeps:
        try:
            kernel.module_source([*writable, sweep])
        except ODD_FACTS as error:
            if sweep is sweeps[-1] and not writable:
                raise
            log.warning("Sweep %s is left out: %s can't write it (%s).", sweep.uid, sweep.problem.kernel, str(error))
        else:
            writable.append(sweep)
    return writable


def _why_none(name: str, kernel_hash: str, sweeps: Sequence[Sweep]) -> str:
    """Return why none of the sweeps has a config that the kernel of today would use."""
    again = f"Tune it again: tunedb warm {name} --help{store_option()}"
    mine = [sweep for sweep in sweeps if sweep.problem.kernel == name]
    winners = latest_winners(sweep for sweep in mine if sweep.kernel_hash == kernel_hash)
    if winners:
        return f"The configs of {name} ({len(winners)}) are outside today's search space. {again}"
    if any(sweep.kernel_hash == kernel_hash for sweep in mine):
        see = f"See: tunedb ls --kernel {name}{store_option()}"
        return f"No sweep of {name} has a winner: each failed, was aborted or is quarantined. {see}"
    return f"All sweeps of {name} are of another version of its kernel. {again}"


def _device(devices: set[Device]) -> Device:
    gpus = {device for device in devices if device.backend != "interpreter"}
    choices = gpus or devices
    here = current_placement().device
    if here in choices:
        return here
    if len(choices) > 1:
        raise SettingError(f"A module holds one device's configs. Name it with --device: {listed(choices)}.")
    return next(iter(choices))
