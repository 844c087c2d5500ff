"""Calls that are not ordinary ones, each after a plain call of the same shape."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn import functional as F  # noqa: N812 - torch's own habit

from tests.conftest import DEVICE, runs_kernels
from tests.kernels.conftest import ARGUMENTS, close
from tunedb.kernels import avg_pool1d

pytestmark = runs_kernels


def test_vmap(x: Tensor) -> None:
    batch = torch.stack([x, 2 * x])
    close(
        torch.vmap(lambda t: avg_pool1d(t, *ARGUMENTS))(batch),
        torch.stack([F.avg_pool1d(t, *ARGUMENTS) for t in batch]),
    )


def test_functional_gradients(x: Tensor) -> None:
    def loss(f: Callable[..., Tensor]) -> Callable[[Tensor], Tensor]:
        return lambda t: f(t, *ARGUMENTS).square().sum()

    close(torch.func.grad(loss(avg_pool1d))(x), torch.func.grad(loss(F.avg_pool1d))(x))
    found, wanted = (torch.func.hessian(loss(f))(x[:1, :1, :8]) for f in (avg_pool1d, F.avg_pool1d))
    torch.testing.assert_close(found, wanted)


def test_forward_mode_keeps_the_tangent(x: Tensor) -> None:
    with forward_ad.dual_level():
        dual = avg_pool1d(forward_ad.make_dual(x, torch.ones_like(x)), *ARGUMENTS)
        tangent = forward_ad.unpack_dual(dual).tangent
    assert tangent is not None
    close(tangent, F.avg_pool1d(torch.ones_like(x), *ARGUMENTS))
    _, tangent = torch.func.jvp(lambda t: avg_pool1d(t, *ARGUMENTS), (x,), (torch.ones_like(x),))
    close(tangent, F.avg_pool1d(torch.ones_like(x), *ARGUMENTS))


def test_make_fx_traces_an_op_and_bakes_in_no_result(x: Tensor) -> None:
    from torch.fx.experimental.proxy_tensor import make_fx

    traced = make_fx(lambda t: avg_pool1d(t, *ARGUMENTS))(x)
    other = torch.randn_like(x)
    close(traced(other), F.avg_pool1d(other, *ARGUMENTS))


def test_jit_trace_records_torchs_op_and_no_result(x: Tensor) -> None:
    traced = torch.jit.trace(lambda t: avg_pool1d(t, *ARGUMENTS), (x,))
    other = torch.randn_like(x)
    close(traced(other), F.avg_pool1d(other, *ARGUMENTS))
    assert "aten::avg_pool1d" in str(traced.graph)


def test_a_flop_counter_counts_around_it(x: Tensor) -> None:
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False):
        close(avg_pool1d(x, *ARGUMENTS), F.avg_pool1d(x, *ARGUMENTS))


def test_selective_checkpointing_recomputes_it(x: Tensor) -> None:
    from torch.utils.checkpoint import CheckpointPolicy, checkpoint, create_selective_checkpoint_contexts

    ops: list[str] = []

    def policy(context: object, op: object, *_: object, **__: object) -> CheckpointPolicy:
        ops.append(str(op))
        return CheckpointPolicy.PREFER_RECOMPUTE

    leaf = x.clone().requires_grad_()
    out = checkpoint(
        lambda t: avg_pool1d(t, *ARGUMENTS).sin(), leaf, use_reentrant=False,
        context_fn=lambda: create_selective_checkpoint_contexts(policy),
    )  # fmt: skip
    out.sum().backward()
    other = x.clone().requires_grad_()
    F.avg_pool1d(other, *ARGUMENTS).sin().sum().backward()
    assert leaf.grad is not None
    assert other.grad is not None
    close(leaf.grad, other.grad)
    assert any("avg_pool" in name for name in ops)  # the policy sees it


def test_a_negated_view_is_read_as_negated() -> None:
    z = torch.randn(2, 3, 33, dtype=torch.complex64, device=DEVICE)
    plain = torch.zeros(2, 3, 66, device=DEVICE)[..., 1::2]
    avg_pool1d(plain, *ARGUMENTS)
    negated = torch.conj(z).imag
    assert negated.is_neg()
    torch.testing.assert_close(avg_pool1d(negated, *ARGUMENTS), F.avg_pool1d(negated.clone(), *ARGUMENTS))


def test_fake_tensors_get_fake_results(x: Tensor) -> None:
    from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

    with FakeTensorMode() as mode:
        fake = mode.from_tensor(x) if DEVICE == "cuda" else torch.empty(2, 3, 33)
        y = avg_pool1d(fake, *ARGUMENTS)
    assert isinstance(y, FakeTensor)
    assert (y.shape, y.device.type) == ((2, 3, 16), DEVICE)
    assert isinstance(avg_pool1d(fake, *ARGUMENTS), FakeTensor)  # outside the mode, too


def test_meta_tensors_get_meta_results(x: Tensor) -> None:
    assert avg_pool1d(x.to("meta"), *ARGUMENTS).device.type == "meta"
    assert avg_pool1d(x.to("meta"), *ARGUMENTS).shape == (2, 3, 16)


def test_a_subclass_sees_torchs_function(x: Tensor) -> None:
    class Loud(Tensor):
        seen: list[str] = []  # noqa: RUF012 - one list for the test

        @classmethod
        def __torch_function__(cls, func: object, types: object, args: object = (), kwargs: object = None) -> object:
            cls.seen.append(getattr(func, "__name__", ""))
            return super().__torch_function__(func, types, args, kwargs or {})

    y = avg_pool1d(x.as_subclass(Loud), *ARGUMENTS)
    assert isinstance(y, Loud)
    assert "avg_pool1d" in Loud.seen
    torch.testing.assert_close(y.as_subclass(Tensor), F.avg_pool1d(x, *ARGUMENTS))


def test_a_torch_function_mode_sees_torchs_function(x: Tensor) -> None:
    from torch.overrides import TorchFunctionMode

    seen: list[str] = []

    class Watch(TorchFunctionMode):
        def __torch_function__(self, func: object, types: object, args: object = (), kwargs: object = None) -> object:
            seen.append(getattr(func, "__name__", ""))
            return func(*args, **(kwargs or {}))  # type: ignore[operator,misc]  # torch hands in a function

    with Watch():
        avg_pool1d(x, *ARGUMENTS)
    assert "avg_pool1d" in seen


def test_a_parameter_is_an_ordinary_input(x: Tensor, torchs_own: list[Tensor]) -> None:
    close(avg_pool1d(torch.nn.Parameter(x), *ARGUMENTS).detach(), F.avg_pool1d(x, *ARGUMENTS))
    assert torchs_own == []


def test_a_zero_that_is_not_stored_is_no_address(x: Tensor) -> None:
    zero = torch._efficientzerotensor(2, 3, 33, device=DEVICE)
    assert torch.equal(avg_pool1d(zero, *ARGUMENTS), torch.zeros(2, 3, 16, device=DEVICE))
    leaf = x.clone().requires_grad_()
    y = avg_pool1d(leaf, *ARGUMENTS)
    torch.autograd.grad(y, leaf, torch.ones_like(y), retain_graph=True)
    (gradient,) = torch.autograd.grad(y, leaf, torch._efficientzerotensor(2, 3, 16, device=DEVICE))
    assert torch.equal(gradient, torch.zeros_like(x))


def test_the_registered_op_sees_that_a_tensor_is_negated() -> None:
    negated = torch.randn(2, 3, 32, dtype=torch.complex64, device=DEVICE).conj().imag
    assert negated.is_neg()
    window = (3, 3, 0, False, True)
    close(torch.ops.tunedb.avg_pool1d(negated, *window), F.avg_pool1d(negated.resolve_neg(), *window))
    gradient = torch.ops.tunedb.avg_pool1d_backward(negated, 96, *window)
    close(gradient, torch.ops.tunedb.avg_pool1d_backward(negated.resolve_neg(), 96, *window))
