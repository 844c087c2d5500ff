"""`avg_pool1d` as PyTorch users call it: on a GPU, and with TRITON_INTERPRET=1 on the CPU."""

from __future__ import annotations

import copy
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn import functional as F  # noqa: N812 - torch's own habit

import tunedb
from tests.conftest import DEVICE, INTERPRETED, runs_kernels
from tunedb import process
from tunedb.kernels import AvgPool1d, avg_pool1d
from tunedb.kernels.avg_pool import FORWARD, op, plans

pytestmark = runs_kernels
ARGUMENTS = (4, 2, 1)
on_gpu = pytest.mark.skipif(INTERPRETED, reason="needs a GPU: the interpreter has none")


@pytest.fixture(autouse=True)
def quick() -> None:
    """No sweep unless a test is about one: on a GPU, compiling a space takes ten seconds and more."""
    torch.manual_seed(0)
    if not INTERPRETED:
        tunedb.configure(mode="record")


@pytest.fixture
def x() -> Tensor:
    """The input, for which a plain call was already made: the fast way is open."""
    x = torch.randn(2, 3, 33, device=DEVICE)
    avg_pool1d(x, *ARGUMENTS)
    return x


@pytest.fixture
def torchs_own(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Tensor]]:
    """The inputs that went to torch's own function."""
    seen: list[Tensor] = []

    def spy(given: Tensor, *arguments: object) -> Tensor:
        seen.append(given)
        return F.avg_pool1d(given, *arguments)  # type: ignore[arg-type]  # handed through

    monkeypatch.setattr(op, "torch_avg_pool1d", spy)
    return iter([seen])


def close(found: Tensor, wanted: Tensor) -> None:
    torch.testing.assert_close(found, wanted)
    assert found.stride() == wanted.stride()


# The plain call


def test_a_plain_call_runs_our_kernel_and_gives_torchs_result(x: Tensor, torchs_own: Iterator[list[Tensor]]) -> None:
    close(avg_pool1d(x, *ARGUMENTS), F.avg_pool1d(x, *ARGUMENTS))
    assert next(torchs_own) == []


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
    except (RuntimeError, NotImplementedError) as error:
        with pytest.raises(type(error)):
            avg_pool1d(x.to(dtype), *ARGUMENTS)
    else:
        close(avg_pool1d(x.to(dtype), *ARGUMENTS), wanted)


def test_an_input_of_another_alignment_gets_a_plan_of_its_own(x: Tensor) -> None:
    wide = torch.randn(2 * 3 * 33 + 8, device=DEVICE)
    for offset in range(5):
        shifted = wide[offset : offset + x.numel()].view(x.shape)
        close(avg_pool1d(shifted, *ARGUMENTS), F.avg_pool1d(shifted, *ARGUMENTS))


# Calls that are not ordinary ones, each after a plain call of the same shape


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
    plain = torch.empty(2, 3, 66, device=DEVICE)[..., 1::2]
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


def test_a_parameter_is_an_ordinary_input(x: Tensor, torchs_own: Iterator[list[Tensor]]) -> None:
    close(avg_pool1d(torch.nn.Parameter(x), *ARGUMENTS).detach(), F.avg_pool1d(x, *ARGUMENTS))
    assert next(torchs_own) == []


# Gradients


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
    x = torch.randn(2, 2, 9, dtype=torch.float64, device=DEVICE, requires_grad=True)
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


# Traced code


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


# What a sweep in a call leaves behind, and what it does not


def test_the_first_call_sweeps_and_the_second_looks_up(monkeypatch: pytest.MonkeyPatch) -> None:
    tunedb.configure(mode="tune")
    x = torch.randn(2, 3, 35, device=DEVICE)
    avg_pool1d(x, 5, 1)
    choice = process.active().choose(
        FORWARD, FORWARD.problem({"shape": x.shape, "kernel_size": 5, "stride": 1}), x.get_device()
    )
    assert (choice.source, choice.sweep is not None) == ("memory", True)
    assert choice.sweep is not None
    assert choice.sweep.default_time_us is not None
    with tunedb.using(budget=60):  # a change empties the plans and the memory: what answers now is the store
        monkeypatch.setattr("tunedb.tuner.run_sweep", None)
        close(avg_pool1d(x, 5, 1), F.avg_pool1d(x, 5, 1))


