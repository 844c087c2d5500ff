"""Gradients, and code that torch traces: compiled, exported, scripted."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn import functional as F  # noqa: N812 - torch's own habit

from tests.conftest import DEVICE, INTERPRETED, runs_kernels
from tests.kernels.conftest import ARGUMENTS, close
from tunedb.kernels import AvgPool1d, avg_pool1d

pytestmark = runs_kernels


def test_gradients_are_torchs(x: Tensor) -> None:
    for arguments in (ARGUMENTS, (4, 1, 2, True, False), (3, 5, 0), (40, 1, 20), (7, 3, 3, True)):
        ours, theirs = (x.clone().requires_grad_() for _ in range(2))
        avg_pool1d(ours, *arguments).square().sum().backward()
        F.avg_pool1d(theirs, *arguments).square().sum().backward()
        assert ours.grad is not None
        assert theirs.grad is not None
        torch.testing.assert_close(ours.grad, theirs.grad)


def test_the_expanded_gradient_of_a_sum_is_served(x: Tensor) -> None:
    for _ in range(2):
        leaf = x.clone().requires_grad_()
        avg_pool1d(leaf, *ARGUMENTS).sum().backward()
        assert leaf.grad is not None
        other = x.clone().requires_grad_()
        F.avg_pool1d(other, *ARGUMENTS).sum().backward()
        assert other.grad is not None
        torch.testing.assert_close(leaf.grad, other.grad)


@pytest.mark.parametrize("arguments", [ARGUMENTS, (3, 2, 1, True, False)])
def test_first_and_second_derivatives_pass_torchs_checks(arguments: tuple[int, ...]) -> None:
    x = torch.randn(2, 1, 7, dtype=torch.float64, device=DEVICE, requires_grad=True)  # a launch for each element
    torch.autograd.gradcheck(lambda t: avg_pool1d(t, *arguments), (x,), check_batched_grad=True)
    torch.autograd.gradgradcheck(lambda t: avg_pool1d(t, *arguments), (x,), check_batched_grad=True)


def test_nothing_is_recorded_without_a_need(x: Tensor) -> None:
    leaf = x.clone().requires_grad_()
    with torch.no_grad():
        assert not avg_pool1d(leaf, *ARGUMENTS).requires_grad
    with torch.inference_mode():
        assert avg_pool1d(x.clone(), *ARGUMENTS).is_inference()
    assert avg_pool1d(leaf, *ARGUMENTS).requires_grad
    assert not avg_pool1d(x, *ARGUMENTS).requires_grad


def test_a_graph_is_built_whenever_one_is_needed(x: Tensor) -> None:
    leaf = x.clone().requires_grad_()
    for _ in range(3):  # each way becomes the remembered one, and gives way to the other
        with torch.no_grad():
            assert not avg_pool1d(leaf, *ARGUMENTS).requires_grad
        y = avg_pool1d(leaf, *ARGUMENTS)
        (gradient,) = torch.autograd.grad(y.sum(), leaf)
        ones = torch.ones_like(y).requires_grad_()
        (other,) = torch.autograd.grad(avg_pool1d(leaf, *ARGUMENTS), leaf, ones, create_graph=True)
        assert not gradient.requires_grad
        assert other.requires_grad
        close(other.detach(), gradient)


@pytest.mark.parametrize("op_name", ["avg_pool1d", "avg_pool1d_backward"])
def test_the_registered_ops_pass_torchs_checks(op_name: str) -> None:
    length = (33,) if op_name.endswith("backward") else ()
    x = torch.randn(2, 3, 16 if length else 33, device=DEVICE, requires_grad=True)
    overload = getattr(torch.ops.tunedb, op_name).default
    torch.library.opcheck(overload, (x, *length, 4, 2, 1, False, True))


@pytest.mark.parametrize("dynamic", [False, True])
def test_it_compiles_without_a_graph_break(x: Tensor, dynamic: bool) -> None:
    backend = "aot_eager" if INTERPRETED else "inductor"

    def model(t: Tensor) -> Tensor:
        return avg_pool1d(t * 2, (4,), 2, 1) + 1

    compiled = torch.compile(model, fullgraph=True, dynamic=dynamic, backend=backend)
    for length in (33, 40):
        leaf = torch.randn(2, 3, length, device=DEVICE, requires_grad=True)
        other = leaf.detach().clone().requires_grad_()
        y = compiled(leaf)
        wanted = F.avg_pool1d(other * 2, 4, 2, 1) + 1
        torch.testing.assert_close(y, wanted)
        y.square().sum().backward()
        wanted.square().sum().backward()
        assert leaf.grad is not None
        assert other.grad is not None
        torch.testing.assert_close(leaf.grad, other.grad)


def test_a_compiled_backward_of_an_eager_call_calls_our_op(x: Tensor) -> None:
    compiled_autograd = pytest.importorskip("torch._dynamo.compiled_autograd")
    leaf, other = (x.clone().requires_grad_() for _ in range(2))
    F.avg_pool1d(other, *ARGUMENTS).square().sum().backward()
    for dynamic in (False, True):
        leaf.grad = None
        with compiled_autograd._enable(torch.compile(backend="eager", dynamic=dynamic)):
            avg_pool1d(leaf, *ARGUMENTS).square().sum().backward()
        assert leaf.grad is not None
        torch.testing.assert_close(leaf.grad, other.grad)


def test_a_compiled_model_calls_our_op(x: Tensor) -> None:
    graphs: list[str] = []

    def backend(graph: torch.fx.GraphModule, _: object) -> object:
        graphs.append(graph.code)
        return graph.forward

    torch.compile(lambda t: avg_pool1d(t, *ARGUMENTS), fullgraph=True, backend=backend)(x)
    assert "tunedb.avg_pool1d" in graphs[0]


def test_it_exports(x: Tensor) -> None:
    class Model(torch.nn.Module):
        def forward(self, t: Tensor) -> Tensor:
            return avg_pool1d(t, *ARGUMENTS)

    program = torch.export.export(Model(), (x,))
    assert "tunedb.avg_pool1d" in program.graph_module.code
    close(program.module()(x), F.avg_pool1d(x, *ARGUMENTS))


TRANSFORMS: dict[str, Callable[[Callable[[Tensor], Tensor], Tensor], Tensor]] = {
    "jvp": lambda f, x: torch.func.jvp(f, (x,), (torch.ones_like(x),))[1],
    "grad": lambda f, x: torch.func.grad(lambda t: f(t).square().sum())(x),
    "vjp": lambda f, x: torch.func.vjp(f, x)[1](torch.ones_like(f(x)))[0],
    "jacrev": lambda f, x: torch.func.jacrev(f)(x),
    "vmap": lambda f, x: torch.vmap(f)(torch.stack([x, 2 * x])),
}


@pytest.mark.parametrize("name", TRANSFORMS)
def test_a_compiled_transform_gives_what_torch_gives(name: str) -> None:
    x = torch.randn(1, 2, 9, device=DEVICE)
    compiled = torch.compile(lambda t: TRANSFORMS[name](lambda a: avg_pool1d(a, *ARGUMENTS), t), backend="aot_eager")
    torch.testing.assert_close(compiled(x), TRANSFORMS[name](lambda a: F.avg_pool1d(a, *ARGUMENTS), x))


def test_a_compiled_call_keeps_a_tangent(x: Tensor) -> None:
    compiled = torch.compile(lambda t: avg_pool1d(t, *ARGUMENTS), backend="aot_eager")
    with forward_ad.dual_level():
        dual = compiled(forward_ad.make_dual(x, torch.ones_like(x)))
        tangent = forward_ad.unpack_dual(dual).tangent
    assert tangent is not None
    close(tangent, F.avg_pool1d(torch.ones_like(x), *ARGUMENTS))


def test_too_short_a_row_is_refused_in_compiled_code_too() -> None:
    x = torch.randn(1, 2, 3, device=DEVICE)
    with pytest.raises(RuntimeError):
        torch.compile(lambda t: avg_pool1d(t, 8), backend="aot_eager")(x)


def test_the_module_can_be_scripted(x: Tensor) -> None:
    close(torch.jit.script(AvgPool1d(*ARGUMENTS))(x), F.avg_pool1d(x, *ARGUMENTS))


def test_a_length_that_depends_on_the_data_compiles(x: Tensor) -> None:
    def positive(f: Callable[..., Tensor]) -> Callable[[Tensor], Tensor]:
        return lambda t: f(t[t > 0].reshape(1, 1, -1), 2)

    with torch._dynamo.config.patch(capture_dynamic_output_shape_ops=True):
        compiled = torch.compile(positive(avg_pool1d), fullgraph=True, backend="aot_eager")
        torch.testing.assert_close(compiled(x), positive(F.avg_pool1d)(x))
