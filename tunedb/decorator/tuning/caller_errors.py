"""Whose fault an error is: the caller's own functions and arguments, or a config's."""

from __future__ import annotations

import torch

from tunedb.errors import CallerError, TrialError
from tunedb.runtime.failures import is_sticky

# What Triton's launch raises for a call that is wrong whatever the config: it ends the sweep, and is raised as it is.
_KINDS = (TypeError, ValueError, LookupError, AttributeError, NameError, ArithmeticError)


class callers_faults:  # noqa: N801 - reads as a statement, like `failures.typed_errors`
    """Raise an error of the caller's as CallerError: those kinds of errors, or with `always` any.

    But not too little memory, which is nobody's fault; nor what a lost device says, to whoever uses it next; nor what
    has a type already.
    """

    def __init__(self, *, always: bool = False) -> None:
        self._kinds = Exception if always else _KINDS

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, CallerError | TrialError | torch.OutOfMemoryError | MemoryError):
            return
        if isinstance(error, self._kinds) and not is_sticky(error):
            raise CallerError(error) from error
