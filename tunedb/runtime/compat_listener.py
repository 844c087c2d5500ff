"""A listener to Triton's compiles. Imports Triton only in functions: it is set up while Triton is being imported.

Tested with Triton 3.6 to 3.8.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Listener = Callable[[Any, Mapping[str, Any], Any], None]


def listen_to_compiles(listener: Listener) -> None:
    """Have `listener(source, options, target)` called for each kernel that Triton compiles or finds in its cache.

    It is called once in a process for what a kernel is specialised on. A listener that is there is called first. Does
    nothing if this one is there, and in a Triton without listeners.
    """
    from triton import knobs

    before = getattr(knobs.compilation, "listener", None)
    if getattr(before, "listener", None) is listener:
        return

    def listen(*, src: Any, metadata: Mapping[str, Any], **rest: Any) -> None:
        from triton.backends.compiler import GPUTarget
        from triton.compiler import make_backend

        if before is not None:
            before(src=src, metadata=metadata, **rest)
        target = metadata.get("target")
        if isinstance(target, GPUTarget) and hasattr(src, "fn"):
            names = vars(make_backend(target).parse_options({}))
            listener(src, {name: _as_tuple(metadata[name]) for name in names if name in metadata}, target)

    listen.listener = listener  # type: ignore[attr-defined]
    knobs.compilation.listener = listen


def _as_tuple(value: Any) -> Any:
    """Return what JSON made of a value, in metadata that come from the cache, as a hit and a miss both show it."""
    return tuple(map(_as_tuple, value)) if isinstance(value, list | tuple) else value
