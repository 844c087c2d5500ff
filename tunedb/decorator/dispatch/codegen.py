"""Generated code for repeated calls: bind the arguments, look the plan up in a dict, launch.

Nothing else happens: no SQL, no lock, no environment. As with Triton's own binder, the code is generated because Python
binds arguments much faster than code in Python could. For a kernel `add(x, n, BLOCK: tl.constexpr)`, decorated with
`key=["n"]` and configs that set BLOCK, and for calls with a tensor and an int, it is in essence:

    def launch(_t_grid, x, n, BLOCK=ABSENT, **_t_options):
        _t_reader = _t_readers.get((type(x), type(n), type(BLOCK)))
        _t_part = _t_part_of_options(_t_options) if _t_options else ()
        if _t_reader is None or _t_part is None:
            return _t_unplanned(_t_grid, (x, n, BLOCK), _t_options)
        return _t_reader(_t_grid, _t_options, _t_part, x, n, BLOCK)

    def read(_t_grid, _t_options, _t_part, x, n, BLOCK):
        _t_address_x = x.data_ptr()
        _t_key = (_t_device(), 0, _t_part, x.dtype, not _t_address_x & 15, x.stride(), x.get_device(), n)
        _t_plan = _t_plans.get(_t_key)
        if _t_plan is None:  # the same if a tool observes launches
            return _t_unplanned(_t_grid, (x, n, BLOCK), _t_options)
        _t_results.best_config = _t_plan.config
        if _t_plan.hook is not None:
            _t_plan.hook({"x": x, "n": n, "grid": _t_grid, "warmup": False, **_t_options, **_t_plan.knobs})
        _t_bound, _t_filled = _t_plan.bound, _t_plan.filled
        for _t_scope, _t_name, _t_value in _t_bound.watched:  # globals that were compiled in
            if _t_scope.get(_t_name) != _t_value:
                return _t_by_triton(_t_grid, (x, n, BLOCK), _t_options, _t_plan.config)
        if callable(_t_grid):
            _t_grid = _t_grids(_t_grid, {"x": x, "n": n, "BLOCK": _t_filled[0]})
        _t_bound.run(_t_grid, _t_address_x, n, _t_filled[0])
        return _t_bound.kernel

Names that begin with `_t_` are ours; a kernel with such a parameter gets no generated code.
"""

from __future__ import annotations

import keyword
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import partial
from types import CodeType, FunctionType, SimpleNamespace
from typing import Any

import torch
import triton
import triton.language as tl
from triton.runtime import JITFunction
from triton.tools.tensor_descriptor import TensorDescriptor

from tunedb.decorator.buckets import Bucket, bucketed
from tunedb.decorator.call.arguments import Parameters
from tunedb.decorator.call.specialization import specialization_of
from tunedb.runtime.compat_triton import HAS_INSTRUMENTATION, HAS_STAGES_HOOK

MAX_PLANS = 4096  # of a kernel. Chosen, not measured: with more kinds of calls than that, the table is emptied
_BY_VALUE = (bool, str, type(None), torch.dtype, tl.dtype)
_COMPOUND = (tuple, tl.constexpr, triton.TensorWrapper, TensorDescriptor)
_SET_BY_HOOKS = sorted({field.name for field in fields(TensorDescriptor)} - {"base", "shape", "strides", "block_shape"})

# Whether Triton has to launch, because a tool observes each launch or each compilation. `_t_enter` and `_t_exit` are
# the chains of hooks from when the code was generated: a program may have replaced them.
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
    """The type of ABSENT."""

    def __repr__(self) -> str:
        return "<tuned>"


ABSENT = _Absent()  # stands for an argument that a call does not give: a knob, or one that a heuristic fills in


@dataclass(frozen=True)
class Signature:
    """The signature that code is generated for: the kernel's parameters, and their roles."""

    parameters: Parameters
    filled: Collection[str] = ()  # the parameters that configs and heuristics fill in
    keys: Collection[str] = ()
    buckets: Mapping[str, Bucket] = field(default_factory=dict)
    has_heuristics: bool = False


def can_generate(parameters: Parameters) -> bool:
    """Say whether calls with these parameters can be bound by generated code."""
    return parameters.is_plain and not any(
        name.startswith("_t_") or keyword.iskeyword(name) for name in parameters.names
    )


