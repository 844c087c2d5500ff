"""Declarations of a registered kernel for the command line: the arguments of its problem, and a demonstration."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

# `shape` is a list of ints, written 64,128,65536; `value` is anything that JSON has, or else text.
ArgumentType = Literal["int", "float", "bool", "str", "shape", "value"]

NOTES = frozenset({"id", "note"})  # keys of a line of a shapes file that are for people, and no arguments

_SHORT_DTYPES = {
    "fp16": "float16", "half": "float16", "bf16": "bfloat16", "fp32": "float32", "float": "float32",
    "fp64": "float64", "double": "float64",
}  # fmt: skip


def dtype_name(text: str) -> str:
    """Return torch's name of a dtype that is written as `float16`, `torch.float16` or `fp16`; other text as it is."""
    name = text.removeprefix("torch.")
    return _SHORT_DTYPES.get(name, name)


@dataclass(frozen=True, slots=True)
class Argument:
    """An argument of a kernel's problem, as the command line offers it: `--kernel-size` for `kernel_size`."""

    name: str
    type: ArgumentType = "value"
    help: str = ""
    default: object = None  # shown in the help; the kernel fills it in
    metavar: str | None = None
    required: bool = False  # shown in the help; the kernel raises if it is missing


@dataclass(frozen=True, slots=True)
class Demo:
    """A kernel's part of `tunedb demo`.

    `arguments` makes the problem to tune, given the free bytes of the GPU, or None in Triton's interpreter. `program`
    is the source of a Python program that a user could have written. It is run in a second process with three
    arguments: the keywords for `tunedb.configure` and the problem's arguments, both as JSON, and torch's name of the
    device. The last line that it prints is a JSON object: `second_source` and `second_config` of the choice that it
    found, `equals_torch`, and on a GPU `call_us` and `torch_us`.
    """

    arguments: Callable[[int | None], Mapping[str, Any]]
    program: str
