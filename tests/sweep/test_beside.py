"""A config that fails, or loses the device, while it is sampled beside another one, which is not to blame."""

from __future__ import annotations

from collections.abc import Callable

from tests.fakes import FakeClock, FakeKernel, config
from tests.sweep.test_trials import by_block, sweep
from tunedb.errors import StickyDeviceError, TrialError
from tunedb.sweep.observer import suspect_of


def test_a_device_that_is_lost_beside_a_config_is_not_held_against_it() -> None:
    class Losing(FakeClock):
        samples = 0

        def sample(self, launch: Callable[[], object], count: int) -> list[float]:
            taken = super().sample(launch, count)
            Losing.samples += count
            if Losing.samples > 10 and taken[0] == 100.0:  # the default, sampled beside the second config
                raise StickyDeviceError("CUDA error: an illegal memory access was encountered")
            return taken

    done = sweep(FakeKernel({1: 100.0, 2: 90.0, 4: 80.0}), clock=Losing)
    suspect = suspect_of(done)
    assert suspect is not None
    assert (done.status, suspect.config, [trial.config for trial in done.trials]) == (
        "aborted", config(1), [config(1)],
    )  # fmt: skip


def test_a_config_that_fails_beside_others_is_not_held_against_them() -> None:
    class Failing(FakeClock):
        samples = 0

        def sample(self, launch: Callable[[], object], count: int) -> list[float]:
            taken = super().sample(launch, count)
            Failing.samples += count
            if Failing.samples > 12 and taken[0] == 100.0:  # the default, sampled beside the others
                raise TrialError("runtime_error", "invalid argument")
            return taken

    done = sweep(FakeKernel({1: 100.0, 2: 90.0, 4: 80.0}), clock=Failing)
    assert {block: trial.status for block, trial in by_block(done).items()} == {1: "runtime_error", 2: "ok", 4: "ok"}
    assert by_block(done)[1].error == "In the race: invalid argument"
    assert (done.status, done.config, done.default_time_us) == ("tuned", config(4), None)
