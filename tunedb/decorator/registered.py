"""A decorated kernel as packages register it: warmed and looked up without a caller, on arguments that it makes."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch

from tunedb.core.declaration import Argument
from tunedb.core.device import Device
from tunedb.core.problem import Config, Problem
from tunedb.decorator.call.arguments import Call, problem_of
from tunedb.decorator.declared_arguments import declared
from tunedb.decorator.tuning.called_kernel import CalledKernel
from tunedb.decorator.tuning.caller_errors import callers_faults
from tunedb.decorator.tuning.clock import clock_of
from tunedb.decorator.tuning.workload import CallWorkload
from tunedb.errors import CallerError, IdentityError, SettingError
from tunedb.runtime.clock import Clock

if TYPE_CHECKING:
    from tunedb.decorator.autotuner import Autotuner

Maker = Callable[..., tuple[Any, Mapping[str, Any]]]


class RegisteredAutotuner:
    """A `tunedb.core.kernel.RegisteredKernel`, made by `kernel.registered(arguments)`."""

    def __init__(self, kernel: Autotuner, arguments: Maker) -> None:
        self.kernel = kernel
        self._make = arguments
        self._parameters = list(inspect.signature(arguments).parameters.values())[1:]  # the first is the device
        self._asked: dict[Problem, Mapping[str, Any]] = {}
        self.gradient: str | None = None  # to be set to the name of its gradient's registered kernel, if it has one

    @property
    def name(self) -> str:
        """The kernel's name."""
        return self.kernel.name

    @property
    def hash(self) -> str:
        """The kernel's hash."""
        return self.kernel.source_hash

    @property
    def arguments(self) -> tuple[Argument, ...]:
        """Arguments of a problem, for the command line: the parameters of the function that makes a call."""
        return declared(self._parameters)

    @property
    def clock(self) -> Clock | None:
        """The clock that asks the kernel's own benchmark function; None where it has none."""
        return clock_of(self.kernel._do_bench)

    def space(self, problem: Problem, device: Device) -> Sequence[Config]:
        """The configs that pruning leaves for the problem, in their order."""
        return self._called(problem).space(problem, device)

    def default(self, problem: Problem, device: Device) -> Config:
        """The first of them."""
        return self._called(problem).default(problem, device)

    def is_alike(self, problem: Problem, other: Problem) -> bool:
        """See `CalledKernel.is_alike`."""
        return True

    def problem(self, arguments: Mapping[str, Any]) -> Problem:
        """The problem of the call that the function makes of these arguments; a dtype may be given by its name.

        Made on torch's meta device, which takes no memory. Raises SettingError for an argument that the function does
        not take, or one that it needs, and where it fails.
        """
        known = [parameter.name for parameter in self._parameters]
        unknown, missing = sorted(set(arguments) - set(known)), self._missing(arguments)
        if unknown or missing:
            fault = f"no argument is called {', '.join(unknown)}" if unknown else f"{', '.join(missing)} is missing"
            raise SettingError(f"{self.name}: {fault}. Its problem takes {', '.join(known)}.")
        given = {name: _as_dtype(name, value) for name, value in arguments.items()}
        try:
            problem = self._problem_of(self._call(given, torch.device("meta")))
        except (CallerError, IdentityError) as error:
            told = ", ".join(f"{name}={value!r}" for name, value in given.items())
            first = str(error).partition("\n")[0]
            raise SettingError(f"{self.name}: found {told}, of which its function makes no call. {first}") from error
        self._asked[problem] = given  # also what is no fact of the problem, such as a size that is not in `key`
        return problem

    def workload(self, problem: Problem, index: int) -> CallWorkload:
        """Fresh arguments on the device of that index."""
        device = torch.device("cpu") if index < 0 else torch.device("cuda", index)
        called = self._called(problem, device)
        made = called.workload(problem, index)
        called.release()
        return made

    def _called(self, problem: Problem | None, device: torch.device | None = None) -> CalledKernel:
        """The kernel in a call for the problem. Where no user's function looks at it, nothing is made for it."""
        from tunedb.decorator.resolve import prune

        prunes = self.kernel.users_prune is not None or self.kernel.perf_model is not None
        if problem is None or (device is None and not prunes):
            return CalledKernel(self.kernel, Call((), None, (), {}), self.kernel.configs)
        given = self._asked.get(problem) or self._facts(problem)
        missing = self._missing(given)
        if missing:
            raise SettingError(
                f"{self.name}: {', '.join(missing)} can't be told from the problem. Run: tunedb warm {self.name} --arg "
                f"{missing[0]}=..."
            )
        call = self._call(given, device or torch.device("meta"))
        found = self._problem_of(call)
        if found != problem:
            differs = [
                name for name in sorted({*found, *problem}) if found.plain().get(name) != problem.plain().get(name)
            ]
            raise SettingError(
                f"{self.name}: its function makes no arguments for this problem: {', '.join(differs)} would differ. "
                f"Give it parameters of these names ('.' as '_'), or tune by calling the kernel."
            )
        return CalledKernel(self.kernel, call, prune(self.kernel, call))

    def _missing(self, arguments: Mapping[str, Any]) -> list[str]:
        """What the function needs besides these arguments."""
        return [one.name for one in self._parameters if one.default is one.empty and one.name not in arguments]

    def _facts(self, problem: Problem) -> dict[str, Any]:
        """The problem's facts that the function has parameters for."""
        facts = {name.replace(".", "_"): problem[name] for name in problem}
        return {one.name: facts[one.name] for one in self._parameters if one.name in facts}

    def _call(self, arguments: Mapping[str, Any], device: torch.device) -> Call:
        with callers_faults(always=True):
            grid, named = self._make(device, **arguments)
        return Call(self.kernel.arg_names, grid, (), dict(named))

    def _problem_of(self, call: Call) -> Problem:
        kernel = self.kernel
        return problem_of(kernel.name, call, kernel.parameters, kernel.keys, kernel.buckets)


def _as_dtype(name: str, value: Any) -> Any:
    if not name.endswith("dtype") or not isinstance(value, str):
        return value
    found = getattr(torch, value, None)
    if not isinstance(found, torch.dtype):
        raise SettingError(f"{name}: found {value!r}, needed the name of a torch dtype, such as float16.")
    return found
