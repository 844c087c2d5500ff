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
    """Decorate a kernel as `triton.autotune` does; configs are stored, and looked up by every later call and process.

    Takes all that triton.autotune takes, with the same meaning. `cache_results` changes nothing: results are always
    kept. With `do_bench`, or the deprecated `warmup`, `rep` (milliseconds) and `use_cuda_graph`, that benchmark
    function times the configs; without, tunedb's own clock does.

    reference: a function that gets those arguments of the kernel, by name, for which it has parameters, and returns
        what a launch must leave in which of them: `lambda x: {"y": torch.softmax(x, -1)}`. The tensors need the shapes
        of the arguments; their dtypes are converted. A config that leaves something else can't win. Without a
        reference a config whose results differ from the first one's is reported to the logger `tunedb`.
    bucket: a function for each name of `key` whose values share configs: `{"M": tunedb.pow2}`. It gets the value, and
        returns an int, float, str, bool or None.
    name: the name under which the kernel is stored; by default its module and qualified name.

    At decoration, raises SettingError, a ValueError, for an unknown name in `key`, `reset_to_zero`, `restore_value` or
    `bucket`. A call raises IdentityError, before any tuning, for a tensor in `key`, or a bucket that fails; Triton's
    AutotunerError if pruning leaves nothing; ValueError if the caller passes a knob; SweepError if every config fails,
    or if a CUDA graph is being captured and no config is loaded.
    """

    def decorate(fn: Fn) -> Autotuner[Fn]:
        return Autotuner(
            fn, configs=configs, key=key, reset_to_zero=reset_to_zero, restore_value=restore_value, pre_hook=pre_hook,
            post_hook=post_hook, prune_configs_by=prune_configs_by, warmup=warmup, rep=rep,
            use_cuda_graph=use_cuda_graph, do_bench=do_bench, cache_results=cache_results, reference=reference,
            bucket=bucket, name=name,
        )  # fmt: skip

    return decorate
