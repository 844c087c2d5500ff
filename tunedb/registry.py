"""Kernels that installed packages register under the entry point group `tunedb.kernels`."""

from __future__ import annotations

import functools
import logging
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeGuard

from tunedb._internal.control import left_a_signal_handler, let_pass
from tunedb.core.declaration import Argument, Demo
from tunedb.errors import SettingError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint, EntryPoints

    from tunedb.core.kernel import RegisteredKernel

GROUP = "tunedb.kernels"
DEPENDENCIES = ("torch", "triton", "numpy")  # what a kernel may need and a checkout may lack; not its package's fault

_log = logging.getLogger("tunedb")


def entry_points(*, group: str, name: str | None = None) -> EntryPoints:
    """Return what `importlib.metadata` does, which reads all installed packages.

    They are read again only if something came or went in a folder of `sys.path`, as an installation does, or if finders
    did; not if the metadata of a package is edited in place.
    """
    entries = _entry_points(group, tuple(_changes(sys.path)), tuple(map(id, sys.meta_path)))
    return entries if name is None else entries.select(name=name)


@functools.lru_cache(maxsize=4)
def _entry_points(group: str, *_: object) -> EntryPoints:  # by what else the answer depends on
    from importlib import metadata  # here: `tunedb --help` does without it

    return metadata.entry_points(group=group)


def _changes(places: Iterable[object]) -> Iterator[tuple[Path, int]]:
    """Yield the places where packages are, each with the time at which something came or went there last."""
    for place in map(Path, map(str, places)):
        try:
            yield place.absolute(), place.stat().st_mtime_ns
        except (OSError, ValueError) as error:  # Python ignores it too
            let_pass(error)
            yield place, 0


def kernel_names() -> list[str]:
    """Return the names of the kernels that installed packages register, sorted. Loads none of them."""
    return sorted({entry.name for entry in entry_points(group=GROUP)})


def kernel_named(name: str) -> RegisteredKernel:
    """Return the kernel registered under this name.

    Raises SettingError if there is none, if several packages register one, or if it can't be loaded or is not a kernel
    of that name. Raises ModuleNotFoundError if torch, triton or numpy is missing.
    """
    entries = {entry.value: entry for entry in entry_points(group=GROUP, name=name)}
    if len(entries) > 1:
        places = "; ".join(f"{_package(entry)} ({value})" for value, entry in sorted(entries.items()))
        raise SettingError(f"Several packages register a kernel {name!r}: {places}. Uninstall all but one of them.")
    for entry in entries.values():
        return _load(entry)
    raise SettingError(f"No kernel is called {name!r}. Installed kernels: {', '.join(kernel_names()) or 'none'}.")


def is_registered(kernel: object) -> TypeGuard[RegisteredKernel]:
    """Say whether an object is a kernel that can be registered, as `kernel.registered(arguments)` returns."""
    return all(hasattr(kernel, required) for required in ("name", "problem", "workload"))


def installed(names: Iterable[str]) -> dict[str, RegisteredKernel]:
    """Return those of the named kernels that are installed and can be loaded. The others are logged."""
    return dict(_loadable(set(names) & set(kernel_names())))


def arguments_of(kernel: object) -> tuple[Argument, ...]:
    """Return the arguments that a kernel declares; none if it is a kernel that declares nothing."""
    return tuple(getattr(kernel, "arguments", ()))  # optional: a registered kernel may be any object


def gradient_of(kernel: object) -> str | None:
    """Return the name of the registered kernel that computes this kernel's gradient, if it declares one."""
    gradient: str | None = getattr(kernel, "gradient", None)  # optional, as the arguments are
    return gradient


def gradient_names() -> set[str]:
    """Return the names of all kernels that another installed kernel declares as its gradient."""
    return {gradient for _, kernel in _loadable(kernel_names()) if (gradient := gradient_of(kernel)) is not None}


def kernel_with(arguments: Iterable[str]) -> str:
    """Return the name of the only installed kernel, gradients aside, that declares all these arguments.

    Raises SettingError if there is none, or more than one.
    """
    asked = set(arguments)
    kernels = dict(_loadable(kernel_names()))
    gradients = {gradient_of(kernel) for kernel in kernels.values()}
    names = [
        name
        for name, kernel in kernels.items()
        if name not in gradients and asked <= {argument.name for argument in arguments_of(kernel)}
    ]
    if len(names) == 1:
        return names[0]
    fault = f"several kernels take ({', '.join(names)})" if names else "no installed kernel declares"
    raise SettingError(
        f"no kernel is named, and {fault} the arguments {', '.join(sorted(asked)) or '(none)'}. "
        f"Name one of: {', '.join(kernel_names()) or 'none is installed'}."
    )


def demo_kernel() -> tuple[str, Demo]:
    """Return the first installed kernel that declares a demonstration. Raises SettingError if none does."""
    for name, kernel in _loadable(kernel_names()):
        demo: Demo | None = getattr(kernel, "demo", None)  # optional, as the arguments are
        if demo is not None:
            return name, demo
    raise SettingError(f"No installed kernel has a demonstration. Installed kernels: {', '.join(kernel_names())}.")


def _loadable(names: Iterable[str]) -> Iterator[tuple[str, RegisteredKernel]]:
    for name in sorted(names):
        try:
            yield name, kernel_named(name)
        except (ImportError, SettingError) as error:
            _log.warning("Kernel %s is installed, but can't be used: %s", name, str(error))


def _load(entry: EntryPoint) -> RegisteredKernel:
    try:
        kernel: RegisteredKernel = entry.load()
        is_kernel = is_registered(kernel)
        declared = tuple(arguments_of(kernel)) if is_kernel else ()
    except (Exception, SystemExit) as error:  # the code of another package may raise anything
        if not isinstance(error, SystemExit) or left_a_signal_handler(error):
            let_pass(error)
        if isinstance(error, ModuleNotFoundError) and error.name in DEPENDENCIES:
            raise
        raise SettingError(
            f"{entry.name}: its package registers {entry.value}, which can't be loaded "
            f"({type(error).__name__}: {error})."
        ) from error
    if not is_kernel or not all(isinstance(argument, Argument) for argument in declared):
        raise SettingError(
            f"{entry.name}: its package registers {entry.value}, a {type(kernel).__name__}; expected what "
            f"kernel.registered(arguments) returns. See the guide on warming."
        )
    if kernel.name != entry.name:  # sweeps are stored under the kernel's name, and would not be found under this one
        raise SettingError(
            f"{entry.name}: {_package(entry)} registers {entry.value} under this name, but the kernel's name is "
            f"{kernel.name!r}. Give both one name: autotune(..., name={entry.name!r}), or another entry point."
        )
    return kernel


def _package(entry: EntryPoint) -> str:
    return "a package" if entry.dist is None else f"the package {entry.dist.name}"
