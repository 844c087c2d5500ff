"""Stands for torch or Triton, under whose names tests link it, in processes that compute nothing: it loads at once.

Every name that it is asked for is an exception's class, which can be raised, caught, called and has such names itself.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

__version__ = "0"
__path__: list[str] = []


class version:  # noqa: N801 - torch's name
    """As of a build without a GPU."""

    cuda = hip = None


class Anything(type):
    """The type of the classes, which have every attribute."""

    def __getattr__(cls, name: str) -> type:
        return __getattr__(name)


class Nothing(RuntimeError, metaclass=Anything):
    """The base of the classes; an object of one is a function and a context that do nothing."""

    def __call__(self, *arguments: object, **keywords: object) -> Nothing:
        return self

    def __enter__(self) -> Nothing:
        return self

    def __exit__(self, *error: object) -> None:
        return None


def __getattr__(name: str) -> type:
    if name.startswith("__"):
        raise AttributeError(name)
    return Anything(name, (Nothing,), {})


class Finder(MetaPathFinder, Loader):
    """Makes this module's submodules, which have every attribute as well."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        """Find those of this module only."""
        return ModuleSpec(name, self, is_package=True) if name.startswith(f"{__name__}.") else None

    def exec_module(self, module: ModuleType) -> None:
        """Let it have every attribute."""
        module.__getattr__ = __getattr__  # type: ignore[method-assign]  # a module's own


sys.meta_path.insert(0, Finder())
