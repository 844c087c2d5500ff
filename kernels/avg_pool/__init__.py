"""1-D average pooling: the entry points `avg_pool1d` and `avg_pool1d_backward` of `tunedb.kernels` point here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunedb._internal.lazy import lazy

if TYPE_CHECKING:
    from .tunable import BACKWARD as BACKWARD
    from .tunable import FORWARD as FORWARD

__all__ = ["BACKWARD", "FORWARD"]

# At first use, so that a process that only compiles kernels imports no more than it needs.
__getattr__, __dir__ = lazy(globals(), dict.fromkeys(__all__, "tunedb.kernels.avg_pool.tunable"))
