"""A config that fails after its first check is out, and the others are as if it had never been there."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.fakes import FakeClock, FakeKernel, FakeWorkload, config
from tests.sweep.test_trials import by_block, sweep
from tunedb.core.problem import Config
from tunedb.errors import TrialError


@pytest.fixture
def wrong_the_second_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """BLOCK=2 is right once."""
    checks: list[int] = []

    def check(self: FakeWorkload, one: Config) -> str | None:
        checks.append(one["BLOCK"])
        return "a race" if one["BLOCK"] == 2 and checks.count(2) > 1 else None

    monkeypatch.setattr(FakeWorkload, "check", check)


@pytest.mark.usefixtures("wrong_the_second_time")
def test_a_config_that_is_right_now_and_then_does_not_win() -> None:
    done = sweep(FakeKernel({1: 100.0, 2: 50.0, 4: 60.0, 8: 50.0}, binaries={2: "same", 8: "same"}))
    assert (done.config, by_block(done)[2].status, by_block(done)[8].status) == (config(4), "wrong", "wrong")
    assert by_block(done)[2].error == "Right at first, and then: a race"
    assert done.time_us == pytest.approx(60)
    assert done.default_time_us == pytest.approx(100)


@pytest.mark.usefixtures("wrong_the_second_time")
@pytest.mark.parametrize("wrong", [60.0, 30.0, 5.0])
def test_what_was_far_behind_it_races_then(wrong: float) -> None:
    done = sweep(FakeKernel({1: 100.0, 2: wrong, 4: 80.0, 8: 85.0, 16: 200.0}))
    assert (done.config, by_block(done)[2].status) == (config(4), "wrong")
    assert [block for block, trial in by_block(done).items() if trial.samples > 10] == [1, 4, 8]  # raced


class Failing(FakeClock):
    """Launches that take 5 us fail from the race on."""

    launches = 0
    on_failure = staticmethod(lambda: None)

    def sample(self, launch: Callable[[], object], count: int) -> list[float]:
        if launch() == 5.0:
            self.launches += count
            if self.launches > 20:  # screening takes fewer
                self.on_failure()
                raise TrialError("runtime_error", "it fails now")
        return super().sample(launch, count)


@pytest.mark.parametrize(
    ("times", "raced"), [({1: 100.0, 2: 5.0, 4: 80.0, 8: 85.0, 16: 200.0}, [1, 4, 8]), ({2: 5.0, 4: 80.0}, [4])]
)
def test_what_was_far_behind_one_that_fails_in_the_race_races_then(times: dict[int, float], raced: list[int]) -> None:
    done = sweep(FakeKernel(times), clock=Failing)
    assert (done.status, done.complete, done.config) == ("tuned", True, config(4))
    assert (by_block(done)[2].status, by_block(done)[2].error) == ("runtime_error", "In the race: it fails now")
    assert [block for block, trial in by_block(done).items() if trial.samples > 10] == raced


def test_where_time_is_spent_by_then_the_best_of_the_race_wins_and_the_sweep_is_cut_short() -> None:
    seconds = [0.0]

    class Late(Failing):
        on_failure = staticmethod(lambda: seconds.append(100.0))

    kernel = FakeKernel({1: 100.0, 2: 5.0, 4: 80.0})
    done = sweep(kernel, clock=Late, budget=10.0, monotonic=lambda: seconds[-1])
    assert (done.status, done.complete, done.config) == ("tuned", False, config(1))
