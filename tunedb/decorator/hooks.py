"""What `reset_to_zero` and `restore_value` do around each launch of a sweep, where the user gave no hooks."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any


class Guards:
    """The two hooks. What is to be restored is kept by thread: several may tune at once. An argument may be None."""

    def __init__(self, reset: Sequence[str], restore: Sequence[str]) -> None:
        self._reset = reset
        self._restore = restore
        self._here = threading.local()

    def before(self, kwargs: Mapping[str, Any], reset_only: bool = False) -> None:
        """Set to zero, and copy what is to be restored."""
        for name in self._reset:
            if kwargs[name] is not None:
                kwargs[name].zero_()
        if not reset_only:
            values = ((name, kwargs[name]) for name in self._restore)
            self._here.copies = {name: value.clone() for name, value in values if value is not None}

    def after(self, kwargs: Mapping[str, Any], exception: Exception | None) -> None:  # noqa: ARG002 - Triton's form
        """Restore."""
        copies, self._here.copies = getattr(self._here, "copies", {}), {}
        for name, value in copies.items():
            kwargs[name].copy_(value)
