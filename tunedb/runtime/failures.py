"""Failures of a config's launch: what Triton and CUDA raise, turned into the errors that a sweep knows."""

from __future__ import annotations

import torch
from triton.compiler.errors import CompilationError
from triton.runtime.errors import OutOfResources, PTXASError

from tunedb._internal.control import let_pass
from tunedb.errors import CallerError, StickyDeviceError, TrialError

# CUDA's words for errors after which nothing runs in the process any more.
_STICKY_TEXTS = ("illegal memory access", "misaligned address", "unspecified launch failure", "illegal instruction",
                 "device-side assert", "hardware stack error", "launch timed out", "context is destroyed")  # fmt: skip
_MAX_TEXT = 2000  # characters of an error that are stored with its trial


def is_sticky(error: BaseException) -> bool:
    """Say whether the error has CUDA's words for a context that is lost."""
    return any(words in f"{error} {error.__cause__}" for words in _STICKY_TEXTS)


class typed_errors:  # noqa: N801 - reads as a statement: `with typed_errors():`
    """A context that turns errors of one config into TrialError, and a lost CUDA context into StickyDeviceError.

    Too little memory passes unchanged: the sweep's own tensors need it too, so that the config may not be the cause. So
    does what the program itself raised.
    """

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if not isinstance(error, Exception) or isinstance(error, CallerError | TrialError | StickyDeviceError):
            return
        let_pass(error)
        text = f"{type(error).__name__}: {error}".strip()[:_MAX_TEXT]
        if error.__cause__ is not None:  # in a function that the kernel calls
            text += f" ({error.__cause__})"[:_MAX_TEXT]
        if is_sticky(error):
            raise StickyDeviceError(text) from None
        if isinstance(error, torch.OutOfMemoryError | MemoryError):
            return
        if isinstance(error, OutOfResources):
            raise TrialError("out_of_resources", text) from None
        if isinstance(error, CompilationError | PTXASError) or "PassManager::run failed" in text:
            raise TrialError("compile_error", text) from None
        raise TrialError("runtime_error", text) from None
