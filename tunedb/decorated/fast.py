"""The fast path: code that is made for a kernel's signature and for the types of one kind of call.

A call is looked up in a dict by all that its config and its compiled kernel depend on, and launched. Nothing else
happens: no SQL, no lock, no environment. The code is made, as Triton makes its own binder, because Python binds
positional and keyword arguments much faster than code in Python could.
"""

from __future__ import annotations

import keyword
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import Any

import torch
import triton.language as tl
from triton.runtime import JITFunction
from triton.tools.tensor_descriptor import TensorDescriptor

from tunedb.decorated.arguments import Bucket, Parameters

MOST = 4096  # plans per kernel; beyond that the kinds of call are too many to remember, and the table starts afresh
_TENSORS = (torch.Tensor, torch.nn.Parameter)
_BY_VALUE = (bool, str, type(None), torch.dtype, tl.dtype)
_COMPOUND = (tuple, TensorDescriptor)
_LATE = sorted({one.name for one in fields(TensorDescriptor)} - {"base", "shape", "strides", "block_shape"})


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
    types = "".join(f"type({name}), " for name in parameters.names)
    source = f"""
def launch(_t_grid, {", ".join(signature)}{", " if signature else ""}**_t_options):
    _t_reader = _t_readers.get(({types}))
    if _t_reader is None or _t_options:
        return _t_first(_t_grid, ({arguments}), _t_options)
    return _t_reader(_t_grid, {arguments})
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
    """Two functions for arguments of these types: `read(grid, *arguments)` looks the call up and launches, and
    `look(*arguments)` tells the key under which it looks, in which `number` stands for the types.

    `names` has what `Plans` gives to the code. Where there are `heuristics`, or descriptors, whose blocks a config's
    hook may set, the kernel is bound when these have run. None where a type has no fast form: then Triton's own launch
    serves.
    """
    scope = {**names, "_t_part": part_of}
    parts, addresses, launched, given = ["_t_device()", str(number)], [], [], []
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
        scope[f"_t_bucket_{name}"] = buckets.get(name)
        is_tensor = kind in _TENSORS
        if is_tensor:
            addresses.append(f"    _t_at_{name} = {name}.data_ptr()\n")
        launched.append(f"_t_at_{name}" if is_tensor else name)
    arguments = "".join(f"{name}, " for name in parameters.names)
    pairs = "".join(f"{name!r}: {name}, " for name in given)
    rest = [name for name in parameters.names if name not in given]
    whole = pairs + "".join(f"{name!r}: _t_filled[{place}], " for place, name in enumerate(rest))
    where = "".join(addresses) + f"    _t_key = ({', '.join(parts)})\n"
    other_way = f"return _t_first(_t_grid, ({arguments}), {{}})"
    unbound = f"return _t_unbound(_t_grid, ({arguments}), _t_config)"
    late = f"({', '.join(seen_late)}, )" if seen_late else "()"
    known = "" if heuristics else f"_t_bound.get({late}) or "
    fill = f"_t_bound, _t_filled = {known}_t_fill({{{pairs}}}, _t_grid, _t_plan, {late})"
    source = f"""
def read(_t_grid, {arguments}):
{where}    _t_plan = _t_plans.get(_t_key)
    if _t_plan is None:
        {other_way}
    _t_runtime = _t_triton_knobs.runtime
    if _t_runtime.launch_enter_hook.calls or _t_runtime.launch_exit_hook.calls or _t_hooks or _t_runtime.debug:
        {other_way}
    _t_config, _t_hook, _t_options, _t_bound, _t_filled, _ = _t_plan
    _t_owner.best_config = _t_config
    if _t_hook is not None:
        _t_hook({{{pairs}'grid': _t_grid, 'warmup': False, **_t_options}})
    {fill if heuristics or seen_late else ""}
    if _t_bound is None:
        {unbound}
    for _t_scope, _t_name, _t_value in _t_bound.watched:
        if _t_scope.get(_t_name) != _t_value:
            {unbound}
    if callable(_t_grid):
        _t_grid = _t_grids(_t_grid, {{{whole}}})
    _t_bound.run(_t_grid, {"".join(f"{one}, " for one in launched)})
    return _t_bound.kernel

def look({arguments}):
{where}    return _t_key
"""
    return _made(source, "read", scope), _made(source, "look", scope)


def _parts(name: str, kind: type, is_constexpr: bool, is_key: bool, is_bucketed: bool) -> list[str] | None:
    """What of an argument of this type goes into the key: all that a config or a compiled kernel depends on.

    None for a type that has no fast form, such as a descriptor or a subclass of Tensor.
    """
    if kind in _TENSORS:
        return [f"{name}.dtype", f"not _t_at_{name} & 15", f"{name}.stride()", f"{name}.get_device()"]
    is_value = is_constexpr or (is_key and not is_bucketed)
    bucket = [f"_t_bucket_{name}({name})"] if is_bucketed else []
    if kind is int:  # Triton specialises on 1, on multiples of 16, and on the width that the value needs
        return [name] if is_value else [*bucket, f"{name} == 1", f"not {name} & 15", f"{name} >> 31"]
    if kind is float:
        return [f"{name}.hex()"] if is_value else bucket
    if kind in _BY_VALUE:
        return [] if kind is type(None) else [name]
    if kind is JITFunction:
        return [f"id({name})"]  # it lives as long as the plan, which holds it
    if kind in _COMPOUND and not is_bucketed:
        return [f"_t_part({name}, {is_value})"]
    return None


def part_of(value: Any, is_value: bool) -> tuple[Any, ...]:
    """What of a tuple or a descriptor goes into the key: of each thing in it what `_parts` says.

    A descriptor's block is no part of it: the config's hook may set that. See `fits` for what else there may be.
    """
    kind = type(value)
    if kind in _TENSORS:
        return kind, value.dtype, not value.data_ptr() & 15, value.stride(), value.get_device()
    if kind is tuple:
        return tuple([part_of(one, is_value) for one in value])
    if kind is int:
        return (kind, value) if is_value else (kind, value == 1, not value & 15, value >> 31)
    if kind is float:
        return (kind, value.hex()) if is_value else (kind,)
    if kind in _BY_VALUE:
        return kind, value
    return (kind, part_of(value.base, is_value)) if kind is TensorDescriptor else (kind,)


def fits(value: Any) -> bool:
    """Whether `part_of` tells all that counts of what is in a tuple or a descriptor."""
    if type(value) is tuple:
        return all(
            type(one) in (*_TENSORS, *_BY_VALUE, int, float) or (type(one) is tuple and fits(one)) for one in value
        )
    return type(value) is not TensorDescriptor or type(value.base) in _TENSORS


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
