"""Kernels of Triton's to adopt, on a GPU that is not there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import triton

import tunedb
from tests.decorator.kernels import add_one, configs, grid_of
from tests.decorator.stub import once
from tunedb.adoption.listing import Adopted


def plain(blocks: Sequence[int] = (16, 64), decorate: Any = None, jit: Any = add_one, **given: Any) -> Any:
    """A kernel of Triton's."""
    given = {"configs": configs(*blocks), "key": ["n"], "do_bench": once, **given}
    return (decorate or triton.autotune)(**given)(jit)


def call(kernel: Any, n: int = 100) -> None:
    """One launch."""
    kernel[grid_of(n)](torch.zeros(n), torch.zeros(n), n)


def record_of(kernel: Any) -> Adopted:
    """What the list says of a kernel around `add_one`, of which there is only one."""
    (record,) = (record for record in tunedb.adopted() if record.kernel == "tests.decorator.kernels.add_one")
    return record
