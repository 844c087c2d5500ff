"""Triton's own autotuner, for calls of a kernel that has no hash: nothing of theirs can be stored."""

from __future__ import annotations

import triton

from tunedb.decorator.kernel import KernelState


def tritons_autotuner(state: KernelState) -> triton.runtime.Autotuner:
    """Return what `triton.autotune` makes of a kernel with the current configs."""
    spec = state.spec
    autotuner = triton.runtime.Autotuner(
        spec.fn,
        list(spec.parameters.names),
        list(state.configs),
        list(spec.keys),
        spec.reset_to_zero,
        spec.restore_value,
        pre_hook=spec.pre_hook,  # not Triton's own, which fail before 3.8 if an argument to reset or restore is None
        post_hook=spec.post_hook,
        prune_configs_by={
            "early_config_prune": spec.early_config_prune, "perf_model": spec.perf_model, "top_k": spec.top_k
        },
        do_bench=spec.do_bench,
    )  # fmt: skip
    autotuner.serves_decorated_kernel = True
    return autotuner


def is_fallback(autotuner: triton.runtime.Autotuner) -> bool:
    """Say whether an autotuner of Triton's stands in for a decorated kernel's choice."""
    return "serves_decorated_kernel" in vars(autotuner)
