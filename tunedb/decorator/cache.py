"""The `cache` attribute of a decorated kernel: what calls were answered with, as others read it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Self

from tunedb.decorator.call.arguments import Call


class Cache(dict[Any, Any]):
    """A dict from Triton's key to the config. Taking entries out has the next call ask the store again; putting one in
    answers the calls of that key.
    """

    def __init__(self, on_removal: Callable[[], None]) -> None:
        super().__init__()
        self._on_removal = on_removal
        self.forced: dict[Any, Any] = {}  # entries that a user made: calls are answered with them, as with Triton

    def put(self, key: Any, config: Any) -> None:
        """Add an entry."""
        super().__setitem__(key, config)

    def clear(self) -> None:
        """Remove every entry."""
        super().clear()
        self.forced.clear()
        self._on_removal()

    def pop(self, key: Any, *default: Any) -> Any:
        """Remove an entry."""
        self.forced.pop(key, None)
        self._on_removal()
        return super().pop(key, *default)

    def popitem(self) -> tuple[Any, Any]:
        """Remove the last entry."""
        key, config = super().popitem()
        self.forced.pop(key, None)
        self._on_removal()
        return key, config

    def update(self, *args: Any, **kwargs: Any) -> None:
        """Force entries."""
        for key, config in dict(*args, **kwargs).items():
            self[key] = config

    def __ior__(self, entries: Any) -> Self:  # type: ignore[misc]
        self.update(entries)
        return self

    def setdefault(self, key: Any, default: Any = None) -> Any:
        """Force an entry where there is none."""
        if key not in self:
            self[key] = default
        return self[key]

    def __setitem__(self, key: Any, config: Any) -> None:
        super().__setitem__(key, config)
        self.forced[key] = config
        self._on_removal()

    def __delitem__(self, key: Any) -> None:
        super().__delitem__(key)
        self.forced.pop(key, None)
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
