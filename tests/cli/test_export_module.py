"""The hand-over file: one module with kernel and configs, that launches as the op does and needs no tunedb."""

from __future__ import annotations

import ast
import functools
import inspect
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests import forked
from tests.cli.conftest import Cli, put, run_apart
from tests.conftest import runs_interpreter
from tests.store.samples import DEVICE, sweep
from tunedb.core.device import INTERPRETER, Device, Placement
from tunedb.core.problem import Config, Problem
from tunedb.core.sweep import Sweep
from tunedb.kernels.avg_pool import BACKWARD, FORWARD, algorithms
from tunedb.kernels.avg_pool.algorithms import can_run, tiles_of, tiling
from tunedb.kernels.avg_pool.algorithms.case import Case
from tunedb.kernels.avg_pool.export import module, template
from tunedb.kernels.avg_pool.launch import described, empty_output, forward_launch, simplified
from tunedb.kernels.avg_pool.problem import Pool
from tunedb.kernels.avg_pool.strides import alignment_of
from tunedb.kernels.geometry import Window

OTHER = Device("NVIDIA L4", "cuda", "sm_89", 58)
LONG = {"shape": (64, 128, 65536), "kernel_size": 8, "stride": 1, "padding": 4}
# Each with window, stride and padding.
INPUTS: list[tuple[Callable[[], torch.Tensor], tuple[int, int, int]]] = [
    (lambda: torch.randn(2, 3, 1000), (8, 1, 4)),
    (lambda: torch.randn(2, 3, 100), (40, 3, 20)),
    (lambda: torch.randn(5, 99), (3, 2, 1)),
    (lambda: torch.randn(1, 4, 64), (2, 2, 0)),
    (lambda: torch.randn(3, 1, 64).half(), (2, 7, 0)),
    (lambda: torch.randn(2, 64, 8).transpose(1, 2), (4, 4, 0)),
    (lambda: torch.randn(2, 3, 200)[..., ::2], (5, 1, 2)),
    (lambda: torch.randn(2, 6, 50)[:, ::2], (5, 1, 2)),
    (lambda: torch.randn(4, 1, 50).expand(4, 3, 50), (5, 1, 2)),
    (lambda: torch.randn(301)[1:].view(2, 3, 50).double(), (5, 1, 2)),
    (lambda: torch.randn(2, 3, 1), (1, 1, 0)),
]


def tuned(device: Device = DEVICE, kernel: object = FORWARD, **arguments: object) -> Sweep:
    """A sweep whose winner is not the default."""
    problem = kernel.problem({**LONG, **arguments})  # type: ignore[attr-defined]
    config = kernel.space(problem, device)[-1]  # type: ignore[attr-defined]
    return sweep(problem=problem, device=device, kernel_hash=kernel.hash, config=config)  # type: ignore[attr-defined]


