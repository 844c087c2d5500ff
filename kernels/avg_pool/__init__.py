"""1-D average pooling: the entry points `avg_pool1d` and `avg_pool1d_backward` of `tunedb.kernels` point here."""

from tunedb.kernels.avg_pool.workload import BACKWARD, FORWARD

__all__ = ["BACKWARD", "FORWARD"]
