"""Winners of sibling devices: tried early in a sweep, served behind what was measured here, never in strict modes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.fakes import ENVIRONMENT, FakeKernel, config
from tests.store.bundled import write
from tests.store.samples import NOON, sweep, trial
from tests.tuner.tuners import Time, tuner_on
from tunedb.core.device import INTERPRETER, Device, Placement
from tunedb.core.hint import Hint
from tunedb.core.sweep import Mark, MarkKind, Sweep
from tunedb.core.task import TuningTask
from tunedb.errors import MissError, StoreError
from tunedb.store import Store, open_store
from tunedb.store.bundles import BundleLayer
from tunedb.store.guarded import GuardedStore
from tunedb.store.layered import LayeredStore
from tunedb.store.local import LocalOpener
from tunedb.store.shared import SharedStore
from tunedb.tuner.choice_cache import ASK_AGAIN_AFTER_S, ChoiceCache
from tunedb.tuner.siblings import MAX_DEVICES, Nearness, Siblings, by_nearness, nearness

SPACE: dict[int, float | str] = {1: 9.0, 2: 8.0, 4: 7.0, 8: 5.0}
KERNEL = FakeKernel(SPACE)
TWIN = Device("a twin", "interpreter", "interpreter", 2)
COUSIN = Device("a cousin", "interpreter", "another", 1)
STRANGER = Device("NVIDIA L4", "cuda", "sm_89", 58)
H100, H200 = (Device(f"NVIDIA {name}", "cuda", "sm_90", 132) for name in ("H100", "H200"))
A100, L4 = Device("NVIDIA A100", "cuda", "sm_80", 108), STRANGER
B200, V100 = Device("NVIDIA B200", "cuda", "sm_100", 148), Device("Tesla V100", "cuda", "sm_70", 80)
MI300, MI250, RDNA3 = (
    Device(name, "hip", arch, count) for name, arch, count in
    (("MI300X", "gfx942", 304), ("MI250X", "gfx90a", 110), ("7900 XTX", "gfx1100", 96))
)  # fmt: skip


def won(block: int, device: Device = TWIN, n: int = 100, **changes: Any) -> Sweep:
    """A sweep of KERNEL on another device that `block` won."""
    values = {
        "problem": KERNEL.problem(n=n), "device": device, "kernel_hash": KERNEL.hash, "environment": ENVIRONMENT,
        "config": config(block), "trials": (trial(block, config=config(block)),),
    }  # fmt: skip
    return sweep(**{**values, **changes})


def served(store: Any, tmp_path: Path, n: int = 100, **about: Any) -> tuple[int, str]:
    """The config's BLOCK and the source of a call that, by default, may not tune."""
    choice = tuner_on(store, tmp_path, **{"mode": "read", **about}).choose(KERNEL, KERNEL.problem(n=n), -1)
    return choice.config["BLOCK"], choice.source


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """An empty store in a file."""
    with open_store(str(tmp_path / "tunedb.db")) as opened:
        yield opened


@pytest.mark.parametrize("about", [{"mode": "read"}, {"mode": "record"}, {"mode": "tune", "budget": 0}])
def test_the_winner_of_a_twin_serves_where_tuning_is_not_allowed(
    store: Store, tmp_path: Path, about: dict[str, Any]
) -> None:
    store.put_sweeps([won(4)])
    assert served(store, tmp_path, **about) == (4, "hint")
    choice = tuner_on(store, tmp_path).lookup.siblings.choice(TuningTask(KERNEL, KERNEL.problem(n=100), HERE))
    assert choice is not None
    assert choice.hint is not None
    assert choice.hint.place.startswith("a sweep on a twin (")


HERE = Placement(INTERPRETER, -1)


def test_it_is_never_served_in_the_strict_modes_or_when_off(store: Store, tmp_path: Path) -> None:
    store.put_sweeps([won(4)])
    for mode in ("strict", "strict-compile"):
        with pytest.raises(MissError):
            served(store, tmp_path, mode=mode)
    assert served(store, tmp_path, mode="off") == (1, "default")


