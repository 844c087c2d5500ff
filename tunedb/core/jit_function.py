"""What a function under `triton.jit` keeps of itself. Reads attributes only, because core loads no Triton.

These names are private, or have changed between Triton's versions; each has a fallback.
"""

from __future__ import annotations

from types import FunctionType
from typing import Any


def is_jit(value: Any) -> bool:
    """Say whether this is a function under `triton.jit`, compiled or interpreted."""
    return hasattr(value, "add_pre_run_hook") and isinstance(getattr(value, "fn", None), FunctionType)


def compiled_text(jit: Any) -> str | None:
    """Return the text that Triton compiles; None in its interpreter, which reads the file."""
    text = getattr(jit, "src", None) or getattr(jit, "_src", None)
    return text if isinstance(text, str) else None


def options_of(jit: Any) -> dict[str, Any]:
    """Return the options of the decorator that change what is compiled."""
    options = getattr(jit, "kwargs", None)
    options = options if isinstance(options, dict) else vars(jit)
    names = ("version", "do_not_specialize", "do_not_specialize_on_alignment", "debug", "noinline")
    return {name: options[name] for name in names if options.get(name)}
