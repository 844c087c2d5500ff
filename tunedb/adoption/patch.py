"""What is replaced on Triton's Autotuner class while kernels are adopted: `run`, and how attributes are reached."""

from __future__ import annotations

import logging
import weakref
from functools import wraps

from tunedb._internal.control import let_pass
from tunedb.adoption.attributes import OUTCOME, descriptors
from tunedb.adoption.attributes import outcome_of as outcome_of

TYPE_CHECKING = False  # not typing's: a program that adopts before it imports Triton would wait for it
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from tunedb.adoption.outcome import Outcome

_log = logging.getLogger("tunedb")

on_decision: list[Callable[[Any], object]] = []  # called with each kernel for which it was decided what becomes of it

_NOT_GIVEN: Any = object()
_ORIGINAL = "_tunedb_original"  # an attribute of our `run`: the one that it replaced

_tritons_class: Any = None  # while something of it is replaced
_ours: dict[str, Any] = {}  # what is put on the class
_original_run: Any = None
_reached: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()  # kernels with an outcome, by id


def install(tritons_class: Any) -> None:
    """Replace what is needed on Triton's class. Does nothing if that is done, or if a program has replaced `run`."""
    global _tritons_class, _original_run
    run = vars(tritons_class)["run"]
    run = getattr(run, _ORIGINAL, run)  # ours, if a program kept it meanwhile
    if _tritons_class is not None or not is_tritons(run):
        return
    _tritons_class, _original_run = tritons_class, run
    _ours.clear()
    _ours.update(descriptors(reach, release_kernel))
    _ours["run"] = _make_run(run)
    for name, value in _ours.items():
        if name == "run" or name not in vars(tritons_class):
            setattr(tritons_class, name, value)


def uninstall() -> None:
    """Put Triton's class back; what a program has replaced since then stays."""
    global _tritons_class
    tritons_class, _tritons_class = _tritons_class, None
    for name, value in _ours.items() if tritons_class is not None else ():
        if vars(tritons_class).get(name) is not value:
            continue
        if name == "run":
            tritons_class.run = _original_run
        else:
            delattr(tritons_class, name)


def is_installed(tritons_class: Any) -> bool:
    """Say whether the `run` of Triton's class is replaced by ours."""
    return _tritons_class is tritons_class and vars(tritons_class).get("run") is _ours["run"]


def is_tritons(method: Any) -> bool:
    """Say whether a method is Triton's own."""
    return str(getattr(method, "__globals__", {}).get("__name__")).partition(".")[0] == "triton"


def reached() -> list[Any]:
    """Return the kernels for which it was decided what becomes of them."""
    kernels = [reference() for reference in _reached.valuerefs()]  # a copy: other threads may add some
    return [kernel for kernel in kernels if kernel is not None]


def release(every: bool = False) -> None:
    """Decide again, at its next call, what becomes of each kernel, or of those that are selected differently now."""
    for kernel in reached():
        outcome = outcome_of(kernel)
        if outcome is not None and (every or not outcome.is_selection_current):
            release_kernel(kernel)


def release_kernel(kernel: Any) -> None:
    """Decide again, at its next call, what becomes of a kernel. Its attributes get what its calls left."""
    outcome = outcome_of(kernel)
    kernel.__dict__.pop(OUTCOME, None)
    if outcome is not None:
        outcome.leave_results()


def reach(kernel: Any) -> Outcome:
    """Return what becomes of a kernel, deciding it now if that is not done. Several threads get the same."""
    known = outcome_of(kernel)
    if known is not None and not known.is_outdated():
        return known
    from tunedb.adoption.outcome import Outcome  # here, because it loads the decorator and torch

    kernel.__dict__.pop(OUTCOME, None)  # an outdated one, or another kernel's, of which this one is a copy
    outcome: Outcome = kernel.__dict__.setdefault(OUTCOME, Outcome(kernel).decide())
    if _tritons_class is None:  # another thread has put everything back meanwhile
        kernel.__dict__.pop(OUTCOME, None)
        return Outcome(kernel)
    _reached[id(kernel)] = kernel
    for function in on_decision:
        try:
            function(kernel)
        # It serves a report: what fails in it must not reach the kernel's caller.
        except Exception as error:
            let_pass(error)
            _log.warning("A decision about a kernel can't be reported: %s.", str(error))
    return outcome


def _without_companion(kernel: Any) -> Any:
    """Return a copy of a kernel for Triton's `run` to compile with.

    What it chooses without having launched anything must not be kept for calls.
    """
    made = object.__new__(type(kernel))
    made.__dict__.update(kernel.__dict__, cache=dict(kernel.cache))
    return made


def _make_run(original: Callable[..., Any]) -> Callable[..., Any]:
    """Return the `run` that serves adopted kernels, and leaves all others to Triton's."""

    @wraps(original)  # with its name and signature
    def run(self: Any, *args: Any, grid: Any = _NOT_GIVEN, warmup: Any = _NOT_GIVEN, **kwargs: Any) -> Any:
        outcome = self.__dict__.get(OUTCOME)
        if outcome is None or outcome.kernel is not self or (outcome.has_one_config and outcome.is_outdated()):
            outcome = reach(self) if _tritons_class is not None else None
        companion = None if outcome is None else outcome.companion
        if companion is not None and warmup and warmup is not _NOT_GIVEN:
            self = _without_companion(self)
        elif companion is not None and grid is not _NOT_GIVEN:
            try:
                return companion[grid](*args, **kwargs)
            except outcome.refusals as error:  # before anything was launched
                outcome.refuse(error)
            except outcome.failure:
                return companion[grid](*args, **kwargs)
        if grid is not _NOT_GIVEN:
            kwargs["grid"] = grid
        if warmup is not _NOT_GIVEN:
            kwargs["warmup"] = warmup
        return original(self, *args, **kwargs)

    setattr(run, _ORIGINAL, original)
    return run