@pytest.mark.parametrize(
    "other",
    [
        won(4, COUSIN), won(4, STRANGER), won(4, n=101), won(16), won(4, kernel_hash="cd" * 32),
        won(4, problem=KERNEL.problem(m=100)),
        won(4, config=None, status="failed", time_us=None, trials=()),
    ],
    ids=["another architecture", "another backend", "a near problem", "outside the space", "other code", "other facts",
         "failed"],
)  # fmt: skip
def test_nothing_else_serves(store: Store, tmp_path: Path, other: Sweep) -> None:
    store.put_sweeps([other])
    assert served(store, tmp_path) == (1, "default")


def test_what_was_measured_here_comes_first_then_the_twin_then_imported_hints(store: Store, tmp_path: Path) -> None:
    store.hints.put_all([Hint(KERNEL.problem(n=100), "interpreter", config(2), "json-configs", "x.json")])
    assert served(store, tmp_path) == (2, "hint")
    store.put_sweeps([won(4)])
    assert served(store, tmp_path) == (4, "hint")
    store.put_sweeps([won(8, INTERPRETER, n=101)])
    assert served(store, tmp_path) == (8, "nearest")
    store.put_sweeps([won(1, INTERPRETER)])
    assert served(store, tmp_path) == (1, "store")


def test_a_quarantined_one_and_one_that_was_wrong_here_are_passed_over(store: Store, tmp_path: Path) -> None:
    quarantined, wrong = won(4), won(2, device=Device("a second twin", "interpreter", "interpreter", 1))
    store.put_sweeps([quarantined, wrong])
    assert served(store, tmp_path) == (2, "hint")  # the nearer of both, by its multiprocessors
    of_here = FakeKernel({1: 9.0, 2: "wrong", 4: 7.0, 8: 5.0})
    tuner_on(store, tmp_path).choose(of_here, of_here.problem(n=100), -1)
    task = TuningTask(KERNEL, KERNEL.problem(n=100), HERE)
    choice = tuner_on(store, tmp_path).lookup.siblings.choice(task)
    assert choice is not None
    assert choice.config == config(4)
    store.marks.put(quarantined.uid, Mark.after((), MarkKind.QUARANTINE, "slow"))
    assert tuner_on(store, tmp_path).lookup.siblings.choice(task) is None


def test_a_sweep_tries_them_right_after_the_default_the_same_problem_and_the_nearest_device_first(
    store: Store, tmp_path: Path
) -> None:
    store.put_sweeps([won(2, n=101), won(4, COUSIN), won(8)])
    kernel = FakeKernel({1: 9.0, 16: 6.0, 2: 8.0, 4: 7.0, 8: 5.0})
    tuner_on(store, tmp_path).choose(kernel, kernel.problem(n=100), -1)
    assert kernel.tried[:4] == [1, 8, 4, 2]


def test_they_are_no_evidence_and_lose_if_they_are_slower_here(store: Store, tmp_path: Path) -> None:
    store.put_sweeps([won(1)])
    kernel = FakeKernel({4: 5.0, 1: 9.0})
    assert tuner_on(store, tmp_path).choose(kernel, kernel.problem(n=100), -1).config == config(4)


def test_they_come_from_local_shared_and_bundles(store: Store, tmp_path: Path) -> None:
    bundles = BundleLayer([str(write(tmp_path / "b.db", [won(8)]))], list)
    local = GuardedStore("none.db", LocalOpener(str(tmp_path / "none.db"), busy_timeout=1.0, writable=False))
    assert served(LayeredStore(local, bundles=bundles), tmp_path) == (8, "hint")
    store.put_sweeps([won(4)])
    shared = SharedStore("shared", lambda: open_store(str(tmp_path / "tunedb.db"), create=False), writable=False)
    assert served(LayeredStore(local, shared), tmp_path) == (4, "hint")
    assert LayeredStore(store, shared, bundles).get_devices(KERNEL.hash) == [TWIN]
    shared.close()


def test_they_are_read_again_after_a_while_and_not_for_each_miss(store: Store, tmp_path: Path) -> None:
    time, asked = Time(), []
    tuner = tuner_on(store, tmp_path, mode="record", time=time)

    def ask(kernel_hash: str, _: Callable[[str], list[Device]] = store.get_devices) -> list[Device]:
        asked.append(kernel_hash)
        return _(kernel_hash)

    store.get_devices = ask  # type: ignore[method-assign]
    for n in (100, 200, 300):
        assert tuner.choose(KERNEL, KERNEL.problem(n=n), -1).source == "default"
    assert len(asked) == 1
    store.put_sweeps([won(4)])
    time.seconds += ASK_AGAIN_AFTER_S + 1
    assert tuner.refresh() == 1
    assert tuner.choose(KERNEL, KERNEL.problem(n=100), -1).source == "hint"
    tuner.close()


