"""Code that Inductor generates: it calls the kernel without torch's dispatcher, whatever its input."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._inductor.utils import run_and_get_code
from torch.nn import functional as F  # noqa: N812 - torch's own habit

import tunedb
from tests.conftest import DEVICE, INTERPRETED, runs_kernels
from tests.decorator.stub import stub_gpu
from tunedb.core.kernel import Resources
from tunedb.kernels import avg_pool1d
from tunedb.kernels.avg_pool import plans, torch_library
from tunedb.runtime import compat_inductor
from tunedb.runtime.loaded_kernel import LoadedKernel

needs_a_compiler = pytest.mark.skipif(
    INTERPRETED and shutil.which("g++") is None, reason="on the CPU Inductor needs a C++ compiler"
)
Function = Callable[[Tensor], Tensor]
NAMES = "avg_pool1d", "avg_pool1d_backward"


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Any]]:
    """The calls that generated code makes: the op's name, and the form of its tensor."""
    seen: list[tuple[str, Any]] = []

    def watched(name: str) -> None:
        into = getattr(torch.ops.tunedb, name).into

        def watch(memory: Tensor, form: Any, *, out: Tensor) -> None:
            seen.append((name, form))
            into(memory, form, out=out)

        monkeypatch.setattr(getattr(torch.ops.tunedb, name), "into", watch)

    for name in NAMES:
        watched(name)
    torch._dynamo.reset()
    return seen


def check_like_torchs(model: Callable[[Callable[..., Tensor]], Function], leaf: Tensor, **options: Any) -> str:
    """Compare the compiled model with torch's pooling, results and gradients; return the code of the forward."""
    ours, theirs = (leaf.detach().clone().requires_grad_() for _ in range(2))
    found, codes = run_and_get_code(torch.compile(model(avg_pool1d), fullgraph=True, **options), ours)
    wanted = model(F.avg_pool1d)(theirs)
    torch.testing.assert_close(found, wanted)
    assert found.stride() == wanted.stride()
    found.square().sum().backward()
    wanted.square().sum().backward()
    torch.testing.assert_close(ours.grad, theirs.grad)
    return str(codes[0])


@runs_kernels
@needs_a_compiler
def test_generated_code_calls_the_kernel_without_the_dispatcher(called: list[tuple[str, Any]]) -> None:
    def model(pool: Callable[..., Tensor]) -> Function:
        return lambda t: torch.cat([pool(t * 2, 4, 2, 1), pool(t.transpose(1, 2), 3).transpose(1, 2)[:, :1, :16]], 1)

    code = check_like_torchs(model, torch.randn(2, 3, 33, device=DEVICE))
    assert "tunedb.avg_pool1d.into(" in code
    assert "tunedb.avg_pool1d.default(" not in code
    index = 0 if DEVICE == "cuda" else -1
    window = (4, 2, 1, False, True)
    assert ("avg_pool1d", ((2, 3, 33), (99, 33, 1), "float32", index, *window)) in called
    assert ("avg_pool1d", ((2, 33, 3), (99, 1, 33), "float32", index, 3, 3, 0, False, True)) in called
    assert {name for name, _ in called} == set(NAMES)


@runs_kernels
@needs_a_compiler
def test_dynamic_sizes_are_part_of_the_form(called: list[tuple[str, Any]]) -> None:
    compiled = torch.compile(lambda t: avg_pool1d(t, 4, 2, 1) + 1, fullgraph=True, dynamic=True)
    for length in (33, 40):
        x = torch.randn(2, 3, length, device=DEVICE)
        torch.testing.assert_close(compiled(x), F.avg_pool1d(x, 4, 2, 1) + 1)
    assert [form[0] for _, form in called] == [(2, 3, 33), (2, 3, 40)]


@runs_kernels
@needs_a_compiler
def test_generated_code_serves_an_input_at_any_address_and_what_the_kernel_does_not_serve(
    called: list[tuple[str, Any]],
) -> None:
    compiled = torch.compile(lambda t: avg_pool1d(t, 4, 4), fullgraph=True, dynamic=False)
    memory = torch.randn(2 * 3 * 32 + 4, device=DEVICE)
    for at in (0, 1, 2, 4, 1, 0):
        x = memory[at : at + 192].view(2, 3, 32)
        torch.testing.assert_close(compiled(x), F.avg_pool1d(x, 4, 4))
    assert {name for name, _ in called} == {"avg_pool1d"}
    form = ((2, 3, 32), (96, 32, 1), "float32", memory.get_device(), 0, 4, 0, False, True)
    with pytest.raises(RuntimeError):  # torch's own: a window of 0
        torch.ops.tunedb.avg_pool1d.into(memory, form, out=memory)


@runs_kernels
@needs_a_compiler
def test_in_an_inductor_without_a_name_the_op_is_called(
    called: list[tuple[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def lacking(*_: Any) -> None:
        raise AttributeError("ExternKernelOut")

    monkeypatch.setattr(compat_inductor, "_call_node", lacking)
    code = check_like_torchs(lambda pool: lambda t: pool(t, 5, 1, 2), torch.randn(1, 2, 17, device=DEVICE))
    assert "tunedb.avg_pool1d.default(" in code
    assert called == []


def test_nothing_is_registered_while_inductor_is_not_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compat_inductor, "_lowered", set())
    monkeypatch.setattr(compat_inductor, "sys", type("Nothing", (), {"modules": {}}))
    compat_inductor.lower_to_calls({torch.ops.tunedb.avg_pool1d.default: "a.name"})
    assert compat_inductor._lowered == set()


# The quick way, on a kernel that only takes notes.


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[int, int]]]:
    """The addresses of what was read and written by launches."""
    seen: list[tuple[int, int]] = []
    with stub_gpu(monkeypatch):
        monkeypatch.setattr(torch_library, "INTERPRETED", True)
        monkeypatch.setattr(
            plans, "load", lambda _: LoadedKernel(lambda read, written: seen.append((read, written)), Resources())
        )
        yield seen


FORM = ((2, 3, 32), (96, 32, 1), "float32", -1, 4, 4, 0, False, True)


def test_a_repeated_call_looks_at_two_addresses(launched: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    made = plans.Plan.__init__

    def by_address(plan: plans.Plan, loaded: LoadedKernel, *rest: Any) -> None:
        made(plan, loaded, *rest)
        plan.run = loaded.run

    monkeypatch.setattr(plans.Plan, "__init__", by_address)
    into = torch.ops.tunedb.avg_pool1d.into
    memory, out = torch.zeros(2 * 3 * 32 + 4), torch.zeros(2, 3, 8)
    tunedb.configure(mode="record")
    for _ in range(3):
        into(memory[:192].view(6, 32), FORM, out=out)
    assert launched[1:] == [(memory.data_ptr(), out.data_ptr())] * 2
    into(memory[1:], FORM, out=out)  # at an odd address: a plan of its own
    assert isinstance(launched[3][0], Tensor)
    assert (launched[3][0].data_ptr(), launched[3][0].shape) == (memory.data_ptr() + 4, (2, 3, 32))
    with tunedb.using(budget=60):  # a change of the settings: everything is asked again
        into(memory[:192], FORM, out=out)
    assert isinstance(launched[4][0], Tensor)


def test_an_output_of_other_strides_gets_a_copy(launched: list[Any]) -> None:
    tunedb.configure(mode="record")
    memory, out = torch.ones(2, 3, 32), torch.full((2, 8, 3), 7.0).transpose(1, 2)
    torch.ops.tunedb.avg_pool1d.into(memory, FORM, out=out)
    assert launched[0][1] is not out
    assert launched[0][1].is_contiguous()
