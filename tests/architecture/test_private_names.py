"""Private names of torch and Triton stand in the six files that have a fallback for each of them."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from tests.architecture.imports import package

# Two of torch, because the compile worker loads none; three of Triton; and one that reads attributes only, because core
# loads no Triton.
COMPAT = (
    "runtime/compat_torch.py",
    "runtime/compat_inductor.py",
    "runtime/compat_triton.py",
    "runtime/compat_cache.py",
    "runtime/compat_listener.py",
    "core/jit_function.py",
)

# Names without an underscore that Triton documents nowhere and has changed between versions.
INTERNAL = {
    "create_function_from_signature", "device_caches", "launch_enter_hook", "launch_exit_hook", "launch_metadata",
    "packed_metadata", "triton_key", "used_global_vals", "_init_handles", "_pack_args", "_do_bench", "_src",
    "add_pre_run_hook", "pre_run_hooks",
}  # fmt: skip
OBJECTS = {"driver", "knobs"}  # of Triton: others have attributes of these names too


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def private_names(tree: ast.Module) -> Iterator[str]:
    """Every private name of torch or Triton that the code mentions."""
    roots: set[str] = set()  # names that stand for torch, Triton or something of theirs
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            for alias in node.names:
                path = f"{node.module}.{alias.name}" if isinstance(node, ast.ImportFrom) else alias.name
                parts = path.split(".")
                if parts[0] in ("torch", "triton"):
                    roots.add(alias.asname or (parts[-1] if isinstance(node, ast.ImportFrom) else parts[0]))
                    yield from (part for part in parts if is_private(part) or part in INTERNAL | OBJECTS)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            root = node.value
            while isinstance(root, ast.Attribute):
                root = root.value
            is_theirs = isinstance(root, ast.Name) and root.id in roots
            if node.attr in INTERNAL or (is_theirs and (is_private(node.attr) or node.attr in OBJECTS)):
                yield node.attr
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("getattr", "hasattr"):
            name = node.args[1].value if isinstance(node.args[1], ast.Constant) else None
            first = node.args[0]
            is_theirs = isinstance(first, ast.Name) and first.id in roots
            if name in INTERNAL or (is_theirs and isinstance(name, str) and is_private(name)):
                yield str(name)


def test_private_names_stand_in_the_compat_files_only() -> None:
    found = {path: list(private_names(tree)) for path, tree in package().items() if path not in COMPAT}
    assert {path: names for path, names in found.items() if names} == {}


def test_the_test_sees_private_names() -> None:
    code = """
import torch
from torch.autograd import forward_ad
from torch._C import thing
from triton import knobs
torch.cuda._sleep(1)
forward_ad._current_level
kernel.packed_metadata
hasattr(kernel, "_init_handles")
self._own; torch.__version__
"""
    names = set(private_names(ast.parse(code)))
    assert names == {"_C", "knobs", "_sleep", "_current_level", "packed_metadata", "_init_handles"}
    assert all(list(private_names(package()[path])) for path in COMPAT)
