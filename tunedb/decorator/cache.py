"""The `cache` attribute of a decorated kernel: the configs that calls got, by the key that Triton would use."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Self

from tunedb.decorator.call.arguments import Call
from tunedb.decorator.dispatch.codegen import MAX_PLANS


class Cache(dict[Any, Any]):
    """A dict from Triton's key to a config.

    Removing an entry makes the next call ask the store again; assigning one forces its config on calls of that key.
    """

    def __init__(self, on_change: Callable[[], None]) -> None:
        super().__init__()
        self._on_change = on_change
        self.forced: dict[Any, Any] = {}  # the entries that a user assigned: they decide, as with Triton

    def put(self, key: Any, config: Any) -> None:
        """Record the config that a call got, without forcing it on later ones. Drops old records if there are many."""
        if len(self) >= MAX_PLANS and key not in self:
            for old in list(self)[: MAX_PLANS // 2]:
                if old not in self.forced:
                    super().pop(old, None)
        super().__setitem__(key, config)

    def clear(self) -> None:
        """Remove every entry."""
        super().clear()
        self.forced.clear()
        self._on_change()

    def pop(self, key: Any, *default: Any) -> Any:
        """Remove an entry and return its config."""
        self.forced.pop(key, None)
        self._on_change()
        return super().pop(key, *default)

    def popitem(self) -> tuple[Any, Any]:
        """Remove the last entry and return it."""
        key, config = super().popitem()
        self.forced.pop(key, None)
        self._on_change()
        return key, config

    def update(self, *args: Any, **kwargs: Any) -> None:
        """Force entries."""
        for key, config in dict(*args, **kwargs).items():
            self[key] = config

    def __ior__(self, entries: Any) -> Self:  # type: ignore[misc]
        self.update(entries)
        return self

    def setdefault(self, key: Any, default: Any = None) -> Any:
        """Force an entry if there is none for the key."""
        if key not in self:
            self[key] = default
        return self[key]

    def __setitem__(self, key: Any, config: Any) -> None:
        super().__setitem__(key, config)
        self.forced[key] = config
        self._on_change()

    def __delitem__(self, key: Any) -> None:
        super().__delitem__(key)
        self.forced.pop(key, None)
        self._on_change()


def tritons_key(call: Call, names: Sequence[str], keys: Sequence[str]) -> tuple[Any, ...]:
    """Return the key under which triton.autotune keeps a call: the values of `key`, and every argument's dtype."""
    arguments = {name: value for name, value in call.named.items() if name in names}
    key = [arguments[name] for name in keys if name in arguments]
    key += [str(value.dtype) for value in arguments.values() if hasattr(value, "dtype")]
    try:
        hash(tuple(key))
    except TypeError:
        return tuple(map(repr, key))
    return tuple(key)
