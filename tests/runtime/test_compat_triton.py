"""What a Triton without one of the names that we use does: the launch goes through the public interface."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import triton
from triton import knobs
from triton.runtime import driver

from tunedb.runtime import compat_triton


class FakeDriver:
    """A driver with one device and one stream."""

    def __init__(self, backend: str = "cuda") -> None:
        self.backend = backend

    def get_current_device(self) -> int:
        """The first device."""
        return 0

    def get_current_stream(self, index: int) -> int:
        """A stream that shows its device."""
        return 70 + index

    def get_current_target(self) -> Any:
        """Only what is read of a target."""
        return SimpleNamespace(backend=self.backend)


class Started:
    """A compiled kernel that notes how it is started."""

    function, packed_metadata = "function", "packed"

    def __init__(self) -> None:
        self.starts: list[tuple[Any, ...]] = []

    def run(self, *arguments: Any) -> None:
        """Note the arguments."""
        self.starts.append(arguments)

    def launch_metadata(self, grid: Any, stream: Any, *arguments: Any) -> Any:
        """Show what it is made of."""
        return grid, stream, arguments


@pytest.fixture(autouse=True)
def fake_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compat_triton, "driver", SimpleNamespace(active=FakeDriver()))


def test_a_repeated_launch_has_its_grid_and_numbers_fixed() -> None:
    kernel = Started()
    run = compat_triton.launch_repeater(kernel, (4, 2, 1), (9,))
    run("x", "y")
    assert kernel.starts == [(4, 2, 1, 70, "function", "packed", None, None, None, "x", "y", 9)]


def test_a_repeated_launch_calls_the_hooks_of_the_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = Started()
    run = compat_triton.launch_repeater(kernel, (4, 2, 1), (9,))

    def hook(metadata: Any) -> None:
        """A profiler's."""

    monkeypatch.setattr(knobs.runtime, "launch_enter_hook", hook)
    run("x")
    metadata = (4, 2, 1), 70, ("x", 9)
    leave = knobs.runtime.launch_exit_hook
    assert kernel.starts == [(4, 2, 1, 70, "function", "packed", metadata, hook, leave, "x", 9)]


def test_a_call_is_launched_with_any_grid() -> None:
    kernel = Started()
    run = compat_triton.call_launcher(kernel)
    assert run is not None
    run((4,), "x", 9)
    run((4, 3, 2), "x", 9)
    assert [start[:3] for start in kernel.starts] == [(4, 1, 1), (4, 3, 2)]
    assert {start[3:] for start in kernel.starts} == {(70, "function", "packed", None, None, None, "x", 9)}


def test_calls_go_through_triton_on_other_backends_and_with_unknown_hooks(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(compat_triton, "driver", SimpleNamespace(active=FakeDriver("hip")))
        assert compat_triton.call_launcher(Started()) is None
    monkeypatch.setattr(knobs.runtime, "launch_enter_hook", None)
    assert compat_triton.call_launcher(Started()) is None


@pytest.mark.parametrize(
    ("version", "scratch", "is_skipped"), [("3.6.0", 0, True), ("3.6.0", 8, False), ("3.8.0", 0, False)]
)
def test_triton_3_6s_python_in_front_of_a_launch_is_skipped_if_it_has_nothing_to_do(
    version: str, scratch: int, is_skipped: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    starts: list[str] = []
    start = lambda *_: starts.append("python")  # noqa: E731 - it gets attributes
    vars(start).update(
        launch=lambda *_: starts.append("C"), launch_cooperative_grid=False, launch_pdl=False,
        global_scratch_size=scratch, profile_scratch_size=0,
    )  # fmt: skip
    monkeypatch.setattr(triton, "__version__", version)
    kernel = SimpleNamespace(run=start, function="function", packed_metadata="packed")
    compat_triton.launch_repeater(kernel, (1, 1, 1), ())("x")
    assert starts == ["C" if is_skipped else "python"]


def test_a_kernel_of_other_parts_has_no_launcher() -> None:
    for make in (lambda kernel: compat_triton.launch_repeater(kernel, (1, 1, 1), ()), compat_triton.call_launcher):
        with pytest.raises(AttributeError):
            make(SimpleNamespace(run=print))
    with pytest.raises(AttributeError):
        compat_triton.globals_of(object())
    assert not compat_triton.load_handles(object())
    assert not compat_triton.is_loaded(object())
    compat_triton.make_device_cache(object())


def test_a_chain_of_hooks_that_was_replaced_is_never_the_current_one(monkeypatch: pytest.MonkeyPatch) -> None:
    assert compat_triton.launch_hooks("enter") is knobs.runtime.launch_enter_hook
    monkeypatch.setattr(knobs.runtime, "launch_enter_hook", None)
    assert compat_triton.launch_hooks("enter").calls == ()
    assert compat_triton.is_observed(SimpleNamespace(pre_run_hooks=[]))


def test_knobs_that_a_triton_lacks_count_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = SimpleNamespace(
        launch_enter_hook=SimpleNamespace(calls=[]), launch_exit_hook=SimpleNamespace(calls=[]), debug=False
    )
    monkeypatch.setattr(compat_triton, "runtime_knobs", runtime)
    monkeypatch.setattr(compat_triton, "compilation_knobs", SimpleNamespace(always_compile=False))
    monkeypatch.setattr(knobs, "autotuning", SimpleNamespace(print=True))
    assert not compat_triton.is_observed(SimpleNamespace(pre_run_hooks=[]))
    assert compat_triton.can_compile_elsewhere()
    assert compat_triton.tuning_listener() is None
    assert compat_triton.is_printing()


def test_a_triton_that_hashes_itself_elsewhere_is_left_to_do_so(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    modules = {"triton.compiler.compiler": SimpleNamespace(), "triton.runtime.cache": SimpleNamespace()}
    monkeypatch.setattr(compat_triton, "import_module", lambda name: asked.append(name) or modules[name])
    compat_triton.hash_triton()
    assert asked == list(modules)


def test_the_driver_is_asked_at_each_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compat_triton, "driver", driver)
    monkeypatch.setattr(driver, "_active", FakeDriver())
    assert compat_triton.current_device() == compat_triton.device_getter()() == 0