def defaults_of(signature: Signature) -> dict[str, Any]:
    """Return the defaults with which arguments are bound: ABSENT for what is filled in."""
    defaults: dict[str, Any] = {}
    for name in signature.parameters.names:
        # After a parameter with a default Python wants defaults; `_t_unplanned` then notices a missing argument.
        if defaults or name in signature.filled or name in signature.parameters.defaults:
            defaults[name] = ABSENT if name in signature.filled else signature.parameters.defaults.get(name, ABSENT)
    return defaults


def make_dispatcher(signature: Signature, scope: Mapping[str, Any]) -> Callable[..., Any]:
    """Return `launch(grid, *arguments, **options)`, which binds the arguments and finds the reader for their types.

    `scope` has `_t_readers`, the table of readers, and `_t_unplanned(grid, arguments, options)`, which serves a call if
    no reader fits. Only for a signature that `can_generate`.
    """
    parameters, defaults = signature.parameters, defaults_of(signature)
    scope = {**scope, "_t_type": type, "_t_part_of_options": part_of_options}
    scope |= {f"_t_default_{name}": default for name, default in defaults.items()}
    bound = [f"{name}=_t_default_{name}" if name in defaults else name for name in parameters.names]
    arguments = "".join(f"{name}, " for name in parameters.names)
    types = "".join(f"_t_type({name}), " for name in parameters.names)
    source = f"""
def launch(_t_grid, {", ".join(bound)}{", " if bound else ""}**_t_options):
    _t_reader = _t_readers.get(({types}))
    _t_part = _t_part_of_options(_t_options) if _t_options else ()
    if _t_reader is None or _t_part is None:
        return _t_unplanned(_t_grid, ({arguments}), _t_options)
    return _t_reader(_t_grid, _t_options, _t_part, {arguments})
"""
    return _functions_from(source, scope)["launch"]


@dataclass(frozen=True)
class Reader:
    """The generated functions for one tuple of argument types."""

    read: Callable[..., Any]  # read(grid, options, part, *arguments): look the plan up and launch
    key_of: Callable[..., Any]  # key_of(part, *arguments): the key under which `read` looks


@dataclass
class _Pieces:
    """The pieces of a reader's code that its parameters contribute, one by one."""

    key: list[str]  # expressions
    addresses: list[str] = field(default_factory=list)  # statements
    launched: list[str] = field(default_factory=list)  # expressions, one for each parameter
    given: list[str] = field(default_factory=list)  # the parameters that calls give
    late: list[str] = field(default_factory=list)  # expressions of what a config's hook may set


def make_reader(signature: Signature, types: Sequence[type], number: int, scope: Mapping[str, Any]) -> Reader | None:
    """Return the functions for arguments of these types, for which `number` stands in the key.

    `scope` has what `Plans` provides. A key also holds `part`, the launch options that the caller gives. With
    heuristics, or descriptors, whose blocks a config's hook may set, the kernel is bound after these have run. Returns
    None if a type has no fast form: then Triton's own launch serves.
    """
    buckets = {f"_t_bucket_{name}": partial(bucketed, name, bucket) for name, bucket in signature.buckets.items()}
    scope = {
        **scope, **buckets, "_t_specialization_of": specialization_of, "_t_callable": callable, "_t_id": id,
    }  # fmt: skip
    pieces = _pieces(signature, types, number)
    if pieces is None:
        return None
    names = signature.parameters.names
    arguments = "".join(f"{name}, " for name in names)
    given = "".join(f"{name!r}: {name}, " for name in pieces.given)
    rest = [name for name in names if name not in pieces.given]
    every = given + "".join(f"{name!r}: _t_filled[{place}], " for place, name in enumerate(rest))
    find_key = "".join(pieces.addresses) + f"    _t_key = ({', '.join(pieces.key)})\n"
    unplanned = f"return _t_unplanned(_t_grid, ({arguments}), _t_options)"
    by_triton = f"return _t_by_triton(_t_grid, ({arguments}), _t_options, _t_plan.config)"
    if signature.has_heuristics or pieces.late:
        late = f"({', '.join(pieces.late)}, )" if pieces.late else "()"
        variant = "" if signature.has_heuristics else f"_t_plan.bound.get({late}) or "
        bind = f"""_t_bound, _t_filled = {variant}_t_bind({{{given}**_t_options}}, _t_grid, _t_plan, {late})
    if _t_bound is None:
        {by_triton}"""
    else:
        bind = "_t_bound, _t_filled = _t_plan.bound, _t_plan.filled"
    source = f"""
def read(_t_grid, _t_options, _t_part, {arguments}):
{find_key}    _t_plan = _t_plans.get(_t_key)
    if _t_plan is None:
        {unplanned}
    if {_OBSERVED}:
        {unplanned}
    _t_results.best_config = _t_plan.config
    if _t_plan.hook is not None:
        _t_plan.hook({{{given}'grid': _t_grid, 'warmup': False, **_t_options, **_t_plan.knobs}})
    {bind}
    for _t_scope, _t_name, _t_value in _t_bound.watched:
        if _t_scope.get(_t_name) != _t_value:
            {by_triton}
    if _t_callable(_t_grid):
        _t_grid = _t_grids(_t_grid, {{{every}}})
    _t_bound.run(_t_grid, {"".join(f"{expression}, " for expression in pieces.launched)})
    return _t_bound.kernel
"""
    read = _functions_from(source, scope)["read"]
    return Reader(read, partial(_key_of, read.__code__, scope))


