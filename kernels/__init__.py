"""The kernels that come with tunedb, under PyTorch's names and signatures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunedb._internal.lazy import lazy

if TYPE_CHECKING:
    from .avg_pool.op import AvgPool1d as AvgPool1d
    from .avg_pool.op import avg_pool1d as avg_pool1d

__all__ = ["AvgPool1d", "avg_pool1d"]

# Loaded at first use, so that a process that only compiles kernels imports no torch.
__getattr__, __dir__ = lazy(globals(), dict.fromkeys(__all__, "tunedb.kernels.avg_pool.op"))
