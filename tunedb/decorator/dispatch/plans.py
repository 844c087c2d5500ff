"""Plans: for each kind of call that was made before, the chosen config and its loaded kernel."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import triton

from tunedb.decorator.call.arguments import Call, is_on_host
from tunedb.decorator.call.specialization import is_told, part_of
from tunedb.decorator.dispatch import codegen as fast
from tunedb.decorator.dispatch.graph_capture import is_capturing, not_loaded
from tunedb.decorator.dispatch.grid_cache import Grids
from tunedb.runtime import compat_triton
from tunedb.runtime.loaded_kernel import is_call_loaded, load_call
from tunedb.tuner import session

if TYPE_CHECKING:
    from tunedb.decorator.autotuner import Autotuner

# Config, its pre_hook, its knobs, the bound kernel, the values of the parameters that the call does not give, and what
# keeps the call's functions alive. Where the kernel is bound late, see `fill`: the bound kernels by what tells them
# apart.
Plan = tuple[Any, ...]


class Plans:
    """The plans of one decorated kernel, and the code that finds them."""

    def __init__(self, kernel: Autotuner, first: Callable[..., Any]) -> None:
        self._kernel = kernel
        self._first = first
        self._table: dict[Any, Plan] = session.new_plans()
        self._readers: dict[tuple[type, ...], Callable[..., Any]] = {}
        self._made: dict[tuple[type, ...], tuple[Callable[..., Any], Callable[..., Any]] | None] = {}
        self._numbers = itertools.count()
        self._grids = Grids()
        names = {"_t_readers": self._readers, "_t_first": first}
        self.dispatch = fast.dispatcher(kernel.parameters, kernel.filled, names)

    def clear(self) -> None:
        """Forget them."""
        self._table.clear()

    def given(self, arguments: tuple[Any, ...]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Arguments in order as Triton takes them: by position up to the first that something else may fill in."""
        names = self._kernel.parameters.names
        absent = (
            place for place, one in enumerate(arguments) if one is fast.ABSENT or names[place] in self._kernel.filled
        )
        first = next(absent, len(arguments))
        rest = zip(names[first:], arguments[first:], strict=True)
        return arguments[:first], {name: one for name, one in rest if one is not fast.ABSENT}

    def remember(self, call: Call, config: triton.Config, since: int) -> bool:
        """Make the plan for calls of this kind, which was just served; not where the settings changed meanwhile.

        False where such a call can't ever have one.
        """
        # On the host, what a GPU reaches (pinned, or empty) looks like what it does not.
        if compat_triton.is_observed(self._kernel.jit) or any(map(is_on_host, call.tensors().values())):
            return True
        arguments = self._in_order(call)
        kinds = tuple(map(type, arguments))
        look = self._look_of(kinds)
        names = self._kernel.parameters.names
        given = fast.part_of_options({name: one for name, one in call.kwargs.items() if name not in names})
        if look is None or given is None or not all(one is fast.ABSENT or is_told(one) for one in arguments):
            return False
        variants: Any = None
        filled: tuple[Any, ...] | None = None
        if not self._is_bound_late(kinds):
            variants = load_call(self._kernel.fn, call.args, {**call.kwargs, **config.all_kwargs()})
            if variants.run is None:
                return True
            variants.keep()
            filled = self._filled(arguments, config.all_kwargs())
        else:
            variants = {}
        functions = tuple(one for one in arguments if callable(one))
        plan = (config, config.pre_hook, config.all_kwargs(), variants, filled, functions)
        if since == session.generation():
            if len(self._table) >= fast.MOST:
                self._table.clear()
            self._table[look(given, *arguments)] = plan
        return True

    def _is_bound_late(self, kinds: tuple[type, ...]) -> bool:
        return bool(self._kernel.heuristics) or any(map(fast.is_set_late, kinds))

    def _unbound(self, grid: Any, arguments: tuple[Any, ...], options: dict[str, Any], config: triton.Config) -> Any:
        """A launch through Triton, where the config's hook has run and the plan does not serve after all."""
        args, kwargs = self.given(arguments)
        return self._kernel.fn.run(*args, grid=grid, warmup=False, **kwargs, **options, **config.all_kwargs())

    def fill(
        self, named: dict[str, Any], grid: Any, plan: Plan, late: tuple[Any, ...]
    ) -> tuple[Any, tuple[Any, ...] | None]:
        """The kernel bound to a call, and the values of the parameters that the call does not give: by what heuristics
        make of it, who see what Triton would show them, and by what the config's hook has set (`late`).

        Raises SweepError where a CUDA graph is captured, and that kernel is not loaded.
        """
        _, _, knobs, variants, _, _ = plan
        seen = {**named, "grid": grid, "warmup": False, **knobs}
        for name, function in self._kernel.heuristics:
            seen[name] = function(seen)
        values = tuple(seen[name] for name, _ in self._kernel.heuristics)
        if not is_told(values):
            return None, None
        # What heuristics say is asked each time, and not kept: it may be a tensor of this call's own.
        filled = self._filled(self._in_order(Call((), grid, (), named)), seen)
        variant = (part_of(values, is_value=True), late) if values else late
        found = variants.get(variant)
        if found is None:
            keywords = {name: value for name, value in seen.items() if name not in ("grid", "warmup")}
            if is_capturing(compat_triton.current_device()) and not is_call_loaded(self._kernel.jit, (), keywords):
                raise not_loaded(self._kernel.name)
            made = load_call(self._kernel.jit, (), keywords)
            if made.run is None:
                return None, None
            made.keep()
            found = variants[variant] = made, () if values else filled
        return found[0], filled

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

    def _look_of(self, kinds: tuple[type, ...]) -> Callable[..., Any] | None:
        """The function that tells the key of calls of these types; with it their reader is made."""
        if self.dispatch is None:
            return None
        if kinds not in self._made:
            names = {
                "_t_plans": self._table, "_t_first": self._first, "_t_owner": self._kernel,
                "_t_device": compat_triton.device_getter(), "_t_runtime": compat_triton.runtime_knobs,
                "_t_compilation": compat_triton.compilation_knobs, "_t_enter": compat_triton.launch_hooks("enter"),
                "_t_exit": compat_triton.launch_hooks("exit"), "_t_hooks": self._kernel.jit.pre_run_hooks,
                "_t_grids": self._grids, "_t_fill": self.fill, "_t_unbound": self._unbound,
            }  # fmt: skip
            made = fast.reader(
                next(self._numbers), self._kernel.parameters, self._kernel.filled, kinds, self._kernel.keys,
                self._kernel.buckets, names, heuristics=bool(self._kernel.heuristics),
            )  # fmt: skip
            made = self._made.setdefault(kinds, made)  # of two threads' the first one's
            if made is not None:
                self._readers[kinds] = made[0]
        found = self._made[kinds]
        return found and found[1]
