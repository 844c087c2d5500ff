"""Plans: for each kind of call that was made before, the chosen config and its loaded kernel."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import torch
import triton

from tunedb import bound, process
from tunedb.decorated import fast
from tunedb.decorated.arguments import Call
from tunedb.decorated.grids import Grids

if TYPE_CHECKING:
    from tunedb.decorated.autotuner import Autotuner

# Config, its pre_hook, its knobs, the bound kernel, the values of the parameters that the call does not give, and what
# keeps the call's functions alive. Where the kernel is bound late, see `fill`: the bound kernels by what tells them
# apart.
Plan = tuple[Any, ...]


class Plans:
    """The plans of one decorated kernel, and the code that finds them."""

    def __init__(self, kernel: Autotuner, first: Callable[..., Any]) -> None:
        self._kernel = kernel
        self._first = first
        self._table: dict[Any, Plan] = process.new_plans()
        self._readers: dict[tuple[type, ...], Callable[..., Any]] = {}
        self._keys: dict[tuple[type, ...], Callable[..., Any] | None] = {}
        self._grids = Grids()
        names = {"_t_readers": self._readers, "_t_first": first}
        self.dispatch = fast.dispatcher(kernel.parameters, kernel.filled, names)

    def clear(self) -> None:
        """Forget them."""
        self._table.clear()

    def given(self, arguments: tuple[Any, ...]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Arguments in order as positional ones, as far as none is absent, and the others by name."""
        names = self._kernel.parameters.names
        absent = [place for place, one in enumerate(arguments) if one is fast.ABSENT]
        first = absent[0] if absent else len(arguments)
        rest = zip(names[first:], arguments[first:], strict=True)
        return arguments[:first], {name: one for name, one in rest if one is not fast.ABSENT}

    def remember(self, call: Call, config: triton.Config, since: int) -> bool:
        """Make the plan for calls of this kind, which was just served; not where the settings changed meanwhile.

        False where such a call can't ever have one.
        """
        arguments = self._in_order(call)
        kinds = tuple(map(type, arguments))
        key_of = self._key_of(kinds)
        if key_of is None or any(name not in self._kernel.parameters.names for name in call.kwargs):
            return False
        if not all(map(fast.fits, arguments)):
            return False
        if self._kernel.jit.pre_run_hooks:  # they run at every launch, and at every compilation
            return True
        if bound.knobs.runtime.debug or any(map(_is_pinned, call.tensors().values())):
            return True  # a plan for pinned memory would launch on memory that no GPU reaches, which looks the same
        variants: Any = None
        filled: tuple[Any, ...] | None = None
        if not self._needs_fill(kinds):
            variants = bound.bind(self._kernel.fn, call.args, {**call.kwargs, **config.all_kwargs()})
            if variants.run is None:
                return True
            variants.keep()
            filled = self._filled(arguments, config.all_kwargs())
        else:
            variants = {}
        functions = tuple(one for one in arguments if callable(one))
        plan = (config, config.pre_hook, config.all_kwargs(), variants, filled, functions)
        if since == process.generation():
            if len(self._table) >= fast.MOST:
                self._table.clear()
            self._table[key_of(*arguments)] = plan
        return True

    def _needs_fill(self, kinds: tuple[type, ...]) -> bool:
        return bool(self._kernel.heuristics) or any(map(fast.is_set_late, kinds))

    def _unbound(self, grid: Any, arguments: tuple[Any, ...], config: triton.Config) -> Any:
        """A launch through Triton, where the config's hook has run and the plan does not serve after all."""
        args, kwargs = self.given(arguments)
        return self._kernel.fn.run(*args, grid=grid, warmup=False, **kwargs, **config.all_kwargs())

    def fill(
        self, named: dict[str, Any], grid: Any, plan: Plan, late: tuple[Any, ...]
    ) -> tuple[Any, tuple[Any, ...] | None]:
        """The kernel bound to a call, and the values of the parameters that the call does not give: by what heuristics
        make of it, who see what Triton would show them, and by what the config's hook has set (`late`).
        """
        _, _, knobs, variants, _, _ = plan
        seen = {**named, "grid": grid, "warmup": False, **knobs}
        for name, function in self._kernel.heuristics:
            seen[name] = function(seen)
        values = tuple(seen[name] for name, _ in self._kernel.heuristics)
        variant = (values, *map(type, values), late) if values else late
        try:
            found = variants.get(variant)
        except TypeError:
            return None, None
        if found is None:
            known = {name: seen[name] for name in self._kernel.parameters.names if name in seen}
            extra = {name: value for name, value in knobs.items() if name not in known}
            made = bound.bind(self._kernel.jit, (), {**known, **extra})
            if made.run is None:
                return None, None
            made.keep()
            order = self._in_order(Call((), grid, (), named))
            found = variants[variant] = made, self._filled(order, seen)
        made_before: tuple[Any, tuple[Any, ...] | None] = found
        return made_before

    def _filled(self, arguments: tuple[Any, ...], values: Mapping[str, Any]) -> tuple[Any, ...]:
        parameters = self._kernel.parameters
        pairs = zip(parameters.names, arguments, strict=True)
        absent = [name for name, one in pairs if one is fast.ABSENT]
        return tuple(values[name] if name in values else parameters.defaults[name] for name in absent)

    def _in_order(self, call: Call) -> tuple[Any, ...]:
        parameters, filled = self._kernel.parameters, self._kernel.filled
        return tuple(
            call.named.get(name, fast.ABSENT if name in filled else parameters.defaults.get(name, fast.ABSENT))
            for name in parameters.names
        )

    def _key_of(self, kinds: tuple[type, ...]) -> Callable[..., Any] | None:
        """The function that tells the key of calls of these types; with it their reader is made."""
        if self.dispatch is None:
            return None
        if kinds not in self._keys:
            names = {
                "_t_plans": self._table, "_t_first": self._first, "_t_owner": self._kernel,
                "_t_device": bound.current_device(), "_t_triton_knobs": bound.knobs,
                "_t_hooks": self._kernel.jit.pre_run_hooks, "_t_grids": self._grids, "_t_fill": self.fill,
                "_t_unbound": self._unbound,
            }  # fmt: skip
            made = fast.reader(
                len(self._keys), self._kernel.parameters, self._kernel.filled, kinds, self._kernel.keys,
                self._kernel.buckets, names, heuristics=bool(self._kernel.heuristics),
            )  # fmt: skip
            self._keys[kinds] = made and made[1]
            if made is not None:
                self._readers[kinds] = made[0]
        return self._keys[kinds]


def _is_pinned(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.is_cpu and value.is_pinned()
