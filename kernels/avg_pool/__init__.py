"""1-D average pooling: the entry points `avg_pool1d` and `avg_pool1d_backward` of `tunedb.kernels` point here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tunedb.kernels.avg_pool.registered import BACKWARD as BACKWARD
    from tunedb.kernels.avg_pool.registered import FORWARD as FORWARD

__all__ = ["BACKWARD", "FORWARD"]


def __getattr__(name: str) -> Any:
    # At first use, so that a process that only compiles kernels imports no torch.
    if name in __all__:
        from tunedb.kernels.avg_pool import registered

        globals().update((one, getattr(registered, one)) for one in __all__)
        return globals()[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
