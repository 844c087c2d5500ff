"""What the command line learns of a decorated kernel from the parameters of its `arguments` function."""

from __future__ import annotations

import inspect
from typing import Any

import torch

from tunedb.core.declaration import Argument
from tunedb.decorator.declared_arguments import declared


def make(device: Any, columns, rows: int = 4096, scale: float = 1.0, causal=False, x_dtype=torch.float16):  # type: ignore[no-untyped-def]  # as users write it
    """A function as users write it, its annotations kept as text."""


def test_types_come_from_annotations_and_defaults() -> None:
    columns, *others = declared(list(inspect.signature(make).parameters.values())[1:])
    assert (columns.name, columns.type, columns.required) == ("columns", "value", True)
    assert "does not declare its type" in columns.help
    assert others[:3] == [
        Argument("rows", "int", default=4096),
        Argument("scale", "float", default=1.0),
        Argument("causal", "bool", default=False),
    ]
    assert (others[3].type, others[3].default, others[3].metavar) == ("str", "float16", "DTYPE")
