"""A function that is called when a module has been imported, so that nothing has to be imported only to change it."""

from __future__ import annotations

import importlib.util
import logging
import sys

from tunedb._internal.control import let_pass

TYPE_CHECKING = False  # not typing's: a program that adopts before it imports Triton would wait for it
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType
    from typing import Any

_log = logging.getLogger("tunedb")


def when_imported(name: str, function: Callable[[ModuleType], object]) -> None:
    """Call the function with the module of that name: now if it is loaded, else as soon as it has been imported.

    A failure of the function is logged.
    """
    module = sys.modules.get(name)
    if module is None:
        if not any(isinstance(finder, _Finder) and finder.is_for(name, function) for finder in sys.meta_path):
            sys.meta_path.insert(0, _Finder(name, function))
        return
    if getattr(getattr(module, "__spec__", None), "_initializing", False):
        importlib.import_module(name)  # another thread imports it: this waits for that
    _call(function, module)


def _call(function: Callable[[ModuleType], object], module: ModuleType) -> None:
    try:
        function(module)
    # The module may be of any version, or a stand-in; and the program's import of it must not fail.
    except Exception as error:
        let_pass(error)
        what = f"{type(error).__name__}: {error}"
        _log.warning("tunedb could not change %s, which stays as it is (%s).", module.__name__, what)


class _Finder:
    """A finder of one module, which it leaves to the other finders; it only has the loader call a function at the end.

    It leaves `sys.meta_path` when it has found the module.
    """

    def __init__(self, name: str, function: Callable[[ModuleType], object]) -> None:
        self._name = name
        self._function = function
        self._is_asking = False

    def is_for(self, name: str, function: Callable[[ModuleType], object]) -> bool:
        """Say whether it calls this function for this module."""
        return (self._name, self._function) == (name, function)

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the spec that the other finders have for the module; None for all other modules."""
        if name != self._name or self._is_asking:  # the latter by a finder that asks all others too
            return None
        self._is_asking = True
        try:
            spec = self._ask(name, path, target)
        finally:
            self._is_asking = False
        if spec is not None and hasattr(spec.loader, "exec_module"):
            spec.loader = _Loader(spec.loader, self, self._function)  # type: ignore[assignment]
        return spec

    def _ask(self, name: str, path: Sequence[str] | None, target: ModuleType | None) -> ModuleSpec | None:
        for finder in list(sys.meta_path):
            find_spec = None if finder is self else getattr(finder, "find_spec", None)
            spec: ModuleSpec | None = None if find_spec is None else find_spec(name, path, target)
            if spec is not None:
                return spec
        return None


class _Loader:
    """A module's own loader, followed by a function. The module keeps its own loader in its attributes."""

    def __init__(self, own: Any, finder: _Finder, function: Callable[[ModuleType], object]) -> None:
        self._own = own
        self._finder = finder
        self._function = function

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """Create the module as its own loader does."""
        module: ModuleType | None = self._own.create_module(spec)
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Run the module, and then the function."""
        if module.__spec__ is not None:
            module.__spec__.loader = self._own
        module.__loader__ = self._own
        self._own.exec_module(module)
        if self._finder in sys.meta_path:
            sys.meta_path.remove(self._finder)
        _call(self._function, module)
