"""Limits of a GPU's blocks: a compiled config that exceeds them is not run."""

from __future__ import annotations

from tunedb.core.device import Device
from tunedb.core.kernel import Resources

MAX_THREADS = 1024  # per block, on every GPU that Triton supports
MAX_REGISTERS = 65536  # per multiprocessor, and so per block, if the device does not say otherwise
MAX_SPILLS = 64  # registers per thread, by judgement: kernels that win spill none or few


def excess(resources: Resources, device: Device) -> str | None:
    """Return how a config exceeds the device's limits; None if it fits, or if its resources are unknown."""
    threads, registers, shared = resources.threads, resources.registers, resources.shared_bytes
    if threads is not None and threads > MAX_THREADS:
        return f"needs {threads} threads a block, {device.name} has at most {MAX_THREADS}"
    max_shared = device.info.get("shared_bytes")
    if shared is not None and max_shared is not None and shared > max_shared:
        return f"needs {shared} bytes of shared memory a block, {device.name} has {max_shared}"
    max_registers = device.info.get("registers", MAX_REGISTERS)
    if threads is not None and registers is not None and threads * registers > max_registers:
        return f"needs {threads} threads of {registers} registers, {device.name} has {max_registers}"
    return None


def spills_much(resources: Resources) -> bool:
    """Say whether a config spills too much to be worth a try next to others that are right and do not."""
    return resources.spills is not None and resources.spills > MAX_SPILLS
