"""What users write, for mypy alone: an ignore that is not needed, or a type that changes, fails `make lint`."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, assert_type

import torch

import tunedb
from tunedb.kernels import AvgPool1d, avg_pool1d
from tunedb.settings import Settings


def plain(x: torch.Tensor, n: int) -> None:
    """Stand for a jit function: Triton ships no types."""


def decorator() -> None:
    """Decorating keeps the type of what is decorated; a launch takes any arguments, because configs give some."""
    decorate = tunedb.autotune([], key=["n"], bucket={"n": tunedb.pow2}, name="plain")
    kernel = decorate(plain)
    kernel.fn(torch.ones(2), 2)
    kernel.fn("x", 2)  # type: ignore[arg-type]  # no tensor
    assert_type(kernel[(1,)], Callable[..., Any])
    assert_type(kernel.bench_time, float)
    assert_type(kernel.configs_timings, dict[Any, list[float]])
    tunedb.autotune([])  # type: ignore[call-arg]  # no key
    tunedb.autotune([], key=["n"], bucket={"n": tunedb.pow2(3)})  # type: ignore[dict-item]  # a number, no function
    tunedb.autotune([], key=["n"], references=None)  # type: ignore[call-arg]  # a misspelt name


def settings() -> None:
    """Each setting is a keyword with its type; None gives it back to the environment."""
    tunedb.configure(store=Path("t.db"), shared="postgresql://host/db", mode="read", budget=1, lock_timeout=0.5)
    tunedb.configure(store="t.db", override={"kernel": {"BLOCK": 64}})
    tunedb.configure(store=None, shared=None, mode=None, budget=None, lock_timeout=None, override=None)
    with tunedb.using(mode="off") as current:
        assert_type(current, Settings)
    tunedb.configure("t.db")  # type: ignore[call-arg]  # by position
    tunedb.configure(mode="fast")  # type: ignore[arg-type]  # no such mode
    tunedb.configure(budget="soon")  # type: ignore[arg-type]  # no number
    tunedb.using(moed="off")  # type: ignore[call-arg]  # a misspelt name


def adoption() -> None:
    """A pattern, several or none; a context manager, or an object with `undo`."""
    with tunedb.adopt(only="fla.*", skip=["fla.ops.*", "*.norm"], children=False) as adopted:
        adopted.undo()
    tunedb.adopt().undo()
    assert_type(tunedb.adopted(), list[tunedb.Adopted])
    tunedb.adopt(only=3)  # type: ignore[arg-type]  # no pattern
    tunedb.adopted()[0].state = "kept"  # type: ignore[misc]  # frozen


def choices() -> None:
    """Kernels declare the arguments of their problems, so `lookup` and `warm` take any."""
    choice = tunedb.lookup("avg_pool1d", shape=(4, 8, 64), kernel_size=8)
    assert_type(choice, tunedb.Choice | None)
    assert_type(tunedb.warm("avg_pool1d", force=True, shape=(4, 8, 64), kernel_size=8), tunedb.Choice | None)
    assert_type(tunedb.flush(timeout=0.5), bool)
    print(choice.config)  # type: ignore[union-attr]  # None if nothing is stored
    if choice is not None:
        assert_type(choice.config, tunedb.Config)
    tunedb.lookup(3)  # type: ignore[arg-type]  # no name
    tunedb.lookup("avg_pool1d", device="H200")  # a Device, its name, or None for the current one
    tunedb.lookup("avg_pool1d", device=3)  # type: ignore[arg-type]  # no name


def notebooks() -> None:
    """Records of what is stored, and a report."""
    stored = tunedb.sweeps(kernel="avg_pool1d", device="H200")
    assert_type(stored, tunedb.Sweeps)
    assert_type(stored[0], tunedb.Sweep)
    assert_type(stored[0].trials[0], tunedb.Trial)
    assert_type(stored.rows(), list[dict[str, Any]])
    stored[0].time_us = 1.0  # type: ignore[misc]  # frozen
    assert_type(tunedb.report(["a", "b"], compare=("H100", "H200")).save("report.html"), Path)
    tunedb.report(compare="H100")  # type: ignore[arg-type]  # one side


def fleets() -> None:
    """Any executor, or one that only submits; problems are mappings, or what identifies them."""
    problems = [{"kernel": "avg_pool1d", "shape": (4, 8, 64), "kernel_size": 8}]
    with ThreadPoolExecutor() as executor:
        results = tunedb.warm_many(problems, executor, on_result=print, force=True, trial_timeout=60)
    assert_type(results, list[tunedb.WarmResult])
    assert_type(tunedb.warm_many(iter([tunedb.Problem.of("k", n=1)]))[0].config, tunedb.Config | None)
    tunedb.warm_many(problems, 3)  # type: ignore[arg-type]  # no executor
    results[0].outcome = "lost"  # type: ignore[misc]  # frozen
    assert_type(tunedb.agree(on_difference="report"), list[tunedb.RankDifference])
    tunedb.agree(on_difference="ignore")  # type: ignore[arg-type]  # neither of the two


def kernels() -> None:
    """The pooling operators have the types of torch's own."""
    assert_type(avg_pool1d(torch.ones(2, 3, 16), 8, 1, padding=4), torch.Tensor)
    torch.nn.Sequential(AvgPool1d(8, 1, 4))
    avg_pool1d(torch.ones(2, 3, 16))  # type: ignore[call-arg]  # no kernel_size


def errors() -> None:
    """Everything that tunedb raises is a TunedbError."""
    caught: type[tunedb.TunedbError] = tunedb.MissError
    assert_type(caught, type[tunedb.TunedbError])
    unknown: type[tunedb.TunedbError] = OSError  # type: ignore[assignment]  # not one of tunedb's
    del unknown
