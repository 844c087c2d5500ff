"""Methods of Triton's Autotuner that a program has replaced, on the class, in a subclass of ours, or on one kernel.

`prune_configs` is called as Triton would call it. Those that a decorated kernel never calls are named in the log.
"""

from __future__ import annotations

import logging
from typing import Any

import triton

from tunedb.runtime.compat_triton import is_tritons_own

# What a decorated kernel has of its own: the call, compiling all configs, timing one, and a cache on disk.
_OVERRIDDEN = ("run", "warmup")
_UNUSED = ("_bench", "check_disk_cache")

_log = logging.getLogger("tunedb")
_logged: set[str] = set()


def log_unused(kernel: triton.runtime.Autotuner) -> None:
    """Log, once for each, the replaced methods that this kernel does not call."""
    methods = {name: getattr(triton.runtime.Autotuner, name, None) for name in _OVERRIDDEN}
    methods |= {name: getattr(kernel, name, None) for name in _UNUSED}
    for name, method in methods.items():
        if method is None or is_tritons_own(method) or name in _logged:
            continue
        _logged.add(name)
        _log.warning(
            "The method %s of Triton's Autotuner was replaced by %s. Kernels decorated with tunedb.autotune do not "
            "call it; the guide on migrating names what they call instead.", name, _place_of(method),
        )  # fmt: skip


def _place_of(method: Any) -> str:
    return f"{getattr(method, '__module__', '?')}.{getattr(method, '__qualname__', type(method).__qualname__)}"
