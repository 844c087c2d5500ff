"""The attributes of Triton's instances that are reached in another way while kernels are adopted: see attributes.py."""

from __future__ import annotations

LISTS = ("configs", "cache")  # a program may edit them in place
RESULTS = ("best_config", "bench_time", "configs_timings")  # they exist once calls have left them
FOLLOWED = (
    "reset_to_zero", "restore_value", "pre_hook", "post_hook", "user_defined_pre_hook",
    "user_defined_post_hook", "perf_model", "configs_top_k", "_do_bench",
)  # fmt: skip
DECISIVE = ("fn", "arg_names", "keys")  # if they change, it is decided again what becomes of the kernel
PRUNING = "early_config_prune"
ALL = (*LISTS, *RESULTS, *FOLLOWED, *DECISIVE, PRUNING)
