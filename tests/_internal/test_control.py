"""What a program raises in a signal handler is distinguished from the errors of what the handler interrupted."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import signal
from collections.abc import Callable, Iterator
from types import FrameType

import pytest

from tunedb._internal.control import chain, let_pass, programs_own, suppress
from tunedb.errors import CallerError, HostFaultError
from tunedb.runtime.failures import typed_errors


class Terminated(Exception):
    """What a program makes of SIGTERM."""


def terminate(number: int, frame: FrameType | None) -> None:
    raise Terminated


def terminate_once(number: int, frame: FrameType | None) -> None:
    signal.signal(number, signal.SIG_DFL)
    raise Terminated


def terminate_with_any(*arguments: object) -> None:
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    raise Terminated


def terminate_deep(number: int, frame: FrameType | None) -> None:
    terminate_deeper()


def terminate_deeper() -> None:
    raise Terminated from ValueError("the program's own cause")


class Program:
    """A program whose handlers are methods, and which is one itself."""

    def stop(self, number: int, frame: FrameType | None) -> None:
        raise Terminated

    def __call__(self, number: int, frame: FrameType | None) -> None:
        raise Terminated


@contextlib.contextmanager
def handling(handler: Callable[..., object]) -> Iterator[None]:
    before = signal.signal(signal.SIGUSR1, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGUSR1, before)


def interrupted() -> None:
    signal.raise_signal(signal.SIGUSR1)


HANDLERS = [
    terminate, terminate_once, terminate_with_any, terminate_deep, Program().stop, Program(),
    functools.partial(terminate), lambda number, frame: terminate_deeper(),
]  # fmt: skip


@pytest.mark.parametrize("handler", HANDLERS)
def test_what_a_handler_raises_is_the_programs_own(handler: Callable[..., object]) -> None:
    with handling(handler), pytest.raises(Terminated) as caught:
        interrupted()
    assert programs_own(caught.value) is caught.value
    with pytest.raises(Terminated) as again:
        let_pass(caught.value)
    assert again.value.__context__ is (caught.value.__cause__ and None)


def wrapped_by_cause() -> None:
    try:
        interrupted()
    except Exception as error:
        raise RuntimeError("in a kernel") from error


def wrapped_by_context() -> None:
    try:
        interrupted()
    # As broad as in the libraries that this stands for, which hide what they caught.
    except Exception:
        raise RuntimeError("while another was handled") from None


def wrapped_with_its_traceback() -> None:
    """As SQLAlchemy does."""
    try:
        interrupted()
    except Exception as error:
        raise RuntimeError("in a kernel").with_traceback(error.__traceback__) from error


class Wrapping:
    """A context that raises another error instead of any."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException, trace: object) -> None:
        raise CallerError(ValueError("of a kernel"))


def wrapped_by_context_manager() -> None:
    with Wrapping():
        interrupted()


@pytest.mark.parametrize(
    "wrap", [wrapped_by_cause, wrapped_by_context, wrapped_with_its_traceback, wrapped_by_context_manager]
)
@pytest.mark.parametrize("handler", HANDLERS)
def test_it_is_found_behind_what_wraps_it_and_raised_itself(
    handler: Callable[..., object], wrap: Callable[[], None]
) -> None:
    with handling(handler), pytest.raises(Exception, match=r"kernel|handled") as caught:
        wrap()
    assert not isinstance(caught.value, Terminated)
    assert isinstance(programs_own(caught.value), Terminated)
    with pytest.raises(Terminated):
        let_pass(caught.value)


def chained(kind: type[BaseException]) -> None:
    try:
        raise kind
    except BaseException as error:
        raise RuntimeError("in a kernel") from error


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_what_is_no_exception_is_the_programs_own_behind_a_wrapper_too(kind: type[BaseException]) -> None:
    with pytest.raises(RuntimeError) as caught:
        chained(kind)
    assert type(programs_own(caught.value)) is kind
    with pytest.raises(kind):
        let_pass(caught.value)


def out_of_time() -> None:
    """As Dask's client does while nothing answers."""
    try:
        asyncio.run(asyncio.wait_for(asyncio.sleep(60), 0.01))
    except TimeoutError as error:
        raise OSError("no answer") from error


def test_a_wait_that_asyncio_cancelled_as_its_time_was_up_is_an_error() -> None:
    with pytest.raises(OSError, match="no answer") as caught:
        out_of_time()
    assert any(isinstance(error, asyncio.CancelledError) for error in chain(caught.value))
    assert programs_own(caught.value) is None
    let_pass(caught.value)


def test_a_task_that_the_program_cancelled_is_its_own() -> None:
    with pytest.raises(RuntimeError) as caught:
        chained(asyncio.CancelledError)
    with pytest.raises(asyncio.CancelledError):
        let_pass(caught.value)


def failing() -> None:
    try:
        raise KeyError("one")
    except KeyError:
        raise OSError("two")  # noqa: B904 - a context, and no cause


def test_other_errors_are_not_the_programs_own() -> None:
    with handling(terminate), pytest.raises(OSError, match="two") as caught:
        failing()
    assert programs_own(caught.value) is None
    let_pass(caught.value)


def in_a_handling_block() -> list[BaseException | None]:
    """Return an error, its context, and what is made of it, of a call that a program makes after its time limit."""
    try:
        interrupted()
    except Terminated:
        try:
            failing()
        except OSError as error:
            context = error.__context__
            return [error, context, context and context.__context__, programs_own(error)]
    return []


def test_an_error_in_a_block_that_handles_the_programs_exception_is_an_error() -> None:
    with handling(terminate):
        _, _, farthest, own = in_a_handling_block()
    assert isinstance(farthest, Terminated)  # Python notes it as the context of all that is raised meanwhile
    assert own is None


def test_a_config_is_not_blamed_for_it() -> None:
    with handling(terminate), pytest.raises(Terminated), typed_errors():
        interrupted()
    with handling(terminate), pytest.raises(Terminated), typed_errors():
        wrapped_by_cause()
    with pytest.raises(HostFaultError), typed_errors():
        failing()


class TerminatedAgain(Exception):
    """What a second signal brings."""


def terminate_again(number: int, frame: FrameType | None) -> None:
    raise TerminatedAgain


def interrupted_twice() -> None:
    try:
        with handling(terminate):
            interrupted()
    finally:
        with handling(terminate_again):
            interrupted()


def test_of_two_it_is_the_later_one() -> None:
    with pytest.raises(TerminatedAgain) as caught:
        interrupted_twice()
    assert isinstance(caught.value.__context__, Terminated)
    assert programs_own(caught.value) is caught.value


def test_a_suppressed_kind_lets_it_pass() -> None:
    def late(number: int, frame: FrameType | None) -> None:
        raise TimeoutError

    with suppress(OSError):
        failing()
    with handling(late), pytest.raises(TimeoutError), suppress(OSError):
        interrupted()
    with pytest.raises(ValueError, match="another"), suppress(OSError):
        raise ValueError("another")


def test_a_circle_of_errors_has_an_end() -> None:
    first, second = ValueError("first"), OSError("second")
    first.__cause__, second.__context__ = second, first
    assert list(chain(first)) == [first, second]
    assert programs_own(first) is None