def _key_of(read: CodeType, scope: Mapping[str, Any], part: Any, *arguments: Any) -> Any:
    """Return the key under which a reader looks: the code runs on a table that notes it and is empty."""
    keys: list[Any] = []
    table = SimpleNamespace(get=keys.append)
    FunctionType(read, {**scope, "_t_plans": table, "_t_unplanned": _nothing})(None, {}, part, *arguments)
    return keys[0]


def _nothing(*_: Any) -> None:
    """Serve no call."""


def _pieces(signature: Signature, types: Sequence[type], number: int) -> _Pieces | None:
    """Return the pieces of the code; None if an argument of such a type has no fast form, or is a knob that is given.

    What is absent was filled in by the config that served such a call: a pruning function may have added the knob.
    """
    pieces, absent = _Pieces(["_t_device()", str(number), "_t_part"]), 0
    for name, kind in zip(signature.parameters.names, types, strict=True):
        if kind is not _Absent and name in signature.filled:
            return None
        if kind is _Absent:
            pieces.launched.append(f"_t_filled[{absent}]")
            absent += 1
            continue
        key = _key_expressions(name, kind, signature)
        if key is None:
            return None
        pieces.given.append(name)
        pieces.key += key
        pieces.late += late_expressions(name, kind)
        if issubclass(kind, torch.Tensor):
            pieces.addresses.append(f"    _t_address_{name} = {name}.data_ptr()\n")
            pieces.launched.append(f"_t_address_{name}")
        else:
            pieces.launched.append(name)
    return pieces


def _key_expressions(name: str, kind: type, signature: Signature) -> list[str] | None:
    """Return what `specialization_of` computes for an argument of this type, less the type, as expressions.

    Returns None for a type that has no fast form, such as a list.
    """
    if issubclass(kind, torch.Tensor):
        return [f"{name}.dtype", f"not _t_address_{name} & 15", f"{name}.stride()", f"{name}.get_device()"]
    is_bucketed = name in signature.buckets
    is_value = name in signature.parameters.constexprs or (name in signature.keys and not is_bucketed)
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
    if kind is TensorDescriptor:
        return [f"_t_specialization_of({name}.base)"]
    return [f"_t_specialization_of({name}, {is_value})"]


def part_of_options(options: Mapping[str, Any]) -> tuple[Any, ...] | None:
    """Return the part of the key that stands for a caller's launch options; None if one of them can't be in a key."""
    if any(type(value) not in (int, bool, str) for value in options.values()):
        return None
    return tuple([(name, type(value), value) for name, value in options.items()])


def is_set_by_hooks(kind: type) -> bool:
    """Say whether a config's hook may set what a kernel is compiled for in such an argument."""
    return kind is TensorDescriptor


def late_expressions(name: str, kind: type) -> list[str]:
    """Return expressions of what a hook may set in an argument: all of a descriptor but its memory."""
    if not is_set_by_hooks(kind):
        return []
    return [f"*{name}.block_shape", *(f"{name}.{attribute}" for attribute in _SET_BY_HOOKS)]


def _functions_from(source: str, scope: Mapping[str, Any]) -> dict[str, Callable[..., Any]]:
    """Run generated source, in which nothing is the caller's but argument names; return its functions by name."""
    functions: dict[str, Callable[..., Any]] = {}
    exec(compile(source, "<tunedb dispatch>", "exec"), {**scope}, functions)
    return functions
