"""`tunedb.autotune`, the drop-in for `triton.autotune`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import triton

from tunedb.decorator.autotuner import Autotuner, Fn
from tunedb.decorator.buckets import Bucket


def autotune(
    configs: Sequence[triton.Config],
    key: Iterable[str],
    prune_configs_by: Mapping[str, Any] | None = None,
    reset_to_zero: Iterable[str] | None = None,
    restore_value: Iterable[str] | None = None,
    pre_hook: Callable[..., Any] | None = None,
    post_hook: Callable[..., Any] | None = None,
    warmup: int | None = None,
    rep: int | None = None,
    use_cuda_graph: bool = False,
    do_bench: Callable[..., Any] | None = None,
    cache_results: bool = False,
    *,
    reference: Callable[..., Mapping[str, Any]] | None = None,
    bucket: Mapping[str, Bucket] | None = None,
    name: str | None = None,
) -> Callable[[Fn], Autotuner[Fn]]:
    """`triton.autotune`, with the store behind it: what was tuned once is looked up by every later call and process.

    Takes all that triton.autotune takes, with the same meaning. `cache_results` changes nothing: results are always
    kept. With `do_bench`, or the deprecated `warmup`, `rep` (milliseconds) and `use_cuda_graph`, times come from
    Triton's or the given benchmark, else from tunedb's own.

    reference: a function of the kernel's arguments, of those by name that it has parameters for, that returns what a
        launch must leave in which of them: `lambda x: {"y": torch.softmax(x, -1)}`. A config that leaves something else
        can't win. Without it a config that differs from the first one is reported to the logger `tunedb`.
    bucket: a function for a name of `key` that tells which of its values share a config: `{"M": tunedb.pow2}`.
    name: under which the kernel is stored; its module and qualified name where it is not given.

    Raises SettingError, a ValueError, at decoration for an unknown name in `key`, `reset_to_zero`, `restore_value` or
    `bucket`. A call raises IdentityError before any tuning for a value of `key` that has no canonical JSON, Triton's
    AutotunerError where pruning leaves nothing, ValueError for a knob that the caller gives, and SweepError where
    every config fails, or where a CUDA graph is captured and no config is loaded.
    """

    def decorate(fn: Fn) -> Autotuner[Fn]:
        return Autotuner(
            fn, configs=configs, key=key, reset_to_zero=reset_to_zero, restore_value=restore_value, pre_hook=pre_hook,
            post_hook=post_hook, prune_configs_by=prune_configs_by, warmup=warmup, rep=rep,
            use_cuda_graph=use_cuda_graph, do_bench=do_bench, cache_results=cache_results, reference=reference,
            bucket=bucket, name=name,
        )  # fmt: skip

    return decorate
