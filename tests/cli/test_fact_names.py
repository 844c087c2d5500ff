"""Facts of problems as people type them: names that nothing stored has get a short answer, and names that are alike."""

from __future__ import annotations

import shlex

import pytest

from tests.cli.conftest import Cli, Kernel, put
from tests.cli.test_diff import H100
from tests.store.samples import sweep
from tunedb.cli.examples import EXAMPLES
from tunedb.core.device import INTERPRETER
from tunedb.core.problem import Problem


def many_facts(columns: int, dtype: str, rows: str = "rows") -> Problem:
    """A problem as that of a decorated kernel, with the facts of four tensors."""
    tensors = {f"{name}.{fact}": value for name in "wxyz" for fact, value in (("aligned", True), ("layout", rows))}
    return Problem.of("softmax", **tensors, **{f"{name}.dtype": dtype for name in "wxyz"}, columns=columns)


@pytest.mark.parametrize("command", ["lookup", "explain"])
@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (
            ["x_dtype=fp16"],
            2,
            "softmax has no fact x_dtype. Did you mean x.dtype? Facts: columns, w.aligned, w.dtype, ",
        ),
        (["rows=4096"], 2, "softmax has no fact rows. Facts: columns, w.aligned, "),
        (
            ["columns=1000"],
            1,
            "no stored problem has columns=1000. Stored: columns=64 or 128 or 256 or 512 or 1024 and 1 mo",
        ),
        (
            ["x.dtype=fp32", "columns=512"],
            1,
            "has x.dtype=fp32, columns=512. Stored: x.dtype=float16 or float32; columns=",
        ),
        (["columns=1024"], 2, "2 stored problems have columns=1024. Name one by: w.dtype=float16 or float32; x.dtype="),
    ],
)
@pytest.mark.usefixtures("kernels")
def test_what_fits_no_stored_problem_is_a_short_line(
    cli: Cli, command: str, words: list[str], code: int, said: str
) -> None:
    problems = [many_facts(2**n, "float16") for n in range(6, 12)]
    put(*(sweep(problem=problem, device=INTERPRETER) for problem in [*problems, many_facts(1024, "float32")]))
    answer = cli(command, "softmax", *(part for word in words for part in ("--arg", word)))
    assert (answer.code, answer.out) == (code, "")
    assert said in answer.err
    assert len(answer.err) < 320


def test_the_examples_of_look_ups_find_a_decorated_kernel_s_problem(cli: Cli, kernels: dict[str, Kernel]) -> None:
    put(sweep(problem=Problem.of("softmax", **{"columns": 1024, "x.dtype": "float16"}), device=H100))
    for command in ("lookup", "explain"):
        for example in EXAMPLES[command]:
            words = shlex.split(example)[1:]
            answer = cli(*words, *([] if "--device" in words else ["--device", "h100"]))
            assert answer.code == 0, answer.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["dtype_name=fp32,scael=0.5"],
            "avg_pool1d has no fact scael. Did you mean scale? Facts: dtype_name, n, padding, ",
        ),
        (
            ["x_dtype=fp16", "--kernel", "attention"],
            "mine.attention has no fact x_dtype. Did you mean x.dtype? Facts: n, ",
        ),
        (
            ["x_dtype=fp16"],
            "No stored problem has a fact x_dtype. Did you mean x.dtype? Facts: dtype_name, n, padding, ",
        ),
        (["n=9"], "Nothing is stored for that in "),
        (["n=9", "--kernel", "nothing"], "Nothing is stored for that in "),
    ],
)
def test_a_where_that_names_no_stored_fact_gets_a_hint(cli: Cli, words: list[str], said: str) -> None:
    put(
        sweep(1),
        *([sweep(problem=Problem.of("mine.attention", **{"n": 1, "x.dtype": "float16"}))] if "x_" in words[0] else []),
    )
    for format in ("table", "json"):
        answer = cli("ls", "--where", *words, "--format", format)
        assert (answer.code, answer.out.strip()) == (0, "" if format == "table" else "[]")
        assert said in answer.err
    assert "has no fact" not in cli("ls", "--where", "n=1").err
