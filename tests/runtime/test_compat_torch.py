"""What a torch without one of its private names does: the call is torch's own, and nothing raises."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
import torch
from torch._C._dynamo import guards
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd import forward_ad
from torch.utils._device import DeviceContext
from torch.utils._python_dispatch import TorchDispatchMode

from tunedb.runtime import compat_torch


def without(owner: Any, name: str) -> ModuleType:
    """A fresh copy of the module, made while a name is missing."""
    spec = importlib.util.spec_from_file_location("compat_torch_copy", compat_torch.__file__)
    assert spec is not None
    assert spec.loader is not None
    copy = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.delattr(owner, name)
        spec.loader.exec_module(copy)
    return copy


class Watching(TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return func(*args, **(kwargs or {}))


def test_a_plain_tensor_in_a_plain_call_is_ordinary() -> None:
    is_ordinary = compat_torch.eager_test(on_cpu=True)
    x = torch.zeros(3)
    assert is_ordinary(x)
    assert is_ordinary(torch.nn.Parameter(x))
    with torch.device("cpu"):  # as torch.set_default_device
        assert is_ordinary(x)
    assert not compat_torch.eager_test(on_cpu=False)(x)
    assert not is_ordinary([0.0])
    assert not is_ordinary(torch._neg_view(x))
    with Watching():
        assert not is_ordinary(x)
        assert compat_torch.is_only_dispatched()
    with forward_ad.dual_level():
        assert not is_ordinary(x)
        assert compat_torch.is_transformed()
    seen: list[bool] = []
    torch.func.vmap(lambda row: seen.append(compat_torch.is_transformed()) or row)(torch.zeros(2, 3))
    assert seen == [True]
    assert not compat_torch.is_transformed()


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (torch._C, "_len_torch_dispatch_stack"),
        (torch._C._functorch, "peek_interpreter_stack"),
        (forward_ad, "_current_level"),
    ],
)
def test_a_state_that_cannot_be_read_counts_as_active(owner: Any, name: str) -> None:
    copy = without(owner, name)
    assert compat_torch.eager_test(on_cpu=True)(torch.zeros(3))
    assert not copy.eager_test(on_cpu=True)(torch.zeros(3))


def test_alike_is_what_a_launch_can_not_tell_apart() -> None:
    x = torch.zeros(2, 3, 8)
    is_alike = compat_torch.likeness(x)
    assert is_alike(x)
    assert is_alike(torch.ones(2, 3, 8))
    memory = torch.zeros(64)
    assert [is_alike(memory[at : at + 48].view(2, 3, 8)) for at in range(5)] == [True, False, False, False, True]
    leaf = torch.zeros(2, 3, 8, requires_grad=True)
    resized = torch.zeros(2, 3, 8)
    resized.untyped_storage().resize_(0)
    others = [
        None, "x", torch.zeros(2, 3, 9), torch.zeros(3, 2, 8), torch.zeros(2, 8, 3).transpose(1, 2), x.double(),
        x.to("meta"), torch.nn.Parameter(x), leaf, torch._neg_view(x), torch._efficientzerotensor(2, 3, 8), resized,
        x.as_subclass(Subclass), x.to_sparse(),
    ]  # fmt: skip
    assert [is_alike(other) for other in others] == [False] * len(others)
    builds_graph = compat_torch.likeness(leaf)
    with torch.no_grad():
        builds_none = compat_torch.likeness(leaf)
        assert [builds_graph(leaf), builds_none(leaf), is_alike(x)] == [False, True, True]
    assert [builds_graph(leaf), builds_none(leaf), builds_graph(x)] == [True, False, False]


class Subclass(torch.Tensor):
    pass


def test_nothing_is_alike_under_a_mode_or_transform() -> None:
    x = torch.zeros(2, 3)
    is_alike = compat_torch.likeness(x)
    found: list[bool] = []
    with Watching():
        found.append(is_alike(x))
    with torch.overrides.BaseTorchFunctionMode():
        found.append(is_alike(x))
    with forward_ad.dual_level():
        found += [is_alike(x), is_alike(forward_ad.make_dual(x, torch.ones(2, 3)))]
    with FakeTensorMode() as mode:
        found += [is_alike(torch.zeros(2, 3)), is_alike(mode.from_tensor(x))]

    def look(given: torch.Tensor) -> torch.Tensor:
        found.append(is_alike(x))
        found.append(is_alike(given))
        return given * 1

    torch.func.vmap(look)(torch.zeros(4, 2, 3))
    torch.func.grad(lambda given: look(given).sum())(x)
    torch.func.functionalize(look)(x)
    torch.jit.trace(look, x, check_trace=False)
    assert found == [False] * 14
    assert is_alike(x)


def test_nothing_is_alike_in_a_torch_without_the_test() -> None:
    x = torch.zeros(3)
    assert not without(guards, "TensorGuards").likeness(x)(x)


def test_tracing_is_also_seen_by_the_public_way() -> None:
    is_ordinary = without(torch._C, "_get_tracing_state").eager_test(on_cpu=True)
    assert is_ordinary(torch.zeros(3))
    seen: list[bool] = []

    def traced(x: torch.Tensor) -> torch.Tensor:
        seen.append(is_ordinary(x))
        return x + 1

    torch.jit.trace(traced, torch.zeros(3), check_trace=False)
    assert seen == [False]


def test_function_modes_are_also_seen_without_their_count() -> None:
    is_ordinary = without(torch._C, "_len_torch_function_stack").eager_test(on_cpu=True)
    x = torch.zeros(3)
    assert is_ordinary(x)
    with torch.overrides.BaseTorchFunctionMode():
        assert not is_ordinary(x)


def test_no_fallback_is_used_with_this_torch() -> None:
    code = f"""
