"""Who is to blame for an error: the config, this machine, or a device that is lost."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Callable

import pytest
import torch
from triton.compiler.errors import CompilationError
from triton.runtime.errors import InterpreterError, OutOfResources, PTXASError

from tunedb.errors import HostFaultError, StickyDeviceError, TrialError
from tunedb.runtime.failures import is_host_fault, typed_errors


def of_errno(number: int) -> OSError:
    return OSError(number, os.strerror(number), "/cache/kernel.cubin")


def ptxas(log: str, code: int) -> PTXASError:
    """As Triton words it."""
    return PTXASError(f"`ptxas` failed with error code {code}\n`ptxas` stderr:\n{log}\nRepro command: ptxas k.ptx\n")


def raised_from(error: Exception, cause: Exception | None, handled: Exception | None = None) -> Exception:
    """An error as it is after `raise error from cause`, while another one is handled."""
    try:
        if handled is None:
            raise error from cause
        try:
            raise handled
        # The program may be handling any exception; the parameters of the tests are several.
        except Exception:
            raise error from cause
    except Exception as raised:
        return raised


HOST = {
    "full disk": of_errno(errno.ENOSPC),
    "quota": of_errno(errno.EDQUOT),
    "no right": of_errno(errno.EACCES),
    "read-only": of_errno(errno.EROFS),
    "too many files": of_errno(errno.EMFILE),
    "bad disk": of_errno(errno.EIO),
    "no process": of_errno(errno.EAGAIN),
    "no compiler": RuntimeError("Failed to find C compiler. Please specify via CC environment variable."),
    "compiler's name": FileNotFoundError(errno.ENOENT, "No such file or directory", "clang-99"),
    "compiler failed": subprocess.CalledProcessError(1, ["gcc"]),
    "compiler hangs": subprocess.TimeoutExpired(["gcc"], 9.0),
    "launcher can't be loaded": ImportError("launcher.so: failed to map segment from shared object"),
    "no ptxas": RuntimeError("Cannot find ptxas"),
    "ptxas killed": ptxas("", -9),
    "ptxas ended": ptxas("", -15),
    "ptxas killed under a shell": ptxas("", 137),
    "ptxas without disk": ptxas("ptxas fatal : Could not write k.cubin: No space left on device", 1),
    "ptxas without memory": ptxas("ptxas fatal : Memory allocation failure: Cannot allocate memory", 1),
    "no memory": MemoryError(),
    "no frames left": RecursionError("maximum recursion depth exceeded"),
    "no GPU memory": torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    "driver without memory": RuntimeError("Triton Error [CUDA]: out of memory"),
    "no device": RuntimeError("CUDA error: no CUDA-capable device is detected"),
    "no driver": RuntimeError("0 active drivers ([]). There should only be one."),
    "device busy": RuntimeError("CUDA error: CUDA-capable device(s) is/are busy or unavailable"),
    "broken memory": RuntimeError("CUDA error: uncorrectable ECC error encountered"),
    "no thread": RuntimeError("can't start new thread"),
    "cache folder": RuntimeError("Could not create or locate cache dir"),
    "behind the interpreter": raised_from(InterpreterError("MemoryError()"), MemoryError()),
    "behind a called function": raised_from(CompilationError("x", None, None), of_errno(errno.ENOSPC)),
    "hidden by the code generator": raised_from(CompilationError("x", None, "MemoryError()"), None, MemoryError()),
}  # fmt: skip

CONFIGS = {
    "shared memory": (OutOfResources(200_000, 99_000, "shared memory"), "out_of_resources"),
    "compiler": (CompilationError("def k(): ...", None, "no space left on device"), "compile_error"),
    "assembler": (ptxas("ptxas error : Entry function uses too much shared data", 255), "compile_error"),
    "assembler crashed": (PTXASError("`ptxas` raised SIGSEGV\n"), "compile_error"),
    "passes": (RuntimeError("PassManager::run failed"), "compile_error"),
    "interpreter": (raised_from(InterpreterError("out of memory"), AssertionError()), "runtime_error"),
    "launch": (RuntimeError("Triton Error [CUDA]: invalid argument"), "runtime_error"),
    "called while a file is looked for": (
        raised_from(RuntimeError("PassManager::run failed"), None, FileNotFoundError()), "compile_error",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", HOST)
def test_a_fault_of_this_machine_is_no_verdict_on_a_config(name: str) -> None:
    assert is_host_fault(HOST[name])
    with pytest.raises(HostFaultError) as caught, typed_errors():
        raise HOST[name]
    assert type(HOST[name]).__name__ in str(caught.value)  # the cause is named


@pytest.mark.parametrize("name", CONFIGS)
def test_what_lies_in_a_config_is_its_verdict(name: str) -> None:
    error, status = CONFIGS[name]
    with pytest.raises(TrialError) as caught, typed_errors():
        raise error
    assert caught.value.status == status


def test_a_lost_device_is_neither() -> None:
    with pytest.raises(StickyDeviceError), typed_errors():
        raise RuntimeError("CUDA error: an illegal memory access was encountered")


def test_a_call_within_a_handler_of_the_programs_blames_no_machine() -> None:
    """An error that the program handles while it calls is in the context of each that is raised meanwhile."""

    def while_handled(act: Callable[[], None]) -> None:
        try:
            raise FileNotFoundError("a cache of the program's own")
        except FileNotFoundError:
            act()

    def fail() -> None:
        with typed_errors():
            raise RuntimeError("Triton Error [CUDA]: invalid argument")

    with pytest.raises(TrialError):
        while_handled(fail)
