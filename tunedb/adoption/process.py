"""What a process does that was started so that it adopts kernels: the file in `site_hook` calls it."""

from __future__ import annotations

import logging
import sys

from tunedb._internal import child_environment
from tunedb._internal.printable import printable
from tunedb._internal.redact import without_passwords
from tunedb.adoption.adopting import adopt


def begin() -> None:
    """Adopt kernels, as Triton has just been imported."""
    options = child_environment.options()
    _set_up_log(quiet="quiet" in options, verbose="verbose" in options)
    for only, skip in options.get("selections", ()):
        adopt(only, skip, children=False)  # its environment has come with this process
    if "record" in options:
        from tunedb.adoption.recorded_calls import start_recording

        start_recording(options["record"])
    if "report" in options:
        from tunedb.adoption import report

        report.begin(options["report"])


def end() -> None:
    """Report, at the end of the process that `tunedb run` was."""
    from tunedb.adoption import report

    report.end(child_environment.options()["report"])


class _Lines(logging.Handler):
    """Prints the log on stderr, unless the program has set up logging."""

    def emit(self, record: logging.LogRecord) -> None:
        if not logging.getLogger().handlers and sys.stderr is not None:
            print(f"tunedb: {printable(without_passwords(record.getMessage()))}", file=sys.stderr)


def _set_up_log(*, quiet: bool, verbose: bool) -> None:
    log = logging.getLogger("tunedb")
    if quiet or verbose:
        log.setLevel(logging.ERROR if quiet else logging.INFO)
    if verbose:
        log.addHandler(_Lines())
