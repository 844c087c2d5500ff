"""A call's own tensors as a sweep's workload: hooks honoured, nothing written that the kernel does not write itself.

Before the first launch the tensors are copied. What the default then changes are the outputs: they get their former
content back before each config is checked, so that a config that leaves something out is seen, and at the end, so that
the call's real launch finds what the caller passed.
"""

from __future__ import annotations

import contextlib
import inspect
import logging
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import torch
import triton

from tunedb.core.kernel import Resources
from tunedb.core.problem import Config
from tunedb.decorator.call.arguments import Call
from tunedb.decorator.tuning.caller_errors import callers_faults
from tunedb.decorator.tuning.meta_arguments import Outlines
from tunedb.errors import CallerError, SettingError
from tunedb.runtime.accuracy import difference, is_same
from tunedb.runtime.compat_triton import is_printing
from tunedb.runtime.launch import launch_call
from tunedb.runtime.loaded_kernel import load_call

_log = logging.getLogger("tunedb")


class CallWorkload:
    """See `tunedb.core.kernel.Workload`. Raises CallerError for an error of a hook, a grid function or an argument."""

    def __init__(self, kernel: Any, call: Call, find: Callable[[Config], triton.Config], index: int) -> None:
        self._kernel = kernel  # the Autotuner
        self._call = call
        self._find = find
        self._index = index
        self._outlines = Outlines.of(call, kernel.arg_names, kernel.parameters.variadic)
        self._refused: dict[Config, Exception] = {}  # by the compiler, ahead
        self.why = ""  # the first config that failed did so
        self._told: dict[Config, str] = {}  # whose results are other ones; a winner is checked twice
        self._before = _copies(call.tensors())  # until the first launch of all, then of the outputs
        self._is_first = True
        self._is_reference = kernel.reference is not None
        self._expected = {} if kernel.reference is None else _results(kernel.reference, call)

    def prepare(self, config: Config) -> Resources:
        """Compile. What comes of it is told by `compile`, so that hooks and errors are met by the caller's thread.

        Nothing tells a binary that two configs share: their hooks may make other launches of it.
        """
        found = self._find(config)
        if self._outlines is None or (found.pre_hook is not None and not self._outlines.has_descriptors):
            return Resources()
        try:
            with _on_device(self._index):
                self._outlines.prepare(self._kernel.fn, found)
        except Exception as error:
            # A heuristic or a hook may have looked for what an outline has not.
            if not self._kernel.heuristics and found.pre_hook is None:
                self._refused[config] = _without_frames(error)
        return Resources()

    def compile(self, config: Config) -> Resources:
        """Compile and load; a config that does not is shown to the user's post_hook, as triton.autotune does."""
        found = self._find(config)
        if is_printing():
            print(f"Autotuning kernel {self._kernel.base_fn.__name__} with config {found}")
        refused = self._refused.pop(config, None)
        with self._blamed(), callers_faults():
            try:
                if refused is not None:
                    raise refused
                self._configure(found)
                return load_call(self._kernel.fn, self._call.args, self._keywords(found)).resources
            except Exception as error:
                self._before_launch(found)
                self._after_launch(found, error)
                raise

    def launcher(self, config: Config) -> Callable[[], object]:
        """One launch as triton.autotune makes it while it tunes, with all hooks."""
        return _Launcher(self, self._find(config))

    def check(self, config: Config) -> str | None:
        """Compare with the reference; without one, with what the default left, of which a difference is only told."""
        self._restore()
        return self._launch(self._find(config), partial(self._compared, config))

    def _compared(self, config: Config) -> str | None:
        tensors = self._call.tensors()
        if self._is_first:
            self._is_first = False
            self._find_outputs(tensors)
        for name, needed in self._expected.items():
            found = difference(tensors[name], needed)
            if found is not None:
                if self._is_reference:
                    self.why = self.why or f"{name}: {found}"
                    return f"{name}: {found}"
                self._told[config] = f"{name}: {found}"
                break
        return None

    def close(self) -> None:
        """Give the outputs their content back, tell of disagreements, and let go of the call."""
        try:
            self._restore()
        except RuntimeError as error:  # a lost context: the sweep has said so
            _log.debug("%s", error)
        for config, how in list(self._told.items())[:1]:
            _log.warning(
                "%s: %d configs give other results than the first one. %s: %s. Say which is right: "
                "tunedb.autotune(..., reference=...).", self._kernel.name, len(self._told), config, how,
            )  # fmt: skip
        self._before, self._expected, self._refused = None, {}, {}
        del self._call

    def _launch(self, config: triton.Config, look: Callable[[], str | None] = lambda: None) -> str | None:
        """Launch with all hooks; what `look` finds before the last of them, which may undo the launch."""
        self._before_launch(config)
        with self._blamed(), callers_faults():
            try:
                self.run(config)
            except Exception as error:
                self._after_launch(config, error)
                raise
        try:
            return look()
        finally:
            self._after_launch(config, None)

    def put_back(self) -> bool:
        """Do what the kernel's `reset_to_zero` and `restore_value` ask for, without hooks; whether that can be done."""
        kernel, tensors, before = self._kernel, self._call.tensors(), self._before or {}
        restored = [name for name in kernel.restore_value if self._call.named.get(name) is not None]
        if not kernel.is_guarded or not set(restored) <= set(before):
            return False
        for name in kernel.reset_to_zero:
            if name in tensors:
                tensors[name].data.zero_()
        for name in restored:
            tensors[name].data.copy_(before[name])
        return True

    def run(self, config: triton.Config) -> None:
        """Launch, without hooks."""
        launch_call(self._kernel.fn, self._call.args, self._call.grid, self._keywords(config))

    def _keywords(self, config: triton.Config) -> dict[str, Any]:
        return {**self._call.kwargs, **config.all_kwargs()}

    def _named(self, config: triton.Config) -> dict[str, Any]:
        return {**self._call.named, **self._call.extra, **config.all_kwargs()}

    def _configure(self, config: triton.Config) -> None:
        """Run a config's own hook: it may also set what its kernel is compiled for, a descriptor's block."""
        if config.pre_hook is not None:
            with callers_faults(always=True):
                config.pre_hook(self._named(config))

    def _before_launch(self, config: triton.Config) -> None:
        self._configure(config)
        with callers_faults(always=True):
            self._kernel.pre_hook(self._named(config))

    def _after_launch(self, config: triton.Config, error: Exception | None) -> None:
        with callers_faults(always=True):
            self._kernel.post_hook(self._named(config), exception=error)

    @contextlib.contextmanager
    def _blamed(self) -> Iterator[None]:
        """Keep in words how a config failed."""
        try:
            yield
        except CallerError:
            raise
        except Exception as error:
            self.why = self.why or f"{type(error).__name__}: {error}"
            raise

    def _restore(self) -> None:
        tensors = self._call.tensors()
        for name, before in (self._before or {}).items():
            tensors[name].data.copy_(before)  # `data`: autograd is not to see it

    def _find_outputs(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Let go of the copies of what the first launch did not change; what it changed is what the others must do."""
        if self._before is None:
            return
        changed = {name for name, before in self._before.items() if not is_same(tensors[name], before)}
        self._before = {name: before for name, before in self._before.items() if name in changed | set(self._expected)}
        if not self._is_reference:
            self._expected = _copies({name: tensors[name] for name in changed}) or {}


class _Launcher:
    """One launch as triton.autotune makes it while it tunes, with all hooks.

    See `tunedb.runtime.clock.GpuClock.sample`.
    """

    def __init__(self, workload: CallWorkload, config: triton.Config) -> None:
        self._workload, self._config = workload, config
        if config.pre_hook is None and workload.put_back():
            self.before, self.timed = workload.put_back, partial(workload.run, config)

    def __call__(self) -> None:
        self._workload._launch(self._config)


def _without_frames(error: Exception) -> Exception:
    """The error, and those behind it, without the frames that they passed through: these hold the call's tensors."""
    left: list[BaseException | None] = [error]
    while left:
        one = left.pop()
        if one is not None and one.__traceback__ is not None:
            one.__traceback__ = None
            left += [one.__cause__, one.__context__]
    return error


def _on_device(index: int) -> contextlib.AbstractContextManager[object]:
    """Each thread has a current device of its own."""
    return contextlib.nullcontext() if index < 0 else torch.cuda.device(index)


def _copies(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor] | None:
    """Copies; None where they do not fit. A tensor whose elements share memory can't be written back: it has none."""
    try:
        return {name: one.detach().clone() for name, one in tensors.items() if _is_writable(one)}
    except (torch.OutOfMemoryError, MemoryError):
        _log.info("Too little memory to compare the configs' results: they are only timed.")
        return None


def _is_writable(tensor: torch.Tensor) -> bool:
    axes = zip(tensor.shape, tensor.stride(), strict=True)
    return tensor.numel() > 0 and not any(size > 1 and stride == 0 for size, stride in axes)


def _wanted(reference: Callable[..., Any], call: Call) -> dict[str, Any]:
    """Those of the call's arguments that the function has parameters for."""
    parameters = inspect.signature(reference).parameters.values()
    if any(one.kind is one.VAR_KEYWORD for one in parameters):
        return call.named
    named = [one for one in parameters if one.kind not in (one.VAR_POSITIONAL, one.POSITIONAL_ONLY)]
    missing = [one.name for one in named if one.name not in call.named and one.default is one.empty]
    if missing:
        raise SettingError(f"reference: the call has no argument {missing[0]}. It has {', '.join(call.named)}.")
    return {one.name: call.named[one.name] for one in named if one.name in call.named}


def _results(reference: Callable[..., Any], call: Call) -> dict[str, torch.Tensor]:
    """What the named arguments have to hold after a launch. Raises SettingError for anything but a mapping of these."""
    found = reference(**_wanted(reference, call))
    tensors = call.tensors()
    if not isinstance(found, Mapping) or not found or not set(found) <= set(tensors):
        raise SettingError(
            f"reference: found {type(found).__name__} {found if not isinstance(found, torch.Tensor) else ''}, needed "
            f'a dict of tensors by argument, such as {{"{next(iter(tensors), "y")}": ...}}. '
            f"The tensors here are {', '.join(tensors)}."
        )
    for name, one in found.items():
        if not isinstance(one, torch.Tensor) or one.shape != tensors[name].shape:
            raise SettingError(
                f"reference: {name}: found {tuple(one.shape) if isinstance(one, torch.Tensor) else type(one).__name__}"
                f", needed a tensor of shape {tuple(tensors[name].shape)}."
            )
    # Copies, for the function may return the argument itself, having written into it.
    return {name: one.detach().to(tensors[name].device, tensors[name].dtype, copy=True) for name, one in found.items()}
