"""`tunedb.adopt()`: every kernel that a program decorates with `triton.autotune` is served by the tuner.

It imports neither Triton nor torch: a program that never uses them pays nothing.
"""

from __future__ import annotations

import logging
import threading

from tunedb._internal import child_environment, forks
from tunedb._internal.control import suppress
from tunedb._internal.import_hook import when_imported
from tunedb.adoption import selection
from tunedb.adoption.patch import install, release, uninstall
from tunedb.adoption.selection import Selection
from tunedb.errors import SettingError

TYPE_CHECKING = False  # not typing's: a program that adopts before it imports Triton would wait for it
if TYPE_CHECKING:
    from types import ModuleType

    from tunedb.adoption.selection import Patterns

_log = logging.getLogger("tunedb")

MODULE = "triton.runtime.autotuner"  # where Triton's class is defined

_lock = threading.RLock()  # held while Triton's class and the environment are made to follow the selections in force


@forks.in_child
def _renew_lock() -> None:
    global _lock
    _lock = threading.RLock()  # another thread of the parent may hold the old one


class Adoption:
    """The adoption that one `adopt()` began: `undo()`, or the end of a `with` block, ends it."""

    def __init__(self, selection: Selection) -> None:
        self._selection = selection

    def undo(self) -> None:
        """Serve the kernels as before. Kernels that another `adopt()` asks for stay adopted. May be called twice."""
        with _lock:
            if self._selection not in selection.in_force:
                return
            selection.in_force.remove(self._selection)
            _update_children()
            if not selection.in_force:
                uninstall()
            release(every=not selection.in_force)

    def __enter__(self) -> Adoption:
        return self

    def __exit__(self, *error: object) -> None:
        self.undo()


def adopt(only: Patterns = None, skip: Patterns = None, *, children: bool = True) -> Adoption:
    """Serve the kernels of this process that `triton.autotune` decorated as if `tunedb.autotune` had.

    It does not matter when, where and by which name they were decorated; a subclass of Triton's Autotuner is adopted
    if it keeps `run`, or calls Triton's. A kernel is adopted at its first call. One that can't be adopted runs as it
    did; `tunedb.adopted()` lists all kernels, with the reason. Kernels with one config, and those that run in
    Triton's interpreter, stay as they are. So do kernels that `tunedb.autotune` decorated.

    only: a pattern, or a list of patterns, of the kernels to adopt; all without it. A pattern is compared with a
        kernel's module, and with its full name, the module's and the function's: `*` stands for any characters, dots
        too, `?` for one, `[ab]` for one of these. `fla.*` stands for the package `fla` and all in it,
        `*.softmax_kernel` for one kernel.
    skip: the same, of kernels to leave as they are, also if `only` names them.
    children: whether the Python processes that this one starts from now on adopt these kernels too. For that, a folder
        is put in PYTHONPATH, and a variable in the environment.

    Returns an object with `undo()`, which is also a context manager: at the end of `with tunedb.adopt():` everything is
    as it was. If `adopt` is called several times, a kernel is adopted if any of the calls asks for it. Triton is not
    imported for it; without Triton nothing happens. Raises SettingError for a pattern that is not a str.
    """
    adoption = Adoption(made := Selection(only, skip, children=children))
    with _lock:
        selection.in_force.append(made)
        _update_children()
        release()
    # Without the lock: this may wait for another thread's import, at the end of which `_install` needs it.
    when_imported(MODULE, _install)
    when_imported("triton", _prepare)
    return adoption


def _update_children() -> None:
    try:
        child_environment.reach_children([made.patterns for made in selection.in_force if made.children])
    except SettingError as error:
        _log.warning("Kernels of child processes are not adopted: %s", str(error))


def _install(module: ModuleType) -> None:
    with _lock:
        if selection.in_force:
            install(module.Autotuner)


def _prepare(module: ModuleType) -> None:  # noqa: ARG001 (Triton, which has been imported)
    """Have Triton hash its own libraries on a thread now: its first compile would wait half a second for that."""
    from tunedb import settings

    if selection.in_force and not settings.is_interpreted():
        with suppress(Exception):  # whatever an unknown Triton lacks for it: the first compile does it all the same
            from tunedb.runtime.compile_job import preload_aside

            preload_aside()
