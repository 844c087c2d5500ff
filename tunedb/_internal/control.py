"""Exceptions that the program raises itself while tunedb works for it: they pass every `except`, and blame nothing.

A signal handler may raise at any moment of a call: a time limit, a SIGTERM that is turned into an exception. What it
raises may have any class, so that it looks like an error of a config or of the store. It is recognised by its
traceback, which holds a frame of the handler.
"""

from __future__ import annotations

import functools
import itertools
import signal
import sys
from collections.abc import Iterator
from types import CodeType, FrameType
from typing import Any

_SIGNALS = frozenset(map(int, signal.valid_signals()))
_HAS_ANY_NUMBER, _HAS_ANY_NAME = 0x04, 0x08  # flags of code (see `inspect`): *args and **kwargs


def programs_own(error: BaseException) -> BaseException | None:
    """Return the exception that the program raised itself: `error`, or one that it stands for; None if there is none.

    The program's own are those that left a signal handler, and those that are no Exception: KeyboardInterrupt,
    SystemExit, GeneratorExit. Exceptions that were handled before the current work began do not count, though Python
    notes them as the context of each later one.
    """
    found = _find(error, _handlers(), set())
    return None if found is None else found[0]


def left_a_signal_handler(error: BaseException) -> bool:
    """Say whether a signal handler raised the error."""
    return _handler_left(error, _handlers()) is not None


def _find(
    error: BaseException, handlers: set[CodeType], seen: set[int]
) -> tuple[BaseException, FrameType | None] | None:
    """Return the program's own exception, and the frame of the handler that it left."""
    if not isinstance(error, Exception):
        return error, None
    seen.add(id(error))
    left = _handler_left(error, handlers)
    for behind in _behind(error):
        found = None if id(behind) in seen else _find(behind, handlers, seen)
        # Some wrappers take the traceback of what they wrap, the handler's frame with it.
        if found is not None and left in (None, found[1]):
            return found
    return None if left is None else (error, left)


def _behind(error: BaseException) -> Iterator[BaseException]:
    """Yield what the error was raised because of."""
    if error.__cause__ is not None and not _ended_a_wait(error.__cause__, error):
        yield error.__cause__
    context = error.__context__
    if context is not None and _was_caught_on_the_way_of(error, context) and not _ended_a_wait(context, error):
        yield context


def _ended_a_wait(cause: BaseException, error: BaseException) -> bool:
    """Say whether asyncio cancelled its own wait, because the time was up, and made this error of it."""
    asyncio = sys.modules.get("asyncio")  # if it is not loaded, nobody waits
    return asyncio is not None and isinstance(error, TimeoutError) and isinstance(cause, asyncio.CancelledError)


def let_pass(error: BaseException) -> None:
    """Raise what the program itself raised, if that is what an `except` has caught. Begins each broad one of a call."""
    own = programs_own(error)
    if own is None:
        return
    context = own.__context__
    try:
        raise own
    finally:
        own.__context__ = context  # not `error`: that would be a circle
        del own, error  # the traceback holds this frame


def chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and those behind it, each once: one that is raised again can stand in a circle."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


class suppress:  # noqa: N801 - reads as `contextlib.suppress` does
    """A context that suppresses exceptions of these kinds, unless the program itself raised them."""

    def __init__(self, *kinds: type[Exception]) -> None:
        self._kinds = kinds

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> bool:
        if not isinstance(error, self._kinds):
            return False
        let_pass(error)
        return True


def _handlers() -> set[CodeType]:
    """Return the code of the signal handlers that are set now."""
    codes = set()
    for number in _SIGNALS:
        handler: Any = signal.getsignal(number)
        while isinstance(handler, functools.partial):
            handler = handler.func
        if callable(handler) and not hasattr(handler, "__code__"):  # a method has its function's
            handler = type(handler).__call__
        code = getattr(handler, "__code__", None)
        if code is not None:
            codes.add(code)
    return codes


def _handler_left(error: BaseException, handlers: set[CodeType]) -> FrameType | None:
    """Return the frame of the signal handler that the error left; None if there is none.

    A handler may have set another one meanwhile. Then it is known by its arguments: a signal, and the frame that was
    interrupted, which called it.
    """
    for caller, frame in itertools.pairwise(_frames(error)):
        if frame.f_code in handlers or _got_signal_and_frame(frame, caller):
            return frame
    return None


def _got_signal_and_frame(frame: FrameType, caller: FrameType) -> bool:
    code = frame.f_code
    if code.co_argcount < 2 and not code.co_flags & _HAS_ANY_NUMBER:
        return False
    rest = bool(code.co_flags & _HAS_ANY_NUMBER)
    names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount + rest]
    arguments: list[object] = []
    for name in names:
        value = frame.f_locals.get(name)
        arguments += value if rest and name == names[-1] and isinstance(value, tuple) else [value]
    is_called_with_caller = any(value is caller for value in arguments)
    return is_called_with_caller and any(isinstance(value, int) and value in _SIGNALS for value in arguments)


def _was_caught_on_the_way_of(error: BaseException, context: BaseException) -> bool:
    """Say whether the context was caught in a frame that the error left: then one was raised because of the other.

    If the context is being handled farther out, by a program that calls a kernel in its `except`, it is not a cause.
    """
    caught_in = context.__traceback__
    return caught_in is not None and any(frame is caught_in.tb_frame for frame in _frames(error))


def _frames(error: BaseException) -> Iterator[FrameType]:
    """Yield the frames of an error's traceback: the one that caught it first, the one that raised it last."""
    trace = error.__traceback__
    while trace is not None:
        yield trace.tb_frame
        trace = trace.tb_next
