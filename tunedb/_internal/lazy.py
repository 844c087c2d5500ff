"""Names of a package that are loaded at their first use, so that importing the package loads little."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module

TYPE_CHECKING = False  # not typing's: every program that imports tunedb would wait for it
if TYPE_CHECKING:
    from typing import Any


def lazy(package: dict[str, Any], where: Mapping[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return the functions `__getattr__` and `__dir__` of a package, from its globals and the module of each name."""

    def get(name: str) -> Any:
        if name not in where:
            raise AttributeError(f"module {package['__name__']!r} has no attribute {name!r}")
        package[name] = value = getattr(import_module(where[name]), name)
        return value

    return get, lambda: sorted({*package, *where})
