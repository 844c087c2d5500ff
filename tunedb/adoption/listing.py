"""`tunedb.adopted()`: the kernels that Triton's autotuner decorated in this process, and what became of each."""

from __future__ import annotations

import gc
import importlib.util
import sys
from dataclasses import dataclass
from typing import Any, Literal

from tunedb.adoption import patch, selection
from tunedb.adoption.adopting import MODULE
from tunedb.adoption.attributes import outcome_of

_NOT_REACHED = "Triton was imported again, or past tunedb's hook in sys.meta_path"
_ORDER = ("adopted", "kept", "not called")  # of the states of kernels around one jit function, the first counts


@dataclass(frozen=True, slots=True, order=True)
class Adopted:
    """What became of one kernel.

    `adopted`: tunedb serves its calls. `kept`: Triton serves its calls, for the reason given. `not called`: that is
    decided at its first call; a reason says why such a call may never come.
    """

    module: str
    kernel: str  # the name under which it is stored: its module and qualified name
    state: Literal["adopted", "kept", "not called"]
    reason: str = ""


def adopted() -> list[Adopted]:
    """Return what became of each kernel that `triton.autotune` decorated in this process, sorted by name.

    Kernels that `tunedb.autotune` decorated are not in the list. Without Triton the list has one record that says so.
    """
    tritons_class = getattr(sys.modules.get(MODULE), "Autotuner", None)
    if not isinstance(tritons_class, type):
        is_installed = sys.modules.get("triton") is not None or importlib.util.find_spec("triton") is not None
        return [] if is_installed else [Adopted("triton", "*", "kept", "Triton is not installed")]
    records: dict[int, Adopted] = {}  # by the jit function: compiled code wraps one again for each of its graphs
    for kernel in _kernels(tritons_class):
        jit, record = record_of(kernel, tritons_class)
        if record is None:
            continue
        known = records.setdefault(jit, record)
        if _ORDER.index(record.state) < _ORDER.index(known.state):
            records[jit] = record
    return sorted(set(records.values()))


def record_of(kernel: Any, tritons_class: Any) -> tuple[int, Adopted | None]:
    """Return the identity of a kernel's jit function, and what became of the kernel; None if it is tunedb's own."""
    from tunedb.adoption.refusal import Refused, full_name, is_derived  # here, because it loads torch
    from tunedb.runtime.compat_triton import jit_of

    try:
        if is_derived(kernel):
            return 0, None
        jit, (module, name) = id(jit_of(kernel)), full_name(kernel)
    except Refused as refused:
        return id(kernel), Adopted(type(kernel).__module__, type(kernel).__qualname__, "kept", str(refused))
    outcome, why_none = outcome_of(kernel), _why_none(tritons_class)
    if outcome is not None:
        why_kept = outcome.why_kept()
        return jit, Adopted(module, name, "kept" if why_kept else "adopted", why_kept)
    if why_none:
        return jit, Adopted(module, name, "kept", why_none)
    is_overridden = "run" in vars(kernel) or type(kernel).run is not tritons_class.run
    reason = f"run of {type(kernel).__qualname__} has not called Triton's" if is_overridden else ""
    return jit, Adopted(module, name, "not called", reason)


def _why_none(tritons_class: Any) -> str:
    """Return why no kernel is adopted; an empty text if kernels are."""
    if patch.is_installed(tritons_class):
        return ""
    run = tritons_class.run
    if patch.is_tritons(run):
        is_asked_for = bool(selection.in_force)
        return _NOT_REACHED if is_asked_for else "tunedb.adopt() was not called, or was undone"
    return f"a program has replaced run of Triton's Autotuner by {run!r}"


def _kernels(tritons_class: Any) -> list[Any]:
    """Return all living instances of Triton's class and its subclasses."""
    # Not isinstance: it asks a proxy for its class, which may import or compute anything.
    found = [thing for thing in gc.get_objects() if issubclass(type(thing), tritons_class)]
    reached = patch.reached()  # `gc.freeze` hides objects that were there before it
    return list({id(kernel): kernel for kernel in (*found, *reached)}.values())
