"""The kernels that come with tunedb, under the names and signatures that PyTorch users know."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tunedb.kernels.avg_pool.op import AvgPool1d as AvgPool1d
    from tunedb.kernels.avg_pool.op import avg_pool1d as avg_pool1d

__all__ = ["AvgPool1d", "avg_pool1d"]


def __getattr__(name: str) -> Any:
    # At first use, so that a process that only compiles kernels imports no torch.
    if name in __all__:
        from tunedb.kernels.avg_pool import op

        globals().update((one, getattr(op, one)) for one in __all__)
        return globals()[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
