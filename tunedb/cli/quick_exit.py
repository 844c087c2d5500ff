"""The end of the program without Python's last step, which frees object by object what is loaded."""

from __future__ import annotations

import atexit
import os
import sys
import threading
from typing import NoReturn


def exit_quickly(code: int) -> NoReturn:
    """End the process as `sys.exit` does, except that nothing is freed: with torch that takes half a second, measured.

    Threads that are no daemons are waited for, exit handlers are called, and the streams are flushed.
    """
    try:
        end_threads, call_handlers = threading._shutdown, atexit._run_exitfuncs  # type: ignore[attr-defined]
    except AttributeError:  # they are Python's own, and may have other names some day
        sys.exit(code)
    end_threads()
    call_handlers()
    try:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:  # closed when the program started
                stream.flush()
    except (OSError, ValueError):  # nobody reads it any more
        code = code or 1
    os._exit(code)