@pytest.mark.parametrize("known", [[], [won(8, n=7)], [won(2)], [won(8, COUSIN)]],
                         ids=["no device", "another problem", "the problem", "another device"])  # fmt: skip
def test_a_twin_s_winner_that_reaches_the_shared_store_later_is_seen(
    store: Store, tmp_path: Path, known: list[Sweep], patience: None
) -> None:
    url, time = str(tmp_path / "shared.db"), Time()
    with open_store(url) as opened:
        opened.put_sweeps(known)
    shared = SharedStore(url, lambda: open_store(url), deadline=60.0, monotonic=time)
    tuner = tuner_on(LayeredStore(store, shared), tmp_path, time=time, mode="record")
    problem = KERNEL.problem(n=100)
    before = tuner.choose(KERNEL, problem, -1)
    assert before.config == config(2 if won(2).problem in [one.problem for one in known if one.device == TWIN] else 1)
    with open_store(url) as opened:
        opened.put_sweeps([won(4, finished=NOON + timedelta(days=1), uid="f" * 32)])
    assert tuner.refresh() == 0  # too early
    time.seconds += ASK_AGAIN_AFTER_S + 1
    assert tuner.refresh() == 1
    after = tuner.choose(KERNEL, problem, -1)
    assert (after.config, after.source) == (config(4), "hint")
    tuner.close()
    shared.close()


def test_a_failing_store_gives_the_default_and_a_failing_kernel_is_swept_without_them(
    tmp_path: Path, store: Store, records: pytest.LogCaptureFixture
) -> None:
    def away() -> Store:
        raise StoreError("it is away")

    assert served(GuardedStore("x.db", away), tmp_path) == (1, "default")  # type: ignore[arg-type]

    class Failing(FakeKernel):
        """A kernel that fails on near problems of other devices."""

        def is_alike(self, problem: Any, other: Any) -> bool:
            """Fail."""
            raise KeyError("m")

    store.put_sweeps([won(4, n=101)])
    kernel = Failing(SPACE)
    assert tuner_on(store, tmp_path).choose(kernel, kernel.problem(n=100), -1).source == "sweep"
    assert "winners of other devices can't be used (KeyError" in records.text


@pytest.mark.parametrize(
    ("about", "block"),
    [({}, None), ({"within": Nearness.BACKEND}, 4), ({"max_distance": 1.0}, 8),
     ({"within": Nearness.MAJOR, "max_distance": 0.001}, None)],
)  # fmt: skip
def test_how_far_they_may_serve_is_two_numbers(store: Store, about: dict[str, Any], block: int | None) -> None:
    store.put_sweeps([won(4, COUSIN), won(8, n=101)])
    cache = ChoiceCache(lambda: 0, Time(), lambda: None)
    found = Siblings(store, cache, lambda _: ENVIRONMENT, Time(), **about)
    choice = found.choice(TuningTask(KERNEL, KERNEL.problem(n=100), HERE))
    assert (None if choice is None else choice.config["BLOCK"]) == block


def test_architectures_are_near_by_name_then_by_major_version() -> None:
    assert nearness(H100, H200) == Nearness.ARCH
    assert nearness(L4, A100) == Nearness.MAJOR
    assert nearness(H100, A100) == nearness(B200, H100) == Nearness.BACKEND
    assert nearness(MI300, MI250) == Nearness.MAJOR
    assert nearness(MI300, RDNA3) == Nearness.BACKEND
    assert nearness(H100, MI300) is None
    assert nearness(H100, H100) is None
    assert nearness(INTERPRETER, TWIN) == Nearness.ARCH


def test_the_nearest_device_comes_first() -> None:
    cards = [V100, B200, H200, A100, L4, MI300, H100]
    assert [device.name for _, device in by_nearness(H100, cards)] == [
        "NVIDIA H200", "NVIDIA B200", "NVIDIA A100", "NVIDIA L4", "Tesla V100",
    ]  # fmt: skip
    many = [Device(f"twin {number}", "interpreter", "interpreter", number) for number in range(2, 9)]
    assert len(many) > MAX_DEVICES
    assert [device.multiprocessors for _, device in by_nearness(INTERPRETER, many)][:2] == [2, 3]