import importlib.util, sys, torch
spec = importlib.util.spec_from_file_location("compat_torch_alone", {compat_torch.__file__!r})
copy = importlib.util.module_from_spec(spec)
spec.loader.exec_module(copy)
print([name for name, value in vars(copy).items() if getattr(value, "__module__", "") == "compat_torch_alone"
       and value in (copy.function_modes, copy.dispatch_modes, copy.functorch_level, copy.tracing_state, copy.check,
                     copy.spin, copy._function_mode_stack, copy._DeviceContext, copy._functorch_depth)],
      copy._below_autograd is None, copy._TensorGuards is None, copy._forward_ad is not torch.autograd.forward_ad)
"""
    ran = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert ran.stdout == "[] False False False\n"


@pytest.mark.parametrize(
    ("owner", "name"),
    [(torch.overrides, "_get_current_function_mode_stack"), (torch.utils._device, "DeviceContext")],
)
def test_a_default_device_that_cannot_be_told_from_other_modes_counts_as_one(owner: Any, name: str) -> None:
    is_ordinary = without(owner, name).eager_test(on_cpu=True)
    assert is_ordinary(torch.zeros(3))
    with DeviceContext(torch.device("cpu")):
        assert compat_torch.eager_test(on_cpu=True)(torch.zeros(3))
        assert not is_ordinary(torch.zeros(3))


def test_functorchs_depth_has_a_second_source() -> None:
    copy = without(torch._C._functorch, "maybe_current_level")
    assert not copy.is_transformed()
    seen: list[bool] = []
    torch.func.vmap(lambda row: seen.append(copy.is_transformed()) or row)(torch.zeros(2, 3))
    assert seen == [True]


def test_without_a_way_below_autograd_the_implementation_is_called() -> None:
    def add(one: int, other: int) -> int:
        return one + other

    def never(*_: int) -> int:
        raise AssertionError("the op")

    assert without(torch._C, "_AutoDispatchBelowAutograd").call_below_autograd(never, add, 3, 4) == 7
    assert compat_torch.call_below_autograd(add, never, 3, 4) == 7  # type: ignore[arg-type]


def test_an_op_below_autograd_builds_no_graph() -> None:
    x = torch.zeros(3, requires_grad=True)
    assert compat_torch.call_below_autograd(torch.ops.aten.sin, torch.sin, x).grad_fn is None


def test_without_inductors_allocator_there_is_none() -> None:
    from torch._C._dynamo import guards

    with pytest.MonkeyPatch.context() as patch:
        patch.delattr(guards, "_empty_strided_cuda")
        assert compat_torch.fast_allocator.__wrapped__() is None


def test_without_its_sleep_nothing_raises() -> None:
    without(torch.cuda, "_sleep").spin(2000)


@pytest.mark.parametrize("check", [compat_torch.check, without(torch, "_check").check])
def test_a_condition_that_does_not_hold_raises(check: Callable[..., None]) -> None:
    check(True, lambda: "never")
    with pytest.raises(RuntimeError, match="too short"):
        check(False, lambda: "too short")


def test_a_constant_is_marked_as_torch_does() -> None:
    def ours() -> int:
        return 1

    def theirs() -> int:
        return 1

    compat_torch.mark_constant(ours)
    assert vars(torch.compiler.assume_constant_result(theirs)) == vars(ours)
