"""The hand-over file of average pooling: one module, forward only, with the kernel and the tuned configs in it.

It is put together from source that runs elsewhere too, so that it can't drift: the kernel with what it calls, helpers
of the launcher and of the space, and the functions of `standalone.py`.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator, Sequence
from types import ModuleType
from typing import Any

from tunedb.core.sweep import Sweep
from tunedb.errors import SettingError

from ...geometry import cdiv, power_of_2_from, power_of_2_to
from .. import jit as kernel
from .. import search_space as space
from ..algorithms import (
    LONGEST_UNROLLED_WINDOW,
    MOST_ADDITIONS,
    MOST_GATHERED,
    MOST_IN_REGISTERS,
    WIDEST_ALIGNMENT,
    WIDEST_AT_A_STRIDE,
    WIDEST_SCANNED,
    algorithms,
    can_run,
    chunk_of,
    fitting,
    gathered,
    span,
    tiling,
)
from ..jit import registers, sums, taps, tiles, vectors
from ..jit import short_rows as short
from ..jit import window_sums as pieces
from ..launch import _empty, is_channels_last
from . import template as standalone

_HEAD = """\
import torch
import torch.nn as nn
import triton
import triton.language as tl
"""
_TUNED = """\
# Tuned on {device}.
# The problem: dtype, layout, (batch entries, rows in each, their length, kernel size, stride, padding, alignment in
# bytes). Its config: ALGORITHM, BLOCK_OUT, ROWS_PER_PROG, launch options.
TUNED = [
{rows}]
LAUNCHES = {{}}  # by kind of call, as they are met
TILE = {tile}  # elements, where no tuned config fits
WIDEST_ALIGNMENT = {alignment}
LONGEST_UNROLLED_WINDOW = {window}
MOST_IN_REGISTERS = {registers}
WIDEST_SCANNED = {scanned}
MOST_ADDITIONS = {additions}
MOST_GATHERED = {gathered}
WIDEST_AT_A_STRIDE = {strided}
"""


def module_source(sweeps: Sequence[Sweep]) -> str:
    """The module for the winners of one device, one sweep a problem. Raises SettingError for the gradient's kernel."""
    if any(sweep.problem.kernel != "avg_pool1d" for sweep in sweeps):
        raise SettingError("The module of avg_pool1d is forward only. Export it with: --kernel avg_pool1d")
    device = sweeps[0].device
    interpreted = device.backend == "interpreter"
    tuned = _TUNED.format(
        device=device,
        rows="".join(_rows(sweeps)),
        tile=space.INTERPRETED_TILES[0] if interpreted else 32 * space.WARPS[0] * space.ELEMENTS_PER_THREAD[0],
        alignment=WIDEST_ALIGNMENT,
        window=LONGEST_UNROLLED_WINDOW,
        registers=MOST_IN_REGISTERS,
        scanned=WIDEST_SCANNED,
        additions=MOST_ADDITIONS,
        gathered=MOST_GATHERED,
        strided=WIDEST_AT_A_STRIDE,
    )
    kernels = _with_callees((tiles, registers, pieces, vectors, short, sums, taps, kernel), "avg_pool1d_forward_kernel")
    helpers = (cdiv, power_of_2_from, power_of_2_to, is_channels_last, _empty)
    rules = (span, gathered, fitting, algorithms, can_run, chunk_of, tiling)
    own = [value for value in vars(standalone).values() if getattr(value, "__module__", "") == standalone.__name__]
    copied: list[Any] = [*helpers, *rules, *own]
    return "\n\n".join([_HEAD, *kernels, tuned, *map(inspect.getsource, copied)])


_FACTS = ("batch", "rows", "length", "kernel_size", "stride", "padding", "alignment")


def _rows(sweeps: Sequence[Sweep]) -> Iterator[str]:
    """The lines of TUNED, of problems that differ in no fact that it has; ceil_mode and count_include_pad come last."""
    found: dict[str, str] = {}
    for sweep in sorted(sweeps, key=lambda sweep: (sweep.problem["ceil_mode"], not sweep.problem["count_include_pad"])):
        problem, config = sweep.problem, sweep.config
        assert config is not None  # a winner has one
        facts = tuple(problem[name] for name in _FACTS)
        knobs = (config["ALGORITHM"], config["BLOCK_OUT"], config["ROWS_PER_PROG"], config.options)
        found.setdefault(f"{problem['dtype']}, {problem['layout']!r}, {facts}", str(knobs))
    for key, value in sorted(found.items()):
        yield f"    ({key}, {value}),\n"


def _with_callees(modules: Sequence[ModuleType], name: str) -> Iterator[str]:
    """The source of a function, after that of all top-level functions and constants of the modules that it needs."""
    defined: dict[str, ast.stmt] = {}
    lines: dict[ast.stmt, list[str]] = {}
    for module in modules:
        source = inspect.getsource(module)
        for statement in ast.parse(source).body:
            lines[statement] = source.splitlines(keepends=True)
            if isinstance(statement, ast.FunctionDef):
                defined[statement.name] = statement
            elif isinstance(statement, ast.Assign | ast.AnnAssign):
                targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
                defined |= {target.id: statement for target in targets if isinstance(target, ast.Name)}
    needed, new = set[str](), {name}
    while new:
        needed |= new
        used = {node.id for each in new for node in ast.walk(defined[each]) if isinstance(node, ast.Name)}
        new = (used & set(defined)) - needed
    statements = dict.fromkeys(defined[each] for each in defined if each in needed)
    for statement in sorted(statements, key=lambda each: not isinstance(each, ast.FunctionDef)):  # functions first
        decorators: list[Any] = getattr(statement, "decorator_list", [])
        first = min(node.lineno for node in [statement, *decorators])
        yield "".join(lines[statement][first - 1 : statement.end_lineno])
