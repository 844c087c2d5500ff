"""Why a kernel can't be adopted: what a program has changed about Triton's autotuner would be lost."""

from __future__ import annotations

from types import FunctionType
from typing import Any

from tunedb.adoption import attribute_names
from tunedb.adoption.torch_frames import COMPILED
from tunedb.decorator import validation
from tunedb.decorator.autotuner import Autotuner
from tunedb.decorator.cache import Cache
from tunedb.decorator.fallback import is_fallback
from tunedb.runtime import compat_triton

ONE_CONFIG = "it has one config, so there is nothing to choose"

# Methods that Triton's `run` calls and a companion does not.
_UNUSED = ("_bench", "check_disk_cache", "do_bench")


class Refused(Exception):
    """The kernel can't be adopted; the text says why."""


def full_name(kernel: Any) -> tuple[str, str]:
    """Return the kernel's module, and the name under which it is stored. Raises Refused for anything but a kernel."""
    function = getattr(compat_triton.jit_of(kernel), "fn", None)
    if not isinstance(function, FunctionType):
        raise Refused("it is not around a jit function")
    return validation.module_name(function), validation.default_name(function)


def is_derived(kernel: Any) -> bool:
    """Say whether tunedb made the kernel, or torch a copy of one for compiled code."""
    return isinstance(kernel, Autotuner) or is_fallback(kernel) or COMPILED in vars(kernel)


def check(kernel: Any) -> None:
    """Raise Refused for a kernel that Triton has to serve."""
    if is_derived(kernel):
        raise Refused("the program did not make it")
    jit, layer = compat_triton.jit_of(kernel), kernel.fn
    while layer is not jit:
        if not compat_triton.is_heuristics(layer):
            raise Refused(f"it is around another {type(layer).__qualname__}")
        layer = layer.fn
    if compat_triton.is_interpreted(jit):
        raise Refused("Triton's interpreter runs it")
    for kind in type(kernel).__mro__:
        for name in attribute_names.ALL if not kind.__module__.startswith("triton.") else ():
            if name in vars(kind):
                raise Refused(f"{name} of {kind.__qualname__} is not Triton's")
    check_methods(kernel)
    if len(kernel.configs) == 1:
        raise Refused(ONE_CONFIG)


def check_methods(kernel: Any) -> None:
    """Raise Refused if a program has replaced a method, or the cache, that a companion would not use as Triton does."""
    for kind in type(kernel).__mro__:
        # A subclass may prune in a way of its own: the companion has it prune.
        for name in ("prune_configs", *_UNUSED) if kind.__module__.startswith("triton.") else _UNUSED:
            member = vars(kind).get(name)
            function = getattr(member, "func", member)  # of a cached property
            if function is not None and not compat_triton.is_tritons_own(function):
                raise Refused(f"{name} of {kind.__qualname__} is not Triton's")
    for name in ("_bench", "check_disk_cache"):
        if name in vars(kernel):
            raise Refused(f"its {name} is not Triton's")
    if not has_plain_cache(kernel):
        raise Refused(f"its cache is a {type(vars(kernel)['cache']).__qualname__}, not a dict")


def has_plain_cache(kernel: Any) -> bool:
    """Say whether all entries of the kernel's own cache are in it."""
    return type(vars(kernel)["cache"]) in (dict, Cache)  # the latter of another adopted kernel
