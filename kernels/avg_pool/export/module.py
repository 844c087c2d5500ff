"""The exported module of average pooling: forward only, with the kernel and the tuned configs in it.

It is made of copies of the source that runs elsewhere too, so that it can't drift: the kernel, the launcher, the
default, and `template.py`, with all functions and constants that they use.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
from collections.abc import Iterator, Sequence
from types import ModuleType

from tunedb.core.sweep import Sweep
from tunedb.errors import SettingError

from ... import geometry
from .. import algorithms, jit, launch, search_space, strides
from . import template

_HEAD = """\
import torch
import torch.nn as nn
import triton
import triton.language as tl
"""
_TUNED = """\
# Tuned on {device!r}.
# The problem: dtype, layout, (batch entries, rows in each, their length, kernel size, stride, padding, alignment in
# bytes). Its config: ALGORITHM, BLOCK_OUT, ROWS_PER_PROG, launch options.
TUNED = [
{rows}]
MULTIPROCESSORS = {multiprocessors}  # of that device; 0 for the interpreter
"""


def _files_of(package: ModuleType) -> list[ModuleType]:
    """List the modules of a package, itself last, since it uses them."""
    names = sorted(each.name for each in pkgutil.iter_modules(package.__path__))
    return [*(importlib.import_module(f"{package.__name__}.{name}") for name in names), package]


def module_source(sweeps: Sequence[Sweep]) -> str:
    """Return the module for the winners of one device, one sweep a problem.

    Raises SettingError for the gradient's kernel.
    """
    if any(sweep.problem.kernel != "avg_pool1d" for sweep in sweeps):
        raise SettingError("The module of avg_pool1d is forward only. Export it with: --kernel avg_pool1d")
    device = sweeps[0].device
    is_interpreted = device.backend == "interpreter"
    multiprocessors = 0 if is_interpreted else device.multiprocessors
    tuned = _TUNED.format(device=str(device), rows="".join(_rows(sweeps)), multiprocessors=multiprocessors)
    modules = (*_files_of(jit), geometry, *_files_of(algorithms), strides, launch, search_space, template)
    kernels: list[str] = []
    rest: list[str] = []
    for statement, source in _with_all_it_uses("ModelNew", modules, without={"TUNED", "MULTIPROCESSORS"}):
        (kernels if _is_jit(statement) else rest).append(source)
    return "\n\n".join([_HEAD, *kernels, tuned, *rest])


_FACTS = ("batch", "rows", "length", "kernel_size", "stride", "padding", "alignment")


def _rows(sweeps: Sequence[Sweep]) -> Iterator[str]:
    """Write the lines of TUNED: one for problems that differ only in what it lacks, ceil_mode and count_include_pad."""
    lines: dict[str, str] = {}
    for sweep in sorted(sweeps, key=lambda sweep: (sweep.problem["ceil_mode"], not sweep.problem["count_include_pad"])):
        problem, config = sweep.problem, sweep.config
        assert config is not None  # a winner has one
        facts = tuple(problem[name] for name in _FACTS)
        knobs = (config["ALGORITHM"], config["BLOCK_OUT"], config["ROWS_PER_PROG"], config.options)
        lines.setdefault(f"{problem['dtype']!r}, {problem['layout']!r}, {facts}", str(knobs))
    for key, value in sorted(lines.items()):
        yield f"    ({key}, {value}),\n"


def _with_all_it_uses(name: str, modules: Sequence[ModuleType], without: set[str]) -> Iterator[tuple[ast.stmt, str]]:
    """Yield a class or function, after all top-level functions and constants of the modules that it uses.

    Each comes with its source. Names `without` are left out, and what they alone use.
    """
    defined: dict[str, ast.stmt] = {}
    lines: dict[ast.stmt, list[str]] = {}
    for module in modules:
        source = inspect.getsource(module)
        for statement in ast.parse(source).body:
            for defined_name in _names_defined_by(statement):
                assert defined_name not in defined, f"{defined_name} is defined in {module.__name__} and before it"
                defined[defined_name] = statement
                lines[statement] = source.splitlines(keepends=True)
    used, new = set[str](), {name}
    while new:
        used |= new
        names = {node.id for each in new for node in ast.walk(defined[each]) if isinstance(node, ast.Name)}
        new = (names & set(defined)) - used - without
    for statement in dict.fromkeys(defined[each] for each in defined if each in used):
        first = min(node.lineno for node in [statement, *getattr(statement, "decorator_list", [])])
        yield statement, "".join(lines[statement][first - 1 : statement.end_lineno])


def _names_defined_by(statement: ast.stmt) -> Iterator[str]:
    if isinstance(statement, ast.FunctionDef | ast.ClassDef):
        yield statement.name
    elif isinstance(statement, ast.Assign | ast.AnnAssign):
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        yield from (target.id for target in targets if isinstance(target, ast.Name))


def _is_jit(statement: ast.stmt) -> bool:
    """Say whether this is a function of the GPU."""
    return isinstance(statement, ast.FunctionDef) and any(
        ast.unparse(decorator) == "triton.jit" for decorator in statement.decorator_list
    )
