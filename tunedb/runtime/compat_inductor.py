"""Inductor's private names: compiled code that calls a function in place of a registered op.

Nothing here loads Inductor. In one that lacks a name, the op stays what it is: code that calls it through torch's
dispatcher.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Mapping
from typing import Any

from tunedb._internal.control import let_pass

_log = logging.getLogger("tunedb")
_lowered: set[Any] = set()


def lower_to_calls(functions: Mapping[Any, str]) -> None:
    """Have Inductor, if it is loaded, compile each of these ops to a call of the function of that name.

    An op takes a tensor and numbers, and returns a new tensor. Its function is called with `memory`, a tensor that
    begins where the op's does, with `form`, which is the shape, strides, dtype's name and device's index of the op's
    tensor and then the numbers, and with the result as `out`. So generated code makes no view for the call.

    Inductor allocates the result with all others. The name is what generated code can say without an import, and is
    kept on disk with it.
    """
    lowering = sys.modules.get("torch._inductor.lowering")
    if lowering is None or _lowered.issuperset(functions):
        return
    try:
        for op, name in functions.items():
            lowering.register_lowering(op, type_promotion_kind=None)(_lowering_of(op, name))
    # An Inductor that is being imported, or an unknown one, may raise anything: the op then stays what it is.
    except Exception as error:
        let_pass(error)
        _log.debug("Inductor calls %s through the dispatcher (%s: %s).", op, type(error).__name__, str(error))
        return
    _lowered.update(functions)


def _lowering_of(op: Any, name: str) -> Callable[..., Any]:
    """Return what makes Inductor's node of one call of the op."""
    from torch._inductor import ir, lowering
    from torch._inductor.virtualized import V

    through_dispatcher = lowering.fallback_handler(op, add_to_fallback_set=False)

    def lower(tensor: Any, *numbers: Any) -> Any:
        if V.graph.cpp_wrapper or V.graph.fx_wrapper:
            return through_dispatcher(tensor, *numbers)
        try:
            return ir.TensorBox.create(_call_node(V.graph.current_node, tensor, numbers, name))
        except Exception as error:  # an unknown Inductor
            let_pass(error)
            _log.debug("Inductor calls %s through the dispatcher (%s: %s).", op, type(error).__name__, str(error))
            return through_dispatcher(tensor, *numbers)

    return lower


def _call_node(node: Any, tensor: Any, numbers: tuple[Any, ...], name: str) -> Any:
    """Return Inductor's node of a call of the function of that name, for the op's node of the graph."""
    from torch._inductor import ir

    read, made = node.args[0].meta["val"], node.meta["val"]
    # As Inductor does for an op without a lowering: the result then has the strides that were traced.
    view = ir.ExternKernel.realize_input(ir.ExternKernel.require_exact_strides(tensor, read.stride()))
    device = -1 if read.device.index is None else read.device.index
    form = (tuple(view.get_size()), tuple(view.get_stride()), str(read.dtype).removeprefix("torch."), device, *numbers)
    if isinstance(view, ir.ReinterpretView) and view.layout.offset == 0 and view.data.get_dtype() == read.dtype:
        view = view.data
    layout = ir.FallbackKernel.tensor_to_layout(made)
    return ir.ExternKernelOut(layout, [view], (form,), python_kernel_name=name)
