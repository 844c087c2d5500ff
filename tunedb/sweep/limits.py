"""What no block of a GPU may exceed: a compiled config that does is not run."""

from __future__ import annotations

from tunedb.core.device import Device
from tunedb.core.kernel import Resources

THREADS = 1024  # per block, on every GPU that Triton knows
REGISTERS = 65536  # per multiprocessor, and so per block; where the device does not say otherwise
SPILLS = 64  # registers per thread, by our own judgement: beyond that a kernel is bound by its local memory


def excess(resources: Resources, device: Device) -> str | None:
    """In what a config exceeds the device, with found and limit; None where it fits or nothing is known."""
    threads, registers, shared = resources.threads, resources.registers, resources.shared_bytes
    if threads is not None and threads > THREADS:
        return f"{threads} threads a block, {device.name} runs {THREADS} at the most"
    most_shared = device.info.get("shared_bytes")
    if shared is not None and most_shared is not None and shared > most_shared:
        return f"{shared} bytes of shared memory a block, {device.name} has {most_shared}"
    most_registers = device.info.get("registers", REGISTERS)
    if threads is not None and registers is not None and threads * registers > most_registers:
        return f"{threads} threads of {registers} registers, {device.name} has {most_registers}"
    return None


def spills_much(resources: Resources) -> bool:
    """Whether so much is spilled that the config is not worth a try beside others that are right without."""
    return resources.spills is not None and resources.spills > SPILLS
