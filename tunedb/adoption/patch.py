"""What is replaced on Triton's Autotuner class while kernels are adopted: `run`, and how attributes are read and set.

An instance's attributes stay where Triton keeps them. Once it is adopted, those that its calls depend on, and those
that its calls leave, are read from its companion and assigned to it as well.
"""

from __future__ import annotations

import sys
import weakref
from functools import wraps

TYPE_CHECKING = False  # not typing's: a program that adopts before it imports Triton would wait for it
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from tunedb.adoption.outcome import Outcome

OUTCOME = "_tunedb_outcome"  # the key of an instance's outcome in its `__dict__`

RESULTS = ("cache", "best_config", "bench_time", "configs_timings")  # what calls leave
PRUNING = "early_config_prune"
_SHARED = ("configs", *RESULTS)

# What a program may assign to; the companion then gets the same.
_FOLLOWED = frozenset({
    *_SHARED, PRUNING, "keys", "reset_to_zero", "restore_value", "pre_hook", "post_hook", "user_defined_pre_hook",
    "user_defined_post_hook", "perf_model", "configs_top_k", "_do_bench",
})  # fmt: skip
# If a program assigns to one of these, it is decided again what becomes of the kernel.
_DECISIVE = frozenset({"fn", "arg_names", "prune_configs", "do_bench", "_bench", "check_disk_cache"})

_NOT_GIVEN: Any = object()

_tritons_class: Any = None  # while something of it is replaced
_ours: dict[str, Any] = {}  # what is put on the class
_original_run: Any = None
_reached: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()  # kernels with an outcome, by id


def install(tritons_class: Any) -> None:
    """Replace what is needed on Triton's class. Does nothing if that is done, or if a program has replaced `run`."""
    global _tritons_class, _original_run
    run = vars(tritons_class)["run"]
    if _tritons_class is not None or not _is_tritons(run):
        return
    _tritons_class, _original_run = tritons_class, run
    _ours.clear()
    _ours.update({name: _Shared(name) for name in _SHARED if name not in vars(tritons_class)})
    _ours[PRUNING] = _Pruning(PRUNING)
    _ours["__setattr__"] = _set
    _ours["run"] = _make_run(run)
    for name, value in _ours.items():
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


def release() -> None:
    """Decide again, at its next call, what becomes of each kernel that the selections in force treat differently."""
    for kernel in list(_reached.values()):
        outcome = outcome_of(kernel)
        if outcome is not None and not outcome.is_selection_current:
            release_kernel(kernel)


def release_kernel(kernel: Any) -> None:
    """Decide again at the kernel's next call."""
    outcome: Outcome | None = kernel.__dict__.pop(OUTCOME, None)
    if outcome is not None and outcome.kernel is kernel:
        outcome.leave_results()


def is_installed() -> bool:
    """Say whether Triton's `run` is replaced by ours."""
    return _tritons_class is not None and vars(_tritons_class).get("run") is _ours.get("run")


def outcome_of(kernel: Any) -> Outcome | None:
    """Return what became of a kernel; None if it was not called yet. A copy of a kernel is another one."""
    outcome: Outcome | None = kernel.__dict__.get(OUTCOME)
    return outcome if outcome is not None and outcome.kernel is kernel else None


def reach(kernel: Any) -> Outcome:
    """Return what becomes of a kernel, deciding it now if it is not decided. Several threads get the same."""
    known = outcome_of(kernel)
    if known is not None and not known.has_other_configs:
        return known
    from tunedb.adoption.outcome import Outcome  # here, because it loads the decorator and torch

    kernel.__dict__.pop(OUTCOME, None)  # another kernel's, of which this one is a copy, or an old one
    outcome = kernel.__dict__.setdefault(OUTCOME, Outcome(kernel).decide())
    _reached[id(kernel)] = kernel
    return outcome  # type: ignore[no-any-return]


def _make_run(original: Callable[..., Any]) -> Callable[..., Any]:
    """Return the `run` that serves adopted kernels, and leaves all others to Triton's."""

    @wraps(original)
    def run(self: Any, *args: Any, grid: Any = _NOT_GIVEN, warmup: bool = False, **kwargs: Any) -> Any:
        outcome = self.__dict__.get(OUTCOME)
        if outcome is None or outcome.kernel is not self or outcome.has_other_configs:
            outcome = reach(self) if _tritons_class is not None else None
        if outcome is not None and outcome.companion is not None and not warmup and grid is not _NOT_GIVEN:
            try:
                return outcome.companion[grid](*args, **kwargs)
            except outcome.refusals as error:  # before anything was launched
                outcome.refuse(error)
        if grid is not _NOT_GIVEN:
            kwargs["grid"] = grid
        return original(self, *args, warmup=warmup, **kwargs)

    return run


def _set(self: Any, name: str, value: Any) -> None:
    """Set an attribute of an instance, and that of its companion."""
    object.__setattr__(self, name, value)
    if name not in _FOLLOWED and name not in _DECISIVE:
        return
    outcome = outcome_of(self)
    if outcome is None:
        return
    if name in _DECISIVE:
        release_kernel(self)
    elif outcome.companion is not None:
        setattr(outcome.companion, name, value)


class _Shared:
    """An attribute of Triton's instances that is read from the companion, if there is one."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, kernel: Any, owner: object = None) -> Any:
        if kernel is None:
            raise AttributeError(self._name)  # an attribute of instances
        outcome = kernel.__dict__.get(OUTCOME)
        if outcome is not None and outcome.companion is not None and outcome.kernel is kernel:
            value = getattr(outcome.companion, self._name)
            if value or self._name in ("configs", "cache"):
                return value
        return self._own(kernel)

    def __set__(self, kernel: Any, value: Any) -> None:
        kernel.__dict__[self._name] = value

    def __delete__(self, kernel: Any) -> None:
        self._own(kernel)
        del kernel.__dict__[self._name]

    def _own(self, kernel: Any) -> Any:
        try:
            return kernel.__dict__[self._name]
        except KeyError:
            raise AttributeError(
                f"{type(kernel).__name__!r} object has no attribute {self._name!r}", name=self._name, obj=kernel
            ) from None


class _Pruning(_Shared):
    """The attribute `early_config_prune`: compiled code finds the companion's there, which reads the store.

    Dynamo reads it twice: while it traces, and as a guard before each call of compiled code. In a guard there is no
    code that reads it; so it is everyone who has its name in their code that gets the instance's own, and torch that
    does not.
    """

    def __get__(self, kernel: Any, owner: object = None) -> Any:
        if kernel is None:
            raise AttributeError(self._name)
        own = self._own(kernel)
        if own is not None or _is_read_by_name(self._name):
            return own
        companion = reach(kernel).companion
        return None if companion is None else companion.early_config_prune


def _is_read_by_name(name: str) -> bool:
    """Say whether the code that reads an attribute names it, and is not torch's."""
    frame = sys._getframe(2)
    if str(frame.f_globals.get("__name__")).partition(".")[0] == "torch":
        return False
    return name in frame.f_code.co_names or name in frame.f_code.co_consts


def _is_tritons(method: Any) -> bool:
    scope = getattr(method, "__globals__", {})
    return str(scope.get("__name__", "")).partition(".")[0] == "triton"
