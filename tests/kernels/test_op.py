"""`avg_pool1d` in plain calls: torch's results, strides and errors."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - torch's own habit

from tests.conftest import DEVICE, runs_kernels
from tests.kernels.conftest import ARGUMENTS, close
from tunedb.kernels import AvgPool1d, avg_pool1d
from tunedb.kernels.avg_pool import plans

pytestmark = runs_kernels


def test_a_plain_call_runs_our_kernel_and_gives_torchs_result(x: Tensor, torchs_own: list[Tensor]) -> None:
    close(avg_pool1d(x, *ARGUMENTS), F.avg_pool1d(x, *ARGUMENTS))
    assert torchs_own == []


@pytest.mark.parametrize(
    "call",
    [
        lambda f, x: f(x, 4),
        lambda f, x: f(x, (4,), (2,), (1,)),
        lambda f, x: f(x, [4], stride=None),
        lambda f, x: f(input=x, kernel_size=4, stride=3, padding=2, ceil_mode=True, count_include_pad=False),
        lambda f, x: f(x[0], 5, 1, 2),
        lambda f, x: f(x.transpose(1, 2).contiguous().transpose(1, 2), 4),
        lambda f, x: f(x[:, ::2, 1::2], 3),
        lambda f, x: f(x[:, :1].expand(2, 5, 33), 3, 1),
    ],
)
def test_every_way_to_call_it_gives_torchs_result_and_strides(call: Callable[..., Tensor], x: Tensor) -> None:
    for _ in range(2):  # the second is the remembered one
        close(call(avg_pool1d, x), call(F.avg_pool1d, x))


def test_the_module_is_torchs_with_our_function(x: Tensor) -> None:
    ours, theirs = AvgPool1d(4, 2, 1, count_include_pad=False), torch.nn.AvgPool1d(4, 2, 1, count_include_pad=False)
    close(ours(x), theirs(x))
    assert isinstance(ours, torch.nn.AvgPool1d)
    assert repr(ours) == repr(theirs)
    close(copy.deepcopy(ours)(x), theirs(x))


WRONG: list[Callable[[Callable[..., Tensor], Tensor], Tensor]] = [
    lambda f, x: f(x, 4.0, 2, 1),
    lambda f, x: f(x, True),
    lambda f, x: f(x, (4, 4)),
    lambda f, x: f(x, 4, 2.0),
    lambda f, x: f(x, 4, 2, 1, 0),
    lambda f, x: f(x, 4, 2, 1, False, 1),
    lambda f, x: f(x, 0),
    lambda f, x: f(x, -1),
    lambda f, x: f(x, 4, 0),
    lambda f, x: f(x, 4, 1, 3),
    lambda f, x: f(x, 4, 1, -1),
    lambda f, x: f(x, 40),
    lambda f, x: f(x, 2**40),
    lambda f, x: f(x, 4, 2**33),
    lambda f, x: f("a", 4),
    lambda f, x: f(x),
    lambda f, x: f(x, 4, foo=1),
    lambda f, x: f(x[0, 0], 4),
    lambda f, x: f(x[None], 4),
    lambda f, x: f(x[:, :0], 4),
    lambda f, x: f(x[..., :0], 4),
    lambda f, x: f(x[0, :0], 4),
    lambda f, x: f(x.to(torch.complex64), 4),
    lambda f, x: f(x.to_sparse(), 4),
]


@pytest.mark.parametrize("call", WRONG)
def test_what_torch_refuses_is_refused_with_its_exception(call: Callable[..., Tensor], x: Tensor) -> None:
    with pytest.raises(Exception) as theirs:  # noqa: PT011 - whatever it is, ours must be the same
        call(F.avg_pool1d, x)
    with pytest.raises(type(theirs.value)) as ours:
        call(avg_pool1d, x)
    assert type(ours.value) is type(theirs.value)


def test_an_empty_batch_gives_an_empty_result() -> None:
    empty = torch.empty(0, 3, 33, device=DEVICE, requires_grad=True)
    y = avg_pool1d(empty, *ARGUMENTS)
    assert y.shape == (0, 3, 16)
    y.sum().backward()
    assert empty.grad is not None
    assert empty.grad.shape == empty.shape


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64])
def test_a_dtype_that_the_kernel_does_not_serve_gets_torchs_own(x: Tensor, dtype: torch.dtype) -> None:
    try:
        wanted = F.avg_pool1d(x.to(dtype), *ARGUMENTS)
    except RuntimeError as error:  # torch serves integers on some devices only; where it refuses, so must we
        with pytest.raises(type(error)):
            avg_pool1d(x.to(dtype), *ARGUMENTS)
    else:
        close(avg_pool1d(x.to(dtype), *ARGUMENTS), wanted)


def test_an_input_of_another_alignment_gets_a_plan_of_its_own(x: Tensor) -> None:
    wide = torch.randn(2 * 3 * 33 + 8, device=DEVICE)
    for offset in range(5):
        shifted = wide[offset : offset + x.numel()].view(x.shape)
        close(avg_pool1d(shifted, *ARGUMENTS), F.avg_pool1d(shifted, *ARGUMENTS))


def test_a_tensor_whose_address_is_no_multiple_of_its_elements_gets_torchs_own() -> None:
    raw = torch.zeros(2 * 3 * 33 * 4 + 1, dtype=torch.uint8)
    odd = torch.frombuffer(bytearray(raw.numpy().tobytes()), dtype=torch.float32, offset=1, count=2 * 3 * 33)
    assert odd.data_ptr() % 4
    close(avg_pool1d(odd.view(2, 3, 33), *ARGUMENTS), F.avg_pool1d(odd.view(2, 3, 33), *ARGUMENTS))


def test_the_remembered_call_is_found_again_after_one_in_another_state(x: Tensor, torchs_own: list[Tensor]) -> None:
    leaf = x.clone().requires_grad_()
    wanted = F.avg_pool1d(x, *ARGUMENTS)
    for _ in range(2):
        with torch.no_grad():
            close(avg_pool1d(leaf, *ARGUMENTS), wanted)
        with torch.inference_mode():
            assert avg_pool1d(x, *ARGUMENTS).is_inference()
        for given in (x, torch.nn.Parameter(x), x.transpose(1, 2).contiguous().transpose(1, 2)):
            close(avg_pool1d(given, *ARGUMENTS).detach(), F.avg_pool1d(given, *ARGUMENTS).detach())
        for _ in range(2):
            found = avg_pool1d(x, *ARGUMENTS)
            close(found, wanted)
            assert not found.is_inference()
            ((is_alike, _),) = plans.last_forwards.values()
            assert is_alike(x)
    assert torchs_own == []


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_a_nested_tensor_gets_torchs_error() -> None:
    nested = torch.nested.nested_tensor([torch.ones(3, 8), torch.ones(3, 9)], device=DEVICE)
    with pytest.raises(RuntimeError) as theirs:
        F.avg_pool1d(nested, *ARGUMENTS)
    with pytest.raises(RuntimeError) as ours:
        avg_pool1d(nested, *ARGUMENTS)
    assert str(ours.value) == str(theirs.value)


def test_a_default_device_changes_nothing(x: Tensor, torchs_own: list[Tensor]) -> None:
    with torch.device("meta"):
        close(avg_pool1d(x, *ARGUMENTS), F.avg_pool1d(x, *ARGUMENTS))
    assert torchs_own == []


def test_a_window_far_longer_than_its_row_takes_no_longer_than_the_row() -> None:
    x = torch.randn(2, 3, 20, device=DEVICE)
    close(avg_pool1d(x, 2**30, 1, 2**29), F.avg_pool1d(x, 2**30, 1, 2**29))
