"""Errors of the caller's own functions and arguments, kept apart from those of a config."""

from __future__ import annotations

import torch

from tunedb._internal.control import let_pass
from tunedb.errors import CallerError, CompileRefused, TrialError
from tunedb.runtime.failures import is_sticky

# Triton's launch raises these for a call that is wrong with any config: the sweep ends, and the caller sees the error.
_OF_A_CALL = (TypeError, ValueError, LookupError, AttributeError, NameError, ArithmeticError)


class caller_errors:  # noqa: N801 - reads as a statement, like `failures.typed_errors`
    """A context that raises the caller's errors as CallerError: those of a call, or with `always` any error.

    Passes on unchanged: errors that are not the caller's fault (too little memory), what a lost device raises for its
    next user, CallerError and TrialError, a compile that the mode refuses, what the program itself raised.
    """

    def __init__(self, *, always: bool = False) -> None:
        self._kinds = Exception if always else _OF_A_CALL

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, CallerError | CompileRefused | TrialError | torch.OutOfMemoryError | MemoryError):
            return
        if isinstance(error, self._kinds) and not is_sticky(error):
            let_pass(error)
            raise CallerError(error) from error
