"""Failures of a launch: what Python, Triton and CUDA raise, turned into the three kinds of error that a sweep knows.

A config's own failure is a TrialError. A fault of this machine is a HostFaultError: it is no verdict on the config that
met it. A lost CUDA context is a StickyDeviceError.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import torch
from triton.compiler.errors import CompilationError
from triton.runtime.errors import InterpreterError, OutOfResources, PTXASError

from tunedb._internal.control import let_pass
from tunedb.errors import (
    CallerError,
    CompileRefused,
    HostFaultError,
    StickyDeviceError,
    TrialError,
    TunedbError,
)

# CUDA's words for errors after which nothing runs in the process any more.
_STICKY_TEXTS = ("illegal memory access", "misaligned address", "unspecified launch failure", "illegal instruction",
                 "device-side assert", "hardware stack error", "launch timed out", "context is destroyed")  # fmt: skip
# Triton's cache and its compilers' processes raise OSError, building a launcher CalledProcessError, loading it
# ImportError. Too little memory is here because a sweep's own tensors need it too, and too deep a recursion because the
# caller's frames count.
_HOST_ERRORS = (OSError, MemoryError, ImportError, RecursionError, torch.OutOfMemoryError, subprocess.SubprocessError)
# The words of errors that have no class of their own, in lower case: of the operating system and of assemblers that
# quote it, of Python, of Triton, of CUDA and ROCm. A compiler that was killed has the exit code of SIGKILL or SIGTERM.
_HOST_TEXTS = (
    "no space left on device", "disk quota exceeded", "read-only file system", "permission denied",
    "too many open files", "input/output error", "cannot allocate memory", "out of memory", "can't start new thread",
    "failed to find c compiler", "cannot find ptxas", "could not create or locate cache dir",
    "failed with error code -9\n", "failed with error code -15\n",
    "failed with error code 137\n", "failed with error code 143\n",
    "libcuda.so cannot found", "0 active drivers", "found no nvidia driver", "driver version is insufficient",
    "no cuda-capable device", "no rocm-capable device", "no hip gpus", "busy or unavailable", "no kernel image",
    "unsupported toolchain", "initialization error", "system not yet initialized", "driver shutting down",
    "operating system call failed", "uncorrectable ecc error", "fallen off the bus", "mps client failed", "mps server",
)  # fmt: skip
_MAX_TEXT = 2000  # characters of an error that are stored with its trial


def is_sticky(error: BaseException) -> bool:
    """Say whether the error has CUDA's words for a context that is lost."""
    return any(words in f"{error} {error.__cause__}" for words in _STICKY_TEXTS)


def is_host_fault(error: BaseException) -> bool:
    """Say whether this machine is to blame for an error, and not the config that met it."""
    if any(isinstance(cause, _HOST_ERRORS) for cause in _causes(error)):
        return True
    # The texts of these three quote the kernel's source, or say what a config asks for.
    if isinstance(error, CompilationError | InterpreterError | OutOfResources):
        return False
    text = f"{error}\n".lower()
    return any(words in text for words in _HOST_TEXTS)


def is_of_device(error: BaseException) -> bool:
    """Say whether the device reported the error, perhaps that of an earlier launch, to the next one who asked."""
    words = ("CUDA error", "HIP error")
    return is_sticky(error) or is_host_fault(error) or any(part in str(error) for part in words)


def reason_of_one(error: Exception) -> str:
    """Return why one problem of a list can't go on. Raises the error if the others would meet it too."""
    if isinstance(error, TunedbError | OSError | ImportError) or is_sticky(error):
        raise error
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and those that it was raised from.

    Triton's code generator hides them with `from None`. The context of any other error may be the caller's: a kernel
    can be called while an OSError is handled.
    """
    seen: set[int] = set()  # an error that is raised again can stand in a circle
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        is_hidden = isinstance(error, CompilationError) and error.__suppress_context__
        error = error.__cause__ or (error.__context__ if is_hidden else None)


class typed_errors:  # noqa: N801 - reads as a statement: `with typed_errors():`
    """A context that turns an error into TrialError, HostFaultError or StickyDeviceError, by who is to blame for it.

    What the program itself raised passes unchanged, and so does a compile that the mode refuses.
    """

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        typed = CallerError | CompileRefused | TrialError | HostFaultError | StickyDeviceError
        if not isinstance(error, Exception) or isinstance(error, typed):
            return
        let_pass(error)
        text = f"{type(error).__name__}: {error}".strip()[:_MAX_TEXT]
        if error.__cause__ is not None:  # in a function that the kernel calls
            text += f" ({error.__cause__})"[:_MAX_TEXT]
        if is_sticky(error):
            raise StickyDeviceError(text) from None
        if is_host_fault(error):
            raise HostFaultError(text) from None
        if isinstance(error, OutOfResources):
            raise TrialError("out_of_resources", text) from None
        if isinstance(error, CompilationError | PTXASError) or "PassManager::run failed" in text:
            raise TrialError("compile_error", text) from None
        raise TrialError("runtime_error", text) from None
