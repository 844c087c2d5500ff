"""The `cache` attribute of a decorated kernel: what calls were answered with, as others read it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tunedb.decorated.arguments import Call


class Cache(dict[Any, Any]):
    """A dict from Triton's key to the config. Taking entries out has the next call ask the store again."""

    def __init__(self, on_removal: Callable[[], None]) -> None:
        super().__init__()
        self._on_removal = on_removal

    def put(self, key: Any, config: Any) -> None:
        """Add an entry."""
        super().__setitem__(key, config)

    def clear(self) -> None:
        """Remove every entry."""
        super().clear()
        self._on_removal()

    def pop(self, *args: Any) -> Any:
        """Remove an entry."""
        self._on_removal()
        return super().pop(*args)

    def __delitem__(self, key: Any) -> None:
        super().__delitem__(key)
        self._on_removal()


def key_of(call: Call, names: Sequence[str], keys: Sequence[str]) -> tuple[Any, ...]:
    """The key under which triton.autotune would keep a call: the values of `key`, and every argument's dtype."""
    given = {name: value for name, value in call.named.items() if name in names}
    found = [given[name] for name in keys if name in given]
    found += [str(value.dtype) for value in given.values() if hasattr(value, "dtype")]
    try:
        hash(tuple(found))
    except TypeError:
        return tuple(map(repr, found))
    return tuple(found)
