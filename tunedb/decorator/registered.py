"""A decorated kernel as packages register it: tuned without a caller, on arguments that a function makes."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from triton.backends.compiler import GPUTarget

from tunedb.core.declaration import Argument, dtype_name
from tunedb.core.device import Device
from tunedb.core.problem import Config, Problem
from tunedb.decorator.call.arguments import Call
from tunedb.decorator.declared_arguments import declared
from tunedb.decorator.kernel import KernelState
from tunedb.decorator.recording.recorded_call import job_of
from tunedb.decorator.tuning.called_kernel import CalledKernel
from tunedb.decorator.tuning.caller_errors import caller_errors
from tunedb.decorator.tuning.clock import clock_of
from tunedb.errors import CallerError, IdentityError, SettingError
from tunedb.runtime.clock import Clock
from tunedb.runtime.compile_job import CompileJob

if TYPE_CHECKING:
    from tunedb.decorator.tuning.workload import CallWorkload

MakeArguments = Callable[..., tuple[Any, Mapping[str, Any]]]
CountWork = Callable[[Problem], int]
_META = torch.device("meta")  # takes no memory


class RegisteredAutotuner:
    """A `tunedb.core.kernel.RegisteredKernel`, made by `kernel.registered(make_arguments)`."""

    def __init__(
        self,
        state: KernelState,
        make_arguments: MakeArguments,
        bytes_moved: CountWork | None = None,
        operations: CountWork | None = None,
    ) -> None:
        self._state = state
        self._make_arguments = make_arguments
        self._bytes_moved, self._operations = bytes_moved, operations
        self._parameters = list(inspect.signature(make_arguments).parameters.values())[1:]  # the first is the device
        self._arguments: dict[Problem, Mapping[str, Any]] = {}  # by the problem that was made of them
        self.gradient: str | None = None  # the name of the gradient's registered kernel, if the owner sets one

    @property
    def name(self) -> str:
        """The kernel's name."""
        return self._state.spec.name

    @property
    def hash(self) -> str:
        """The kernel's hash. Raises HashUnavailable."""
        return self._state.spec.hash

    @property
    def arguments(self) -> tuple[Argument, ...]:
        """Arguments of a problem, for the command line: the parameters of the function that makes a call."""
        return declared(self._parameters)

    @property
    def clock(self) -> Clock | None:
        """The clock that asks the kernel's own benchmark function; None if it has none."""
        return clock_of(self._state.spec.do_bench)

    def space(self, problem: Problem, device: Device) -> Sequence[Config]:
        """Return the configs that pruning leaves for the problem, in the order of the list."""
        return self._called(problem).space(problem, device)

    def default(self, problem: Problem, device: Device) -> Config:
        """Return the first config that pruning leaves for the problem."""
        return self._called(problem).default(problem, device)

    def is_alike(self, problem: Problem, other: Problem) -> bool:
        """Say whether one problem may use the other's config: the tuner compares their facts."""
        return True

    def problem(self, arguments: Mapping[str, Any]) -> Problem:
        """Return the problem of the call that the function makes of these arguments. A dtype may be given by name.

        A fact may be named as it is printed: `x.dtype` is the argument `x_dtype`.

        Raises SettingError for an argument that the function does not take, for a missing one, and if it fails.
        """
        names = [parameter.name for parameter in self._parameters]
        arguments = {_parameter_of(name, names): value for name, value in arguments.items()}
        unknown, missing = sorted(set(arguments) - set(names)), self._missing(arguments)
        if unknown or missing:
            what = f"no argument is called {', '.join(unknown)}" if unknown else f"{', '.join(missing)} is missing"
            raise SettingError(f"{self.name}: {what}. Its problem takes {', '.join(names)}.")
        arguments = {name: _as_dtype(name, value) for name, value in arguments.items()}
        try:
            problem = self._state.spec.problem(self._call(arguments, _META))
        except (CallerError, IdentityError) as error:
            got = ", ".join(f"{name}={value!r}" for name, value in arguments.items())
            reason = str(error).partition("\n")[0]
            raise SettingError(f"{self.name}: its function can't make a call from {got}. {reason}") from error
        self._arguments[problem] = arguments  # with those that are not in the problem, such as a size outside `key`
        return problem

    def other_sizes(self, problem: Problem) -> list[str]:
        """Return the parameters of the function that the problem does not give: their defaults would be used."""
        if problem in self._arguments:
            return []
        facts = self._facts(problem)
        return [parameter.name for parameter in self._parameters if parameter.name not in facts]

    def bytes_moved(self, problem: Problem) -> int | None:
        """Return the bytes that any config has to move, by the owner's function; None without one."""
        return None if self._bytes_moved is None else self._bytes_moved(problem)

    def operations(self, problem: Problem) -> int | None:
        """Return the operations of the definition, by the owner's function; None without one."""
        return None if self._operations is None else self._operations(problem)

    def workload(self, problem: Problem, index: int) -> CallWorkload:
        """Return new arguments for the problem on the device of that index."""
        device = torch.device("cpu") if index < 0 else torch.device("cuda", index)
        called, _ = self._called_with_arguments(problem, device)
        if called.launches_nothing:
            raise SettingError(
                f"{self.name}: its function makes a call that launches nothing: its grid is empty, or its tensors have "
                "no elements. Expected arguments for which there is something to measure."
            )
        workload = called.workload(problem, index)
        called.release()
        return workload

    def compile_jobs(
        self, problem: Problem, config: Config, target: GPUTarget, tensor: None = None
    ) -> list[CompileJob]:
        """Return what compiles the config for the problem, on a device that need not be here.

        Raises SettingError if the function makes no call for the problem, and what hooks and heuristics raise.
        """
        called, call = self._called_with_arguments(problem, _META)
        return [job_of(self._state.spec, call, called.find(config), target)]

    def _called(self, problem: Problem) -> CalledKernel:
        """Return the kernel in a call for the problem, with arguments only if a function of the user's prunes."""
        state = self._state
        if state.spec.prunes:
            return self._called_with_arguments(problem, _META)[0]
        return CalledKernel(state.spec, state.candidates, None, state.configs)

    def _called_with_arguments(self, problem: Problem, device: torch.device) -> tuple[CalledKernel, Call]:
        """Return the kernel in a call for the problem, and the call. Raises SettingError if the function makes none."""
        arguments = self._arguments.get(problem) or self._facts(problem)
        missing = self._missing(arguments)
        if missing:
            raise SettingError(
                f"{self.name}: the problem does not say what {', '.join(missing)} was. Run: tunedb warm {self.name} "
                f"--arg {missing[0]}=..."
            )
        state, call = self._state, self._call(arguments, device)
        made = state.spec.problem(call)
        if made != problem:
            differing = [n for n in sorted({*made, *problem}) if made.plain().get(n) != problem.plain().get(n)]
            raise SettingError(
                f"{self.name}: its function makes no arguments for this problem: {', '.join(differing)} would differ. "
                f"Give it parameters of these names ('.' as '_'), or tune by calling the kernel."
            )
        return CalledKernel(state.spec, state.candidates, call, state.prune(call)), call

    def _missing(self, arguments: Mapping[str, Any]) -> list[str]:
        """Return the required parameters of the function that these arguments lack."""
        return [
            parameter.name
            for parameter in self._parameters
            if parameter.default is parameter.empty and parameter.name not in arguments
        ]

    def _facts(self, problem: Problem) -> dict[str, Any]:
        """Return the problem's facts that the function has parameters for."""
        facts = {name.replace(".", "_"): problem[name] for name in problem}
        return {parameter.name: facts[parameter.name] for parameter in self._parameters if parameter.name in facts}

    def _call(self, arguments: Mapping[str, Any], device: torch.device) -> Call:
        with caller_errors(always=True):
            grid, named = self._make_arguments(device, **arguments)
            named = dict(named)
        return self._state.spec.call(grid, (), named)


def _parameter_of(name: str, names: Collection[str]) -> str:
    """Return the parameter that a fact of this name is given to."""
    return plain if name not in names and (plain := name.replace(".", "_")) in names else name


def _as_dtype(name: str, value: Any) -> Any:
    if not name.endswith("dtype") or not isinstance(value, str):
        return value
    dtype = getattr(torch, dtype_name(value), None)
    if not isinstance(dtype, torch.dtype):
        raise SettingError(f"{name}: expected the name of a torch dtype, such as float16, got {value!r}.")
    return dtype
