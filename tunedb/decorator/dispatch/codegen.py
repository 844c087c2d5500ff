"""The fast path: code that is made for a kernel's signature and for the types of one kind of call.

A call is looked up in a dict by all that its config and its compiled kernel depend on, and launched. Nothing else
happens: no SQL, no lock, no environment. The code is made, as Triton makes its own binder, because Python binds
positional and keyword arguments much faster than code in Python could.
"""

from __future__ import annotations

import keyword
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from functools import partial
from typing import Any

import torch
import triton
import triton.language as tl
from triton.runtime import JITFunction
from triton.tools.tensor_descriptor import TensorDescriptor

from tunedb.decorator.call.arguments import Bucket, Parameters, bucketed
from tunedb.decorator.call.specialization import part_of
from tunedb.runtime.compat_triton import HAS_INSTRUMENTATION, HAS_STAGES_HOOK

MOST = 4096  # plans per kernel; beyond that the kinds of call are too many to remember, and the table starts afresh
_BY_VALUE = (bool, str, type(None), torch.dtype, tl.dtype)
_COMPOUND = (tuple, tl.constexpr, triton.TensorWrapper, TensorDescriptor)
_LATE = sorted({one.name for one in fields(TensorDescriptor)} - {"base", "shape", "strides", "block_shape"})

# Whether Triton has to be asked, because somebody wants to see each launch or each compilation. `_t_enter` and
# `_t_exit` are the chains of hooks from when the code was made: a program may have put something else in their place.
_CONDITIONS = [
    "_t_runtime.launch_enter_hook is not _t_enter or _t_enter.calls",
    "_t_runtime.launch_exit_hook is not _t_exit or _t_exit.calls",
    "_t_hooks or _t_runtime.debug",
]
if HAS_STAGES_HOOK:
    _CONDITIONS.append("_t_runtime.add_stages_inspection_hook")
if HAS_INSTRUMENTATION:
    _CONDITIONS.append("_t_compilation.instrumentation_mode")
_OBSERVED = " or ".join(_CONDITIONS)


class _Absent:
    """Stands for an argument that a call does not give: a knob, or what a heuristic fills in."""

    def __repr__(self) -> str:
        return "<tuned>"


ABSENT = _Absent()


def dispatcher(parameters: Parameters, filled: set[str], names: Mapping[str, Any]) -> Callable[..., Any] | None:
    """`launch(grid, *arguments, **options)`: binds the arguments and finds the reader for their types.

    `filled` are the parameters that configs and heuristics fill in. `names` has the table `readers`, and `first`,
    which is called as `first(grid, arguments, options)` where no reader fits. None for a signature that can't be bound.
    """
    if not parameters.is_plain or any(name.startswith("_t_") or keyword.iskeyword(name) for name in parameters.names):
        return None
    scope = dict(names)
    signature, has_default = [], False
    for name in parameters.names:
        default = ABSENT if name in filled else parameters.defaults.get(name, ABSENT)
        has_default = has_default or name in filled or name in parameters.defaults
        scope[f"_t_default_{name}"] = default
        # Python wants no argument without a default after one that has one; what is missing is then seen by `first`.
        signature.append(f"{name}=_t_default_{name}" if has_default else name)
    arguments = "".join(f"{name}, " for name in parameters.names)
    types = "".join(f"_t_type({name}), " for name in parameters.names)
    scope |= {"_t_type": type, "_t_part_of_options": part_of_options}
    source = f"""
def launch(_t_grid, {", ".join(signature)}{", " if signature else ""}**_t_given):
    _t_reader = _t_readers.get(({types}))
    _t_more = _t_part_of_options(_t_given) if _t_given else ()
    if _t_reader is None or _t_more is None:
        return _t_first(_t_grid, ({arguments}), _t_given)
    return _t_reader(_t_grid, _t_given, _t_more, {arguments})
"""
    return _made(source, "launch", scope)


