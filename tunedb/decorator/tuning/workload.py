"""A call's own tensors as a sweep's workload. It runs all hooks, and writes only what the kernel writes.

The tensors' memory is saved before the first launch. Those that the default then changes are the outputs. They are
restored before each config is checked, so that a config that leaves elements out is noticed, and at the end, so that
the call's real launch gets what the caller passed.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
import triton

from tunedb._internal.control import let_pass
from tunedb._internal.counted import counted
from tunedb.core.kernel import Resources
from tunedb.core.problem import Config
from tunedb.decorator.call.arguments import Call
from tunedb.decorator.configs import arguments_with, run_hook
from tunedb.decorator.kernel import KernelSpec
from tunedb.decorator.tuning.caller_errors import caller_errors
from tunedb.decorator.tuning.direct_launch import direct_launch
from tunedb.decorator.tuning.meta_arguments import MetaArguments
from tunedb.decorator.tuning.reference import expected_results
from tunedb.decorator.tuning.saved_arguments import SavedArguments
from tunedb.errors import TrialError
from tunedb.runtime.accuracy import difference
from tunedb.runtime.bits import as_numbers
from tunedb.runtime.compat_triton import is_printing
from tunedb.runtime.failures import is_of_device
from tunedb.runtime.launch import launch_call
from tunedb.runtime.loaded_kernel import load_call

_log = logging.getLogger("tunedb")


class CallWorkload:
    """A `tunedb.core.kernel.Workload`. Raises CallerError for an error of a hook, a grid function or an argument."""

    def __init__(self, spec: KernelSpec, call: Call, find: Callable[[Config], triton.Config], index: int) -> None:
        self._spec = spec
        self._call = call
        self._find = find
        self._index = index
        self._meta_arguments = MetaArguments.of(spec, call)
        self._compile_errors: dict[Config, Exception] = {}  # of configs that were compiled ahead
        self._differences: dict[Config, str] = {}  # by config, because a winner is checked twice
        self._launchers: dict[Config, _Launcher] = {}
        self._saved = SavedArguments.of(call.tensors())  # all tensors until the first launch, then the outputs
        self._is_first = True
        self._is_closed = False
        self._is_reference = spec.reference is not None
        self._expected = {} if spec.reference is None else self._by_reference(spec.reference)

    def _by_reference(self, reference: Callable[..., object]) -> dict[str, torch.Tensor]:
        """Return what the reference expects. One that raises may have written into the call's tensors by then."""
        try:
            return expected_results(reference, self._call)
        # Raised again. An interrupt too leaves the tensors half written.
        except BaseException:
            self._restore()
            raise

    def prepare(self, config: Config) -> Resources:
        """Compile ahead. Errors are kept for `compile`, so that the caller's thread raises them and runs the hooks.

        Returns no binary: the hooks of two configs that share one may launch it differently.
        """
        triton_config = self._find(config)
        if self._meta_arguments is None or (
            triton_config.pre_hook is not None and not self._meta_arguments.has_descriptors
        ):
            return Resources()
        try:
            with _on_device(self._index):
                self._meta_arguments.prepare(triton_config)
        except Exception as error:
            let_pass(error)
            # Any error of the compiler's; but a heuristic or hook may have failed because tensors have no memory here.
            if not self._spec.heuristics and triton_config.pre_hook is None:
                self._compile_errors[config] = _without_frames(error)
        return Resources()

    def compile(self, config: Config) -> Resources:
        """Compile and load. A config that fails is shown to the user's post_hook, as triton.autotune does."""
        triton_config = self._find(config)
        if is_printing():
            print(f"Autotuning kernel {self._spec.jit.fn.__name__} with config {triton_config}")
        with caller_errors():
            try:
                if config in self._compile_errors:
                    # Not by a local name: the error's traceback holds this frame, and the frame would hold the error.
                    raise self._compile_errors.pop(config)
                self._run_config_hook(triton_config)
                return load_call(self._spec.fn, self._call.args, self._keywords(triton_config)).resources
            except Exception as error:
                let_pass(error)
                self._before_launch(triton_config)
                self._after_launch(triton_config, error)
                raise

    def launcher(self, config: Config) -> Callable[[], object]:
        """Return a launch as triton.autotune makes it while it tunes, with all hooks."""
        if config not in self._launchers:
            self._launchers[config] = _Launcher(self, self._find(config))
        return self._launchers[config]

    def check(self, config: Config) -> str | None:
        """Compare with the reference and return how they differ; None if they agree.

        Without a reference, compares with the default's results: a difference is only logged, by `close`.
        """
        self._restore()
        triton_config = self._find(config)
        with caller_errors(always=True):
            if self._spec.has_no_programs(self._call, triton_config):
                raise TrialError("pruned", "The grid is empty with this config: a launch of nothing measures nothing.")
        return self._launch(triton_config, partial(self._compared, config))

    def _compared(self, config: Config) -> str | None:
        """Compare what a launch has left. A comparison that fails says nothing about the config."""
        try:
            return self._difference(config)
        except (RuntimeError, TypeError) as error:  # what torch raises for a dtype that it can't compare
            let_pass(error)
            if is_of_device(error):
                raise
            _log.warning("%s: the results of its configs can't be compared: %s", self._spec.name, str(error))
            self._expected = {}
            return None

    def _difference(self, config: Config) -> str | None:
        tensors = self._call.tensors()
        if self._is_first:
            self._is_first = False
            self._find_outputs(tensors)
        for name, expected in self._expected.items():
            how = difference(tensors[name], expected)
            if how is not None:
                if self._is_reference:
                    return f"{name}: {how}"
                self._differences[config] = f"{name}: {how}"
                break
        return None

    def close(self) -> None:
        """Restore the outputs, log differing results, and drop the call's tensors. Does nothing the second time."""
        if self._is_closed:
            return
        try:
            self._restore()
        except RuntimeError as error:  # a lost context, which the sweep has reported
            let_pass(error)
            _log.debug("%s", str(error))
        for config, how in list(self._differences.items())[:1]:
            _log.warning(
                "%s: other results than the first config's from %s. %s: %s. Say which is right: "
                "tunedb.autotune(..., reference=...).",
                self._spec.name, counted(len(self._differences), "config"), config, how,
            )  # fmt: skip
        self._is_closed = True  # last of all: what is interrupted before is done again
        self._saved, self._expected, self._compile_errors, self._launchers = None, {}, {}, {}
        del self._call

    def _launch(self, config: triton.Config, look: Callable[[], str | None] = lambda: None) -> str | None:
        """Launch with all hooks. Returns what `look` returns before the last hook, which may undo the launch."""
        self._before_launch(config)
        with caller_errors():
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
        """Do what `reset_to_zero` and `restore_value` ask for, without hooks. Returns whether that is possible."""
        spec, tensors = self._spec, self._call.tensors()
        saved = set() if self._saved is None else self._saved.names
        restored = {name for name in spec.restore_value if self._call.named.get(name) is not None}
        if spec.has_user_pre_hook or spec.has_user_post_hook or not restored <= saved:
            return False
        if self._saved is not None:
            self._saved.restore_only(restored)
        for name in spec.reset_to_zero:
            if name in tensors:
                as_numbers(tensors[name].data).zero_()
        return True

    def run(self, config: triton.Config) -> None:
        """Launch without hooks."""
        launch_call(self._spec.fn, self._call.args, self._call.grid, self._keywords(config))

    def timed(self, config: triton.Config) -> Callable[[], object]:
        """Return a launch without hooks, and with as little work for the host as possible."""
        with caller_errors():
            return direct_launch(self._spec, self._call, config) or partial(self.run, config)

    @property
    def puts_back(self) -> bool:
        """Whether `put_back` has anything to do."""
        return bool(self._spec.reset_to_zero or self._spec.restore_value)

    def _keywords(self, config: triton.Config) -> dict[str, Any]:
        return {**self._call.kwargs, **config.all_kwargs()}

    def _run_config_hook(self, config: triton.Config) -> None:
        """Run a config's own hook, which may also set what its kernel is compiled for: a descriptor's block."""
        with caller_errors(always=True):
            run_hook(config, self._call)

    def _before_launch(self, config: triton.Config) -> None:
        self._run_config_hook(config)
        with caller_errors(always=True):
            self._spec.pre_hook(arguments_with(config, self._call))

    def _after_launch(self, config: triton.Config, error: Exception | None) -> None:
        with caller_errors(always=True):
            self._spec.post_hook(arguments_with(config, self._call), exception=error)

    def _restore(self) -> None:
        if self._saved is not None:
            self._saved.restore()

    def _find_outputs(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Forget what the first launch did not change; the other configs have to change the same."""
        if self._saved is None:
            return
        changed = self._saved.keep_changed(set(self._expected))
        if not self._is_reference:
            with contextlib.suppress(torch.OutOfMemoryError, MemoryError):  # then the configs are only timed
                self._expected = {name: as_numbers(tensors[name].detach()).clone() for name in changed}


class _Launcher:
    """A launch of a config with all hooks.

    If hooks only put arguments back, it has two parts, of which the clock times the second: `before` and `timed`.
    """

    def __init__(self, workload: CallWorkload, config: triton.Config) -> None:
        self._workload, self._config = workload, config
        if config.pre_hook is None and workload.put_back():
            self.before = workload.put_back if workload.puts_back else _nothing
            self.timed = workload.timed(config)

    def __call__(self) -> None:
        self._workload._launch(self._config)


def _nothing() -> None:
    """Put nothing back."""


def _without_frames(error: Exception) -> Exception:
    """Drop the frames of an error, and of those that caused it: they hold the call's tensors."""
    remaining: list[BaseException | None] = [error]
    while remaining:
        cause = remaining.pop()
        if cause is not None and cause.__traceback__ is not None:
            cause.__traceback__ = None
            remaining += [cause.__cause__, cause.__context__]
    return error


def _on_device(index: int) -> contextlib.AbstractContextManager[object]:
    """Make a GPU the current one; each thread has a current device of its own."""
    return contextlib.nullcontext() if index < 0 else torch.cuda.device(index)
