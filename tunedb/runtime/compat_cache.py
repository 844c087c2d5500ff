"""Private names of Triton's cache and compiler, each with what happens in a Triton that lacks it. Loads no torch.

Tested with Triton 3.6 to 3.8.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from typing import Any

import triton
from triton import knobs
from triton.backends.compiler import GPUTarget as GPUTarget

from tunedb._internal.control import let_pass, suppress
from tunedb.runtime.compat_triton import current_target, heuristics_of, jit_of, specialize, triton_key

TRITON = str(triton.__version__)


# The cache on disk.


def cache_folder() -> str:
    """Return the folder of Triton's cache."""
    return str(knobs.cache.dir)


def use_cache_folder(folder: str) -> None:
    """Have Triton use another folder for its cache in this process, and not in its children."""
    propagated, knobs.propagate_env = knobs.propagate_env, False
    try:
        knobs.cache.dir = folder
    finally:
        knobs.propagate_env = propagated


@contextlib.contextmanager
def caching_in(folder: str, manager: type) -> Iterator[None]:
    """Have Triton use this folder and this class for its cache, also in processes that start meanwhile."""
    with knobs.cache.scope():
        knobs.cache.dir = folder
        knobs.cache.manager_class = manager
        yield


def replace_cache_manager(manager: type | None) -> type | None:
    """Have Triton use this class for its cache, or by None what it would use by itself. Returns the one before."""
    before: type | None = knobs.cache.manager_class
    if manager is None:
        del knobs.cache.manager_class
    else:
        knobs.cache.manager_class = manager
    return before


def is_cache_bypassed() -> bool:
    """Say whether Triton compiles kernels also if its cache has them."""
    return bool(knobs.compilation.always_compile)


def is_cached(source: Any, target: GPUTarget, options: Mapping[str, Any]) -> bool:
    """Say whether Triton's cache has what it would compile this source to. Raises anything in an unknown Triton."""
    cache = import_module("triton.runtime.cache")
    backend = triton.compiler.make_backend(target)
    parsed = backend.parse_options({**options, **source.parse_options()})
    key = cache.get_cache_key(source, backend, parsed, env_vars=_invalidating_variables())
    name = f"{source.name[:150]}.json"
    return name in (cache.get_cache_manager(hashlib.sha256(key.encode()).hexdigest()).get_group(name) or {})


def entry_of(kernel: Any) -> str:
    """Return the name of a compiled kernel's folder in Triton's cache."""
    key: str = import_module("triton.runtime.cache")._base32(kernel.hash)
    return key


# What compiled kernels depend on besides their own sources.


def target_of(backend: str, arch: str) -> GPUTarget:
    """Return what Triton compiles for on such a device; `arch` is `sm_90`, or `gfx942`.

    Of AMD's, CDNA and the GCN before it (gfx9) have waves of 64 threads, the others of 32. Raises ValueError for
    another backend.
    """
    if backend == "cuda":
        return GPUTarget("cuda", int(arch.removeprefix("sm_")), 32)
    if backend == "hip":
        return GPUTarget("hip", arch, 64 if arch.startswith("gfx9") else 32)
    raise ValueError(f"expected the backend cuda or hip, got {backend!r}")


def compiler_facts(target: GPUTarget) -> dict[str, Any]:
    """Return what else the keys of Triton's cache depend on: its version, its build, the assembler, the environment."""
    return {
        "triton": TRITON,
        "build": _build(),
        "compiler": str(triton.compiler.make_backend(target).hash()),
        "environment": _invalidating_variables(),
    }


def _build() -> str:
    with suppress(Exception):  # an unknown Triton: its version has to do
        return hashlib.sha256(triton_key()().encode()).hexdigest()[:16]
    return ""


def _invalidating_variables() -> dict[str, str]:
    with suppress(Exception):  # an unknown Triton
        return dict(import_module("triton._C.libtriton").get_cache_invalidating_env_vars())
    return {}


# What a launch is compiled for, as text.


def describe_specialization(stack: Any, arguments: Sequence[Any], keywords: Mapping[str, Any]) -> str:
    """Return what Triton specialises on for such a launch: `x=*fp32 (16 bytes), n=i32, BLOCK=64; num_warps=4`."""
    jit = jit_of(stack)
    values = {**dict(zip(jit.arg_names, arguments, strict=False)), **keywords}
    try:
        for name, function in heuristics_of(stack):
            values[name] = function({**values, "grid": None, "warmup": False})
        signature, constants, attributes, options = specialize(jit, (), values, current_target())
    # Heuristics are the user's functions, and an unknown Triton may raise anything: names are better than nothing.
    except Exception as error:
        let_pass(error)
        return ", ".join(f"{name}={_short(value)}" for name, value in values.items())
    parts = []
    for place, (name, kind) in enumerate(signature.items()):
        text = _short(constants[(place,)]) if (place,) in constants else _short(kind)
        if any("divisibility" in str(attribute) for attribute in attributes.get((place,), ())):
            text += " (16 bytes)" if str(kind).startswith("*") else " (a multiple of 16)"
        parts.append(f"{name}={text}")
    chosen = ", ".join(f"{name}={options[name]}" for name in ("num_warps", "num_stages", "num_ctas") if name in options)
    return f"{', '.join(parts)}; {chosen}"


def _short(value: Any) -> str:
    name = getattr(getattr(value, "fn", value), "__qualname__", None)  # a function given as a constexpr
    return name or f"{getattr(value, 'dtype', value)!s:.80}"