def reader(
    number: int,
    parameters: Parameters,
    filled: set[str],
    kinds: Sequence[type],
    key: Sequence[str],
    buckets: Mapping[str, Bucket],
    names: Mapping[str, Any],
    *,
    heuristics: bool,
) -> tuple[Callable[..., Any], Callable[..., Any]] | None:
    """Two functions for arguments of these types: `read(grid, options, part, *arguments)` looks the call up and
    launches, and `look(part, *arguments)` tells the key under which it looks, in which `number` stands for the types
    and `part` for the launch options that the caller gives.

    `names` has what `Plans` gives to the code. Where there are `heuristics`, or descriptors, whose blocks a config's
    hook may set, the kernel is bound when these have run. None where a type has no fast form: then Triton's own launch
    serves.
    """
    scope = {**names, "_t_part_of": part_of, "_t_callable": callable, "_t_id": id}
    parts, addresses, launched, given = ["_t_device()", str(number), "_t_more"], [], [], []
    absent, seen_late = 0, list[str]()
    for name, kind in zip(parameters.names, kinds, strict=True):
        if (kind is _Absent) != (name in filled):
            return None  # a knob that the caller gives, or an argument that is missing
        if kind is _Absent:
            launched.append(f"_t_filled[{absent}]")
            absent += 1
            continue
        found = _parts(name, kind, name in parameters.constexprs, name in key, name in buckets)
        if found is None:
            return None
        given.append(name)
        parts += found
        seen_late += _late(name, kind)
        if name in buckets:
            scope[f"_t_bucket_{name}"] = partial(bucketed, name, buckets[name])
        is_tensor = issubclass(kind, torch.Tensor)
        if is_tensor:
            addresses.append(f"    _t_at_{name} = {name}.data_ptr()\n")
        launched.append(f"_t_at_{name}" if is_tensor else name)
    arguments = "".join(f"{name}, " for name in parameters.names)
    pairs = "".join(f"{name!r}: {name}, " for name in given)
    rest = [name for name in parameters.names if name not in given]
    whole = pairs + "".join(f"{name!r}: _t_filled[{place}], " for place, name in enumerate(rest))
    where = "".join(addresses) + f"    _t_key = ({', '.join(parts)})\n"
    other_way = f"return _t_first(_t_grid, ({arguments}), _t_given)"
    unbound = f"return _t_unbound(_t_grid, ({arguments}), _t_given, _t_config)"
    late = f"({', '.join(seen_late)}, )" if seen_late else "()"
    known = "" if heuristics else f"_t_bound.get({late}) or "
    fill = f"_t_bound, _t_filled = {known}_t_fill({{{pairs}**_t_given}}, _t_grid, _t_plan, {late})"
    source = f"""
def read(_t_grid, _t_given, _t_more, {arguments}):
{where}    _t_plan = _t_plans.get(_t_key)
    if _t_plan is None:
        {other_way}
    if {_OBSERVED}:
        {other_way}
    _t_config, _t_hook, _t_knobs, _t_bound, _t_filled, _ = _t_plan
    _t_owner.best_config = _t_config
    if _t_hook is not None:
        _t_hook({{{pairs}'grid': _t_grid, 'warmup': False, **_t_given, **_t_knobs}})
    {fill if heuristics or seen_late else ""}
    if _t_bound is None:
        {unbound}
    for _t_scope, _t_name, _t_value in _t_bound.watched:
        if _t_scope.get(_t_name) != _t_value:
            {unbound}
    if _t_callable(_t_grid):
        _t_grid = _t_grids(_t_grid, {{{whole}}})
    _t_bound.run(_t_grid, {"".join(f"{one}, " for one in launched)})
    return _t_bound.kernel

def look(_t_more, {arguments}):
{where}    return _t_key
"""
    return _made(source, "read", scope), _made(source, "look", scope)


def _parts(name: str, kind: type, is_constexpr: bool, is_key: bool, is_bucketed: bool) -> list[str] | None:
    """What of an argument of this type goes into the key: what `kinds.part_of` says, less the type.

    None for a type that has no fast form, such as a list.
    """
    if issubclass(kind, torch.Tensor):
        return [f"{name}.dtype", f"not _t_at_{name} & 15", f"{name}.stride()", f"{name}.get_device()"]
    is_value = is_constexpr or (is_key and not is_bucketed)
    bucket = [f"_t_bucket_{name}({name})"] if is_bucketed else []
    if kind is int:
        return [name] if is_value else [*bucket, f"{name} == 1", f"not {name} & 15", f"{name} >> 31"]
    if issubclass(kind, float):
        return [f"{name}.hex()"] if is_value else bucket
    if kind in _BY_VALUE:
        return bucket + ([] if kind is type(None) else [name])
    if kind is JITFunction:
        return [f"_t_id({name})"]  # it lives as long as the plan, which holds it
    if kind not in _COMPOUND or is_bucketed:
        return None
    return [f"_t_part_of({name}.base)"] if kind is TensorDescriptor else [f"_t_part_of({name}, {is_value})"]


def part_of_options(given: Mapping[str, Any]) -> tuple[Any, ...] | None:
    """What of the launch options that a caller gives goes into the key; None where one can't."""
    if any(type(value) not in (int, bool, str) for value in given.values()):
        return None
    return tuple([(name, type(value), value) for name, value in given.items()])


def is_set_late(kind: type) -> bool:
    """Whether a config's hook may set what of such an argument a kernel is compiled for."""
    return kind is TensorDescriptor


def _late(name: str, kind: type) -> list[str]:
    """What that is: all of a descriptor but the memory that it describes."""
    return [f"*{name}.block_shape", *(f"{name}.{one}" for one in _LATE)] if is_set_late(kind) else []


def _made(source: str, name: str, scope: dict[str, Any]) -> Callable[..., Any]:
    """The function of that name in a source of ours, which no caller's data is part of but its arguments' names."""
    made: dict[str, Any] = {}
    exec(compile(source, f"<tunedb {name}>", "exec"), scope, made)
    function: Callable[..., Any] = made[name]
    return function
