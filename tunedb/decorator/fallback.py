"""Triton's own autotuner, for calls of a kernel that has no hash: nothing of theirs can be stored."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import triton

from tunedb.decorator.cache import key_of
from tunedb.decorator.call.arguments import Call

if TYPE_CHECKING:
    from tunedb.decorator.autotuner import Autotuner


class TritonsOwn:
    """What `triton.autotune` would have made of a kernel with today's configs."""

    def __init__(self, kernel: Autotuner) -> None:
        self._kernel = kernel

    def run(self, call: Call, index: int) -> Any:
        """Make a call. What others read of an autotuner is then what Triton's says."""
        kernel, own = self._kernel, self._own
        launched = own.run(*call.args, grid=call.grid, warmup=False, **call.kwargs)
        config = kernel.best_config = own.best_config
        kernel.cache.put(key_of(call, kernel.arg_names, kernel.keys), config)
        kernel._timings = getattr(own, "configs_timings", {})
        kernel.bench_time = getattr(own, "bench_time", 0.0)
        kernel.loaded.note(call, index, config)
        return launched

    @cached_property
    def _own(self) -> triton.runtime.Autotuner:
        kernel = self._kernel
        return triton.runtime.Autotuner(
            kernel.fn,
            kernel.arg_names,
            list(kernel.configs),
            kernel.keys,
            kernel.reset_to_zero,
            kernel.restore_value,
            pre_hook=kernel.pre_hook if kernel.user_defined_pre_hook else None,
            post_hook=kernel.post_hook if kernel.user_defined_post_hook else None,
            prune_configs_by={
                "early_config_prune": kernel.users_prune, "perf_model": kernel.perf_model, "top_k": kernel.configs_top_k
            },
            do_bench=kernel._do_bench,
        )  # fmt: skip