def test_a_sweep_leaves_no_trace_in_the_caller() -> None:
    tunedb.configure(mode="tune")
    x = torch.randn(2, 3, 37, device=DEVICE, requires_grad=True)
    before, version = x.detach().clone(), x._version
    states = torch.get_rng_state(), torch.cuda.get_rng_state() if DEVICE == "cuda" else None
    allocated = torch.cuda.memory_allocated() if DEVICE == "cuda" else 0
    y = avg_pool1d(x, *ARGUMENTS)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert torch.is_grad_enabled()
    assert y.grad_fn is not None
    assert x._version == version
    assert torch.equal(x, before)
    if DEVICE == "cuda":
        assert states[1] is not None
        assert torch.equal(torch.cuda.get_rng_state(), states[1])
        assert torch.cuda.memory_allocated() - allocated <= 4096  # the output
        assert torch.cuda.current_device() == 0


@pytest.mark.parametrize("mode", ["record", "read", "off"])
def test_without_tuning_the_default_computes_the_same(mode: str) -> None:
    x = torch.randn(2, 3, 39, device=DEVICE)
    with tunedb.using(mode=mode):
        close(avg_pool1d(x, *ARGUMENTS), F.avg_pool1d(x, *ARGUMENTS))
        assert process.active().choose(FORWARD, plans_problem(x), x.get_device()).source == "memory"
    assert list(process._plans) != []


def plans_problem(x: Tensor) -> tunedb.Problem:
    return FORWARD.problem({"shape": x.shape, "kernel_size": 4, "stride": 2, "padding": 1})


def test_strict_raises_on_a_miss() -> None:
    x = torch.randn(2, 3, 41, device=DEVICE)
    with tunedb.using(mode="strict"), pytest.raises(tunedb.MissError, match="tunedb warm avg_pool1d"):
        avg_pool1d(x, *ARGUMENTS)


def test_a_kernel_that_does_not_launch_gives_way_to_torchs_own(
    monkeypatch: pytest.MonkeyPatch, records: pytest.LogCaptureFixture
) -> None:
    def refuse(launch: object) -> object:
        raise tunedb.TrialError("compile_error", "no such instruction")

    monkeypatch.setattr(plans.compiled, "load", refuse)
    x = torch.randn(2, 3, 43, device=DEVICE)
    with tunedb.using(mode="record"):
        for _ in range(3):
            close(avg_pool1d(x, *ARGUMENTS), F.avg_pool1d(x, *ARGUMENTS))
    assert records.text.count("using torch's own") == 1


