"""What a worker and its client must have in common: the versions of what times and configs depend on, kernel hashes."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterable, Mapping

from tunedb import registry
from tunedb.core.device import host
from tunedb.errors import TunedbError
from tunedb.runtime.current_device import environment

Facts = dict[str, str]


def facts_of(kernels: Iterable[str]) -> Facts:
    """Return this process's versions and the hashes of these kernels, or why a kernel can't be used."""
    here = environment("interpreter", "")
    python = ".".join(platform.python_version_tuple()[:2])
    facts = {"tunedb": sys.modules["tunedb"].__version__, "Triton": here.triton, "torch": here.torch, "Python": python}
    for name in kernels:
        try:
            facts[kernel_fact(name)] = registry.kernel_named(name).hash
        except (TunedbError, ImportError) as error:
            facts[kernel_fact(name)] = f"unusable ({error})"
    return facts


def kernel_fact(name: str) -> str:
    """Return the name of the fact that is a kernel's hash."""
    return f"kernel {name}"


def facts_about(kernel: str, facts: Mapping[str, str]) -> Facts:
    """Return the facts without the hashes of other kernels."""
    ours, every = kernel_fact(kernel), kernel_fact("")
    return {name: value for name, value in facts.items() if name == ours or not name.startswith(every)}


def difference(worker: str, theirs: Mapping[str, str], ours: Mapping[str, str]) -> str | None:
    """Return a sentence that names the worker, and both values of each fact that is not as here; None if all are."""
    parts = [
        f"{name}: {_short(theirs.get(name, 'missing'))} there, {_short(value)} here"
        for name, value in ours.items()
        if theirs.get(name) != value
    ]
    if not parts:
        return None
    return f"Worker {worker} differs: {'; '.join(parts)}. Install the same versions on workers and client."


def _short(value: str) -> str:
    is_hash = len(value) == 64 and set(value) <= set("0123456789abcdef")
    return value[:12] if is_hash else value


def worker_name(process: int) -> str:
    """Return the name of this host's process in messages."""
    return f"{host()} (process {process})"
