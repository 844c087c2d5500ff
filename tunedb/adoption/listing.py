"""`tunedb.adopted()`: the kernels that Triton's autotuner decorated in this process, and what became of each."""

from __future__ import annotations

import gc
import importlib.util
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from tunedb._internal.control import let_pass
from tunedb.adoption import patch
from tunedb.adoption.attributes import outcome_of
from tunedb.adoption.adopting import MODULE


@dataclass(frozen=True, slots=True, order=True)
class Adopted:
    """What became of one kernel.

    `adopted`: tunedb serves its calls. `not called`: it will be adopted at its first call, unless there is a reason why
    not. `kept`: Triton serves its calls, for the reason given.
    """

    module: str
    kernel: str  # the name under which it is stored, which begins with the module
    state: Literal["adopted", "not called", "kept"]
    reason: str = ""


def adopted() -> list[Adopted]:
    """Return what became of each kernel that `triton.autotune` decorated in this process, sorted by name.

    Kernels that `tunedb.autotune` decorated are not in the list. Without Triton the list has one record that says so.
    """
    module = sys.modules.get(MODULE)
    if module is None:
        if importlib.util.find_spec("triton") is None:
            return [Adopted("triton", "*", "kept", "Triton is not installed")]
        return []
    return sorted(_records(module.Autotuner))


def _records(tritons_class: Any) -> Iterator[Adopted]:
    from tunedb.adoption.refusal import full_name, is_ours  # here, because it loads torch

    why_none = _why_none(tritons_class)
    for kernel in _kernels(tritons_class):
        try:
            if is_ours(kernel):
                continue
            module, name = full_name(kernel)
        # Anything may be under a subclass of Triton's: a list of kernels must not fail because of one.
        except Exception as error:
            let_pass(error)
            yield Adopted(type(kernel).__module__, type(kernel).__qualname__, "kept", "it is around no jit function")
            continue
        outcome = outcome_of(kernel)
        if why_none:
            yield Adopted(module, name, "kept", why_none)
        elif outcome is None:
            is_overridden = type(kernel).run is not tritons_class.run
            kind = type(kernel).__qualname__
            reason = f"its class {kind} has a run of its own, which has not called Triton's" if is_overridden else ""
            yield Adopted(module, name, "not called", reason)
        elif outcome.companion is None:
            yield Adopted(module, name, "kept", outcome.reason)
        else:
            yield Adopted(module, name, "adopted")


def _why_none(tritons_class: Any) -> str:
    """Return why no kernel is adopted; an empty text if kernels are."""
    if patch.is_installed():
        return ""
    run = tritons_class.run
    if getattr(run, "__module__", "").partition(".")[0] == "triton":
        return "tunedb.adopt() was not called, or was undone"
    return f"run of Triton's Autotuner was replaced by {run.__module__}.{run.__qualname__}"


def _kernels(tritons_class: Any) -> list[Any]:
    """Return all living instances of Triton's class and its subclasses."""
    # Not isinstance: it asks a proxy for its class, which may import or compute anything.
    return [thing for thing in gc.get_objects() if issubclass(type(thing), tritons_class)]