def test_threads_share_plans(x: Tensor) -> None:
    wanted = F.avg_pool1d(x, *ARGUMENTS)
    failures: list[BaseException] = []

    def call() -> None:
        try:
            for _ in range(20):
                close(avg_pool1d(x, *ARGUMENTS), wanted)
        except BaseException as error:  # whatever it is, the test must see it
            failures.append(error)

    if INTERPRETED:
        pytest.skip("Triton's interpreter keeps its grid in a global: it is not safe among threads")
    threads = [threading.Thread(target=call) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


SECOND = """
import logging, torch
logging.basicConfig(level=logging.INFO, format="%(message)s")
logging.getLogger("alembic").setLevel(logging.WARNING)
from tunedb.kernels import avg_pool1d
from tunedb import process
x = torch.ones(2, 3, 45, device={device!r})
avg_pool1d(x, 4, 2, 1)
(choice,) = process.active().memory._choices.values()
print(choice.source, choice.config)
"""


def test_the_second_process_never_sweeps(tmp_path: Path) -> None:
    environment = os.environ | {"TUNEDB_STORE": str(tmp_path / "shared.db")}
    command = [sys.executable, "-c", SECOND.format(device=DEVICE)]
    first, second = (
        subprocess.run(command, env=environment, capture_output=True, text=True, check=True) for _ in range(2)
    )
    assert first.stdout.startswith("sweep ")
    assert second.stdout == first.stdout.replace("sweep", "store", 1)
    assert "Tuning" in first.stderr
    assert "Tuning" not in second.stderr


# On a GPU only


@on_gpu
@pytest.mark.gpu
def test_a_remembered_call_captures_and_replays_on_new_data(x: Tensor) -> None:
    static = x.clone()
    avg_pool1d(static, *ARGUMENTS)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        y = avg_pool1d(static, *ARGUMENTS)
    static.copy_(torch.randn_like(static))
    graph.replay()
    close(y, F.avg_pool1d(static, *ARGUMENTS))


@on_gpu
@pytest.mark.gpu
def test_a_call_first_made_in_a_capture_captures_torchs_own_and_is_not_remembered(
    records: pytest.LogCaptureFixture,
) -> None:
    static = torch.randn(2, 3, 47, device="cuda")
    plans._told.clear()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        y = avg_pool1d(static, *ARGUMENTS)
        avg_pool1d(static, *ARGUMENTS)
    static.copy_(torch.randn_like(static))
    graph.replay()
    close(y, F.avg_pool1d(static, *ARGUMENTS))
    assert records.text.count("call it once") == 1
    records.clear()
    records.set_level(logging.INFO, logger="tunedb")
    tunedb.configure(mode="tune")
    avg_pool1d(static, *ARGUMENTS)
    assert "Tuning avg_pool1d" in records.text


@on_gpu
@pytest.mark.gpu
def test_a_graph_replays_after_its_problem_was_tuned_again(x: Tensor) -> None:
    static = x.clone()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        y = avg_pool1d(static, *ARGUMENTS)
    assert tunedb.warm("avg_pool1d", force=True, shape=x.shape, kernel_size=4, stride=2, padding=1) is not None
    tunedb.configure(budget=60)  # forgets every plan
    avg_pool1d(torch.randn_like(x), *ARGUMENTS)
    static.copy_(torch.randn_like(static))
    graph.replay()
    close(y, F.avg_pool1d(static, *ARGUMENTS))


@on_gpu
@pytest.mark.gpu
def test_it_runs_on_the_current_stream(x: Tensor) -> None:
    stream = torch.cuda.Stream()
    slow = torch.randn(2048, 2048, device="cuda")
    with torch.cuda.stream(stream):
        for _ in range(20):
            slow = slow @ slow
        late = torch.full_like(x, 3.0)
        y = avg_pool1d(late, 4, 2)
    stream.synchronize()
    assert torch.equal(y, torch.full_like(y, 3.0))


@on_gpu
@pytest.mark.gpu
def test_tritons_launch_hooks_fire_on_a_remembered_call(x: Tensor) -> None:
    from triton import knobs

    seen: list[str] = []

    def hook(metadata: object) -> None:
        seen.append(metadata.get()["name"])  # type: ignore[attr-defined]  # Triton's lazy dict

    knobs.runtime.launch_enter_hook.add(hook)
    try:
        avg_pool1d(x, *ARGUMENTS)
    finally:
        knobs.runtime.launch_enter_hook.remove(hook)
    assert seen == ["avg_pool1d_forward_kernel"]


@on_gpu
@pytest.mark.gpu
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")
def test_a_call_runs_on_its_tensors_device_and_not_on_the_current_one(x: Tensor) -> None:
    there = x.to("cuda:1")
    for _ in range(2):
        close(avg_pool1d(there, *ARGUMENTS), F.avg_pool1d(there, *ARGUMENTS))
    assert torch.cuda.current_device() == 0
