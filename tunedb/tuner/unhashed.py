"""Calls of a kernel that has no hash: nothing can be stored for it, and the kernel runs all the same."""

from __future__ import annotations

import logging

from tunedb.core.kernel import TunableKernel
from tunedb.core.source_text import HashUnavailable
from tunedb.core.sweep import Source
from tunedb.core.task import Choice, TuningTask
from tunedb.errors import MissError
from tunedb.settings import Settings
from tunedb.tuner.override import forced_config

_log = logging.getLogger("tunedb")
_logged: set[str] = set()  # names of kernels


def fault_of(kernel: TunableKernel) -> HashUnavailable | None:
    """Return why a kernel has no hash; None if it has one."""
    try:
        _ = kernel.hash
    except HashUnavailable as error:
        return error
    return None


def choice_without_hash(task: TuningTask, fault: HashUnavailable, settings: Settings) -> Choice:
    """Return the choice for a kernel without a hash: an override, or the default.

    Raises MissError in mode `strict`.
    """
    name, default = task.kernel.name, task.kernel.default(task.problem, task.device)
    forced = forced_config(name, default, settings)
    if forced is not None:
        return Choice(forced, Source.OVERRIDE)
    check_mode(name, fault, settings, "its default config serves its calls")
    return Choice(default, Source.DEFAULT)


def check_mode(name: str, fault: HashUnavailable, settings: Settings, instead: str) -> None:
    """Log once for each kernel why it has no hash, and what serves instead. Raises MissError in mode `strict`."""
    if settings.is_strict:
        raise MissError(
            f"{name}: mode {settings.mode} needs a stored config, but nothing can be stored for this kernel: {fault} "
            "Use another mode, such as tunedb.using(mode='tune')."
        )
    if settings.mode != "off" and name not in _logged:
        _logged.add(name)
        _log.warning("%s has no hash: nothing is stored for it, and %s. The reason: %s", name, instead, str(fault))
