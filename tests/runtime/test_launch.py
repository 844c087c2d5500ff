"""Launching what is compiled: the way round a Triton that is not known, and errors by kind."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from triton.runtime.errors import OutOfResources

from tunedb.core.kernel import Resources
from tunedb.errors import CallerError, HostFaultError, StickyDeviceError, TrialError
from tunedb.runtime import compat_triton, loaded_kernel
from tunedb.runtime.failures import typed_errors
from tunedb.runtime.launch import Launch
from tunedb.runtime.loaded_kernel import load


class Device0:
    """A driver with one device."""

    class active:  # noqa: N801 - Triton's own
        @staticmethod
        def get_current_device() -> int:
            return 0


class UnknownTriton:
    """A jit function of a Triton whose compiled kernels have none of what we use."""

    arg_names = ("x", "y", "n", "BLOCK")
    device_caches: dict[int, object] = {}  # noqa: RUF012 - only its being there counts

    def __init__(self) -> None:
        self.launched: list[tuple[Any, ...]] = []

    def warmup(self, *arguments: object, grid: object, **keywords: object) -> object:
        return object()

    def __getitem__(self, grid: object) -> Any:
        return lambda *arguments, **keywords: self.launched.append((grid, arguments, keywords))


def test_an_unknown_triton_is_launched_through_its_public_interface() -> None:
    jit = UnknownTriton()
    x, y = torch.zeros(2), torch.zeros(2)
    loaded = load(Launch(jit, (3, 1, 1), (x, y, 7), {"BLOCK": 64}, {"num_warps": 2}))
    other = torch.ones(2)
    loaded.run(other, y)
    loaded.keep()
    assert loaded.resources == Resources()
    ((grid, arguments, keywords),) = jit.launched
    assert (grid, arguments[2:]) == ((3, 1, 1), (7,))
    assert arguments[0] is other
    assert keywords == {"BLOCK": 64, "num_warps": 2, "enable_fp_fusion": True}


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (OutOfResources(200_000, 99_000, "shared memory"), "out_of_resources"),
        (RuntimeError("PassManager::run failed"), "compile_error"),
        (RuntimeError("Triton Error [CUDA]: invalid argument"), "runtime_error"),
        (ValueError("anything else"), "runtime_error"),
    ],
)
def test_what_fails_for_one_config_is_a_trials_error(error: Exception, status: str) -> None:
    with pytest.raises(TrialError) as caught, typed_errors():
        raise error
    assert caught.value.status == status
    assert str(error).splitlines()[0] in str(caught.value)


@pytest.mark.parametrize(
    "text",
    ["CUDA error: an illegal memory access was encountered", "Triton Error [CUDA]: misaligned address",
     "CUDA error: unspecified launch failure"],
)  # fmt: skip
def test_a_lost_device_is_told_from_a_failing_config(text: str) -> None:
    with pytest.raises(StickyDeviceError, match=text.rpartition(": ")[2]), typed_errors():
        raise RuntimeError(text)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), CallerError(ValueError("x")), HostFaultError("full")])
def test_what_is_typed_already_and_an_interrupt_pass_as_they_are(error: BaseException) -> None:
    with pytest.raises(type(error)), typed_errors():
        raise error


def test_an_unknown_triton_is_prepared_without_a_word_on_what_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compat_triton, "driver", Device0)
    jit = UnknownTriton()
    launch = Launch(jit, (3, 1, 1), (torch.zeros(4), torch.zeros(4), 4), {"BLOCK": 2}, {"num_warps": 1})
    assert loaded_kernel.prepare(launch) == Resources()
    assert jit.launched == []


def test_the_digest_of_a_binary_is_of_code_grid_and_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    class Known(UnknownTriton):
        def __init__(self, code: bytes) -> None:
            super().__init__()
            self.code = code

        def warmup(self, *arguments: object, grid: object, **keywords: object) -> object:
            target = SimpleNamespace(warp_size=32)
            return SimpleNamespace(kernel=self.code, metadata=SimpleNamespace(num_warps=4, shared=9, target=target))

    monkeypatch.setattr(compat_triton, "driver", Device0)

    def digest(code: bytes, programs: int, number: int = 4) -> str | None:
        found = loaded_kernel.prepare(Launch(Known(code), (programs, 1, 1), (torch.zeros(4), number), {}, {}))
        assert (found.threads, found.shared_bytes, found.registers) == (128, 9, None)
        return found.binary

    assert digest(b"one", 3) == digest(b"one", 3)
    assert len({digest(b"one", 3), digest(b"two", 3), digest(b"one", 4), digest(b"one", 3, 5)}) == 4


def test_a_parse_that_other_threads_disturbed_is_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    failures = [SystemError("AST constructor recursion depth mismatch (before=99, after=260)")] * 3

    def warmup(*arguments: Any, **given: Any) -> str:
        if failures:
            try:
                raise RuntimeError("at 90:19") from failures.pop()
            except RuntimeError as error:
                raise RuntimeError("at 27:8") from error  # as from a function that the kernel calls
        return "the kernel"

    assert loaded_kernel.compiled_kernel(SimpleNamespace(warmup=warmup), (), (1,), {}) == "the kernel"
    failures += [SystemError("another")]
    with pytest.raises(RuntimeError, match="27:8"):
        loaded_kernel.compiled_kernel(SimpleNamespace(warmup=warmup), (), (1,), {})
