"""Begins the recording of calls in a process and in those that it starts; `recorded_lines.py` reads what was recorded.

It loads neither torch nor Triton: a process begins with it while Triton is being imported.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from tunedb import settings
from tunedb.runtime import compat_listener


def start_recording(path: str | os.PathLike[str]) -> None:
    """Record launches from now on, also in child processes: see setting `record_calls`.

    Calls of decorated and adopted kernels are recorded with the facts that their config depends on; what Triton
    compiles or finds in its cache for any other kernel, exactly so.
    """
    settings.record_calls_in_children(path)
    compat_listener.listen_to_compiles(_record)


def _record(source: Any, options: Mapping[str, Any], target: Any) -> None:
    from tunedb.decorator.recording import call_log  # here, because it loads torch

    call_log.record_launch(source, options, target)
