"""What a worker loads before its first task is known: the modules of a task, its kernels, and a GPU's context."""

from __future__ import annotations

import logging
import threading

from tunedb._internal.control import let_pass
from tunedb.registry import kernel_named
from tunedb.worker.messages import Prepare


def prepare(message: Prepare) -> threading.Thread | None:
    """Load all that the message names. What fails fails again with the first task, which says so.

    The thread that is returned, if one is, still makes the context: the worker must not call itself ready before.
    """
    context = None
    if message.index is not None:
        # While modules are loaded here: the driver takes its time, and needs no lock of Python's.
        context = threading.Thread(target=_make_context, args=(message.index,), name="tunedb-context", daemon=True)
        context.start()
    logging.getLogger("tunedb").setLevel(logging.CRITICAL)  # until `Start`: the parent loads the same, and logs it
    import tunedb.store.sql.store
    import tunedb.sweep.run
    import tunedb.tuner.session  # noqa: F401 - it is needed soon

    for name in message.kernels:
        try:
            kernel_named(name).hash  # noqa: B018 - computed once, and kept by the kernel
        except Exception as error:  # a user's module may raise anything
            let_pass(error)
    return context


def _make_context(index: int) -> None:
    try:
        import torch

        torch.cuda.synchronize(index)
    except Exception as error:  # torch and the driver raise errors of their own
        let_pass(error)
