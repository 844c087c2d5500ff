"""The companion of an adopted kernel: a decorated kernel with the same attributes, which serves its calls."""

from __future__ import annotations

from typing import Any

from tunedb.adoption.refusal import check_methods
from tunedb.decorator.autotuner import Autotuner
from tunedb.runtime import compat_triton


class Companion(Autotuner[Any]):
    """A decorated kernel that serves the calls of a kernel of Triton's.

    It shares the kernel's list of configs. The configs that the kernel's `cache` holds are forced, as with Triton.
    """

    def __init__(self, kernel: Any) -> None:
        self._kernel = kernel
        parameters = compat_triton.jit_of(kernel).arg_names
        super().__init__(
            kernel.fn, key=[name for name in kernel.keys if name in parameters], bucket=None, reference=None,
            name=None, configs=kernel.configs, reset_to_zero=kernel.reset_to_zero, restore_value=kernel.restore_value,
            pre_hook=_users(kernel.pre_hook, kernel.user_defined_pre_hook),
            post_hook=_users(kernel.post_hook, kernel.user_defined_post_hook),
            prune_configs_by={
                "early_config_prune": kernel.early_config_prune, "perf_model": kernel.perf_model,
                "top_k": kernel.configs_top_k,
            },
            do_bench=compat_triton.benchmark_of(kernel),
        )  # fmt: skip
        self.cache.update(kernel.cache)
        vars(kernel).setdefault("nargs", None)  # as Triton leaves it behind a call

    @property
    def prune_configs(self) -> Any:
        """The kernel's own method, with the positional arguments where it expects them."""
        method = self._kernel.prune_configs
        return method if compat_triton.is_tritons_own(method) else self._prune_by_kernel

    def _prune_by_kernel(self, kwargs: dict[str, Any]) -> Any:
        kernel = self._kernel
        kernel.nargs = self.nargs
        try:
            return kernel.prune_configs(kwargs)
        finally:
            kernel.nargs = None

    def _attributes(self) -> dict[str, Any]:
        return {**super()._attributes(), "do_bench": compat_triton.benchmark_of(self._kernel)}

    def _refresh(self) -> bool:
        check_methods(self._kernel)  # a program may have replaced one meanwhile
        return super()._refresh()


def _users(hook: Any, is_given: bool) -> Any:
    """Return a hook if it is the user's, given or assigned later; None if Triton made it."""
    return hook if is_given or not compat_triton.is_tritons_own(hook) else None
