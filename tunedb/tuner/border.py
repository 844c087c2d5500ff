"""The border between tunedb and the callers of kernels: what fails in tunedb ends here, and a fallback serves the call.

Every way into a kernel that asks the tuner goes through `guarded`: average pooling, its gradient and its registered
ops, and decorated kernels. The launch itself lies outside: its errors are the caller's, and arrive unchanged.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from types import TracebackType
from typing import TypeVar

from tunedb._internal.control import let_pass, suppress
from tunedb._internal.redact import without_passwords
from tunedb.errors import IdentityError, MissError, SweepError

_log = logging.getLogger("tunedb")
_logged: set[tuple[str, object]] = set()  # causes: a class of errors and its number, of the operating system
_T = TypeVar("_T")


def guarded(kernel: str, work: Callable[[], _T], fallback: Callable[[], _T]) -> _T:
    """Return what `work` returns, in which tunedb serves a call of that kernel; if tunedb fails, what `fallback` does.

    Raises only what is meant for the caller: MissError of mode `strict`, the caller's own errors (CallerError,
    IdentityError), a sweep in which every config failed, a lost device, and what the program itself raised.

    While Python tears itself down, in `__del__` of a global, say, only the fallback is left: nothing can be imported, a
    new thread never begins, and locks may be held by threads that are gone.
    """
    if sys.is_finalizing():
        return fallback()
    try:
        return work()
    except (MissError, SweepError, IdentityError) as error:
        let_pass(error)
        raise
    # A setting, a folder, a thread, a lock, an import, the operating system: no kernel's caller pays for any of them.
    except Exception as error:
        let_pass(error)
        _log_once(kernel, error)
    return fallback()


def _log_once(kernel: str, error: Exception) -> None:
    cause = type(error).__name__, getattr(error, "errno", None)
    if cause not in _logged:
        _logged.add(cause)
        with suppress(Exception):  # a program's own logging handler may raise anything, and may have raised this error
            _log.warning(
                "%s: tunedb failed (%s: %s, at %s); the call runs without it. See: tunedb doctor",
                kernel, cause[0], without_passwords(str(error)), _place(error.__traceback__),
            )  # fmt: skip


def _place(trace: TracebackType | None) -> str:
    """Return the file and line that raised an error."""
    if trace is None:
        return "an unknown place"
    while trace.tb_next is not None:
        trace = trace.tb_next
    return f"{os.path.basename(trace.tb_frame.f_code.co_filename)}:{trace.tb_lineno}"  # noqa: PTH119 - not a path here