@pytest.fixture
def no_configs(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The module's functions, as they stand in `template`, with no tuned config."""
    monkeypatch.setattr(template, "TUNED", [])
    yield
    template.LAUNCHES.clear()


@pytest.mark.usefixtures("no_configs")
@pytest.mark.parametrize(("make", "window"), INPUTS)
def test_the_module_launches_as_the_op_does(
    make: Callable[[], torch.Tensor], window: tuple[int, int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    x, pooled = make(), Window(*window)
    y = empty_output(x, pooled)
    problem = Pool.of_input(x, pooled).forward_problem()
    config = FORWARD.default(problem, DEVICE)
    launch = forward_launch(x, y, pooled, config)
    grid, numbers, keywords = template.launch_of(x, y, *window)
    assert (grid, numbers) == (launch.grid, launch.arguments[2:])
    assert keywords == launch.keywords
    facts = tuple(problem[name] for name in module._FACTS)
    monkeypatch.setattr(
        template, "choose", lambda *given: pytest.fail(str(given)) if _facts(*given) != facts else ("taps", 64, 1, {})
    )
    template.launch_of(x, y, *window)


def _facts(_: torch.dtype, case: Case, alignment: int) -> tuple[int, ...]:
    return case.batch, case.rows, case.length, case.kernel_size, case.stride, case.padding, alignment


@pytest.mark.usefixtures("no_configs")
@pytest.mark.parametrize("device", [DEVICE, INTERPRETER])
def test_without_a_fitting_row_the_default_rule_decides(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(template, "MULTIPROCESSORS", device.multiprocessors if device is DEVICE else 0)
    for layout in ("rows", "transposed"):
        for shape in ((1, 1, 8), (2, 3, 100), (64, 256, 5000), (1, 1000, 16)):
            problem = FORWARD.problem({"shape": shape, "kernel_size": 3, "stride": 1, "layout": layout})
            algorithm, block, per_program, options = template.default(Pool.of_problem(problem).case(False))
            config = Config.of(ALGORITHM=algorithm, BLOCK_OUT=block, ROWS_PER_PROG=per_program, **options)
            assert config == FORWARD.default(problem, device)


@pytest.mark.usefixtures("no_configs")
def test_the_nearest_legal_row_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    near, far = ("vectors", 512, 1, {"num_warps": 1}), ("taps", 1024, 1, {"num_warps": 2})
    illegal = ("vectors", 2048, 8, {"num_warps": 4})
    rows = [
        (torch.float32, "rows", (1, 8192, 65536, 8, 1, 4, 16), far),
        (torch.float32, "rows", (1, 64, 4096, 8, 1, 4, 16), near),
        (torch.float16, "rows", (1, 64, 2048, 8, 1, 4, 16), illegal),
        (torch.float32, "rows", (1, 4, 2048, 8, 1, 4, 16), illegal),
    ]
    monkeypatch.setattr(template, "TUNED", rows)

    def chosen(*facts: int) -> tuple[str, int, int, dict[str, int]]:
        return template.choose(torch.float32, Case(False, "rows", 4, 1, *facts), 16)

    assert chosen(8192, 65536, 65537, 8, 1, 4) == far
    assert chosen(4, 2048, 2049, 8, 1, 4) == near
    assert chosen(64, 2048, 1993, 64, 1, 4)[0] == "pieces"  # no row is alike
    assert chosen(64, 2048, 132, 95, 15, 40)[0] == "strips"  # too many columns for vectors


def test_the_file_is_in_the_order_that_was_asked_for(cli: Cli, tmp_path: Path) -> None:
    put(tuned(), tuned(dtype="float16"), tuned(kernel=BACKWARD))
    path = tmp_path / "module.py"
    answer = cli("export", "-o", path, "--format", "module")
    assert answer.code == 0, answer.err
    assert DEVICE.name in answer.err
    text = path.read_text()
    cli("export", "-o", path, "--format", "module")
    assert path.read_text() == text
    body = ast.parse(text).body
    imports = [ast.unparse(node) for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Import | ast.ImportFrom)]
    assert imports == ["import torch", "import torch.nn as nn", "import triton", "import triton.language as tl"]
    kinds = [type(node) for node in body]
    assert kinds[:4] == [ast.Import] * 4
    assert kinds[-1] is ast.ClassDef
    assert body[-1].name == "ModelNew"  # type: ignore[attr-defined]
    is_jit = [isinstance(node, ast.FunctionDef) and bool(node.decorator_list) for node in body]
    assert is_jit == [False] * 4 + [True] * sum(is_jit) + [False] * (len(body) - 4 - sum(is_jit))
    assert text.count("(torch.float") >= 2
    assert "__main__" not in text
    assert "tunedb" not in text.replace(str(path), "")


def test_the_file_holds_the_source_that_runs_elsewhere() -> None:
    text = module.module_source([tuned()])
    for function in (tiling, can_run, described, simplified, tiles_of, alignment_of, template.choose):
        assert inspect.getsource(function) in text
    with pytest.raises(AssertionError, match="SERVES is defined in"):
        list(module._with_all_it_uses("tiling", [algorithms, algorithms], without=set()))


def test_a_choice_that_has_to_be_made_is_named(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tunedb.cli.device.current_index", lambda: -1)
    put(tuned(), tuned(OTHER), tuned(INTERPRETER))
    path = tmp_path / "module.py"
    answer = cli("export", "-o", path, "--format", "module")
    assert answer.code == 2
    assert DEVICE.name in answer.err
    assert OTHER.name in answer.err
    assert not path.exists()
    assert cli("export", "-o", path, "--format", "module", "--device", "L4").code == 0
    monkeypatch.setattr("tunedb.cli.module_export.current_placement", lambda: Placement(OTHER, 0))
    assert cli("export", "-o", path, "--format", "module").code == 0
    assert OTHER.name in path.read_text()


def test_a_gradients_kernel_has_no_module(cli: Cli, tmp_path: Path) -> None:
    put(tuned(kernel=BACKWARD))
    answer = cli("export", "-o", tmp_path / "x.py", "--format", "module")
    assert answer.code == 2
    assert "forward" in answer.err


def test_rows_of_another_version_of_the_kernel_are_refused(cli: Cli, tmp_path: Path) -> None:
    put(sweep(problem=FORWARD.problem(LONG), kernel_hash="ab" * 32))
    answer = cli("export", "-o", tmp_path / "x.py", "--format", "module")
    assert answer.code == 1
    assert "another version" in answer.err


_PROGRAM = """
import importlib.util, sys
import torch
sys.modules["tunedb"] = None  # importing it raises
spec = importlib.util.spec_from_file_location("handed_over", sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
device, launches = sys.argv[2], 0
for shape, window in (((2, 3, 1000), (8, 1, 4)), ((2, 5, 90), (40, 3, 20)), ((5, 99), (3,)), ((0, 3, 9), (2, 2))):
    for dtype in (torch.float32, torch.float16):
        x = torch.randn(shape, device=device).to(dtype)
        y = module.ModelNew(*window)(x)
        torch.testing.assert_close(y, torch.nn.AvgPool1d(*(window if len(window) > 1 else (*window, 1)))(x))
x = torch.randn(2, 64, 8, device=device).transpose(1, 2)
torch.testing.assert_close(module.ModelNew(4, 4)(x), torch.nn.AvgPool1d(4, 4)(x))
x = torch.randn(2, 3, 64, device=device, requires_grad=True)
module.ModelNew(4, 4)(x).sum().backward()
assert x.grad is not None
assert len(module.LAUNCHES) == int(sys.argv[3]), module.LAUNCHES
print("done")
"""


@runs_interpreter
def test_the_module_runs_in_the_interpreter_without_tunedb(cli: Cli, tmp_path: Path) -> None:
    put(tuned(), tuned(shape=(2, 3, 1000)))
    cli("export", "-o", tmp_path / "module.py", "--format", "module")
    words = ["-c", _PROGRAM, tmp_path / "module.py", "cpu", 7]
    ran = forked.run(words, env=os.environ | {"TRITON_INTERPRET": "1"})
    assert ran.stdout == "done\n", ran.stderr


def test_without_the_interpreter_cpu_tensors_get_torchs_own(cli: Cli, tmp_path: Path) -> None:
    put(tuned())
    cli("export", "-o", tmp_path / "module.py", "--format", "module")
    words = ["-c", _PROGRAM, tmp_path / "module.py", "cpu", 0]
    ran = forked.run(words, env=os.environ | {"TRITON_INTERPRET": "0"})
    assert ran.stdout == "done\n", ran.stderr


@pytest.mark.gpu
def test_the_module_gives_what_the_op_gives_on_a_gpu(cli: Cli, tmp_path: Path) -> None:
    problem = ("avg_pool1d", "--shape", "16,32,4096", "--kernel-size", "8", "--stride", "1", "--padding", "4")
    assert run_apart("-m", "tunedb", "warm", *problem, "--forward-only").code == 0
    path = tmp_path / "module.py"
    assert cli("export", "-o", path, "--format", "module").code == 0
    answer = run_apart("-I", "-c", _PROGRAM, path, "cuda", 7)
    assert answer.out == "done\n", answer.err
    program = """
import sys, torch
sys.path.insert(0, sys.argv[1])
from module import ModelNew
from tunedb.kernels import avg_pool1d
x = torch.randn(16, 32, 4096, device="cuda")
assert torch.equal(ModelNew(8, 1, 4)(x), avg_pool1d(x, 8, 1, 4))
"""
    ran = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr


@functools.cache
def plain_source() -> str:
    """The module of one sweep."""
    return module.module_source([tuned()])


def test_a_device_s_name_does_not_leave_its_comment() -> None:
    exported = tuned()
    plain, named = plain_source(), Device("NVIDIA H200", "cuda", "sm_90", 132)
    name = "x".join(f"{line_break}import os#" for line_break in ("\n", "\r", "\f", "\x85", "\u2028"))
    object.__setattr__(named, "name", f"x{name}")  # no name can be this: the second line of defence
    steered = module.module_source([replace(exported, device=named)])
    assert ast.dump(ast.parse(steered)) == ast.dump(ast.parse(plain))
    assert len(steered.splitlines()) == len(plain.splitlines())


def test_a_text_in_the_place_of_a_fact_or_a_knob_stays_a_text() -> None:
    exported, code = tuned(), "torch.float32, (exit(1)"
    assert exported.config is not None
    facts = {fact: f"{code} {fact}" for fact in ("dtype", "layout", "batch", "alignment")}
    knobs = {knob: f"{code} {knob}" for knob in ("ALGORITHM", "BLOCK_OUT", "num_warps")}
    problem = Problem.of("avg_pool1d", **{**exported.problem, **facts})
    config = Config.of(**{**exported.config, **knobs})
    source = module.module_source([replace(exported, problem=problem, config=config)])
    assert [text for text in (facts | knobs).values() if repr(text) not in source] == []
