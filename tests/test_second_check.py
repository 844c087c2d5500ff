"""A winner that is found wrong at its second check is out, and the others are as if it had never been there."""

from __future__ import annotations

import pytest

from tests.fakes import FakeKernel, FakeWorkload, config
from tests.test_attempt import by_block, sweep
from tunedb.problem import Config


@pytest.fixture(autouse=True)
def wrong_the_second_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """BLOCK=2 is right once."""
    checks: list[int] = []

    def check(self: FakeWorkload, one: Config) -> str | None:
        checks.append(one["BLOCK"])
        return "a race" if one["BLOCK"] == 2 and checks.count(2) > 1 else None

    monkeypatch.setattr(FakeWorkload, "check", check)


def test_a_config_that_is_right_now_and_then_does_not_win() -> None:
    done = sweep(FakeKernel({1: 100.0, 2: 50.0, 4: 60.0, 8: 50.0}, binaries={2: "same", 8: "same"}))
    assert (done.config, by_block(done)[2].status, by_block(done)[8].status) == (config(4), "wrong", "wrong")
    assert by_block(done)[2].error == "Right at first, and then: a race"
    assert done.time_us == pytest.approx(60)
    assert done.default_time_us == pytest.approx(100)


@pytest.mark.parametrize("wrong", [60.0, 30.0, 5.0])
def test_what_was_far_behind_it_races_then(wrong: float) -> None:
    done = sweep(FakeKernel({1: 100.0, 2: wrong, 4: 80.0, 8: 85.0, 16: 200.0}))
    assert (done.config, by_block(done)[2].status) == (config(4), "wrong")
    assert [block for block, trial in by_block(done).items() if trial.samples > 10] == [1, 4, 8]  # raced
