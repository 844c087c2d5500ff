"""Frames of torch, which reads and makes kernels while it compiles code."""

from __future__ import annotations

TYPE_CHECKING = False  # not typing's: a program that adopts before it imports Triton would wait for it
if TYPE_CHECKING:
    from typing import Any

COMPILED = "_tunedb_compiled"  # the key of a mark in a kernel's `__dict__`: torch made it, for compiled code

_COMPILERS = ("torch._higher_order_ops.", "torch._dynamo.", "torch._inductor.")


def is_read_by_name(name: str, frame: Any) -> bool:
    """Say whether the code in a frame names the attribute that it reads, and is not torch's.

    Torch also reads attributes by expressions, which it evaluates in the scope of what it compiles.
    """
    code = frame.f_code
    is_evaluated = code.co_filename == "<string>" and frame.f_back is not None
    reader = frame.f_back if is_evaluated else frame
    return _package(reader) != "torch" and (name in code.co_names or name in code.co_consts)


def is_made_by_torch(frame: Any) -> bool:
    """Say whether code that compiles has called, through Triton's decorator, the constructor in a frame."""
    while _package(frame) == "triton":
        frame = frame.f_back
    return _module(frame).startswith(_COMPILERS)


def _module(frame: Any) -> str:
    return "" if frame is None else str(frame.f_globals.get("__name__"))


def _package(frame: Any) -> str:
    return _module(frame).partition(".")[0]
