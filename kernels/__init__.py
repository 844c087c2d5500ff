"""The kernels that come with tunedb, under the names and signatures that PyTorch users know."""

from tunedb.kernels.avg_pool.op import AvgPool1d, avg_pool1d

__all__ = ["AvgPool1d", "avg_pool1d"]
