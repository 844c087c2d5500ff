"""Which of several sweeps answers."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.store.samples import ENVIRONMENT, NOON, failed, running, sweep
from tunedb.core.device import Environment
from tunedb.core.problem import Config
from tunedb.core.sweep import Mark, Sweep
from tunedb.store import has_failed, ranked, winner
from tunedb.store.ranking import RETRY_AFTER

OLDER = dataclasses.replace(ENVIRONMENT, triton="3.7.0")
HOUR, LATER = NOON + timedelta(hours=1), NOON + timedelta(days=1)


def winning(*sweeps: Sweep) -> Sweep | None:
    found = winner(sweeps, ENVIRONMENT)
    return None if found is None else found[0]


def test_nothing_answers_where_nothing_was_tuned() -> None:
    assert winner([], ENVIRONMENT) is None
    aborted = sweep(status="aborted", config=None, time_us=None)
    assert winner([failed(), running(sweep()), aborted], ENVIRONMENT) is None


def test_a_sweep_of_another_environment_answers_as_stale() -> None:
    stale = sweep(environment=OLDER)
    assert winner([stale], ENVIRONMENT) == (stale, "stale")
    assert winner([stale], OLDER) == (stale, "store")


def test_valid_comes_before_stale_even_if_cut_short_older_and_slower() -> None:
    valid, stale = sweep(complete=False, time_us=99.0), sweep(environment=OLDER, finished=LATER)
    assert winning(stale, valid) == valid


def test_complete_comes_before_cut_short_even_if_older_and_slower() -> None:
    complete, short = sweep(time_us=99.0), sweep(complete=False, finished=LATER)
    assert winning(short, complete) == complete


def test_the_newest_comes_first_whatever_the_times_say() -> None:
    fast, new = sweep(time_us=1.0), sweep(time_us=99.0, finished=LATER)
    assert winning(fast, new) == new


def test_the_uid_decides_between_equals() -> None:
    low, high = sweep(uid="0" * 32), sweep(uid="f" * 32)
    assert winning(low, high) == winning(high, low) == high


def test_a_config_outside_the_space_is_passed_over() -> None:
    unknown, known = sweep(config=Config.of(BLOCK=4096), finished=LATER), sweep(environment=OLDER)
    found = winner([unknown, known], ENVIRONMENT, lambda config: config["BLOCK"] < 4096)
    assert found == (known, "stale")
    assert winner([unknown], ENVIRONMENT, lambda config: False) is None


def test_what_has_expired_is_passed_over() -> None:
    expiring = sweep(expires=LATER)
    assert winner([expiring], ENVIRONMENT, None, NOON) == (expiring, "store")
    assert winner([expiring], ENVIRONMENT, None, LATER) is None


def test_without_an_environment_nothing_is_stale() -> None:
    old, new = sweep(environment=OLDER), sweep(finished=LATER)
    assert ranked([old, new], None) == [(new, "store"), (old, "store")]


def test_the_runners_up_follow_in_order() -> None:
    first, second, third = sweep(finished=LATER), sweep(complete=False), sweep(environment=OLDER)
    assert ranked([third, first, second], ENVIRONMENT) == [(first, "store"), (second, "store"), (third, "stale")]


@pytest.mark.parametrize(
    ("changes", "stands"),
    [
        ({}, True),
        ({"status": "aborted"}, True),  # by a fault of its host
        ({"expires": HOUR}, False),
        ({"expires": None}, False),
        ({"environment": OLDER}, False),
        ({"host": "node8"}, False),
        ({"origin": "imported"}, False),
        ({"marks": (Mark("quarantine", "x"),)}, False),
        ({"finished": HOUR + timedelta(seconds=1)}, False),  # a clock that was ahead
        ({"expires": datetime.max.replace(tzinfo=UTC)}, True),
        ({"expires": datetime.max.replace(tzinfo=UTC), "finished": HOUR - RETRY_AFTER}, False),
    ],
)
def test_a_failure_stands_in_the_way_until_it_expires_on_its_host_and_in_its_environment_only(
    changes: dict[str, Any], stands: bool
) -> None:
    assert has_failed([failed(**changes)], ENVIRONMENT, HOUR, "node7") is stands


@given(st.data())
def test_the_winner_does_not_depend_on_the_order_of_the_sweeps(data: st.DataObject) -> None:
    environments = st.sampled_from([ENVIRONMENT, OLDER])
    moments = st.sampled_from([NOON, LATER])
    one = st.builds(
        lambda complete, environment, finished, tuned: (
            sweep(complete=complete, environment=environment, finished=finished, trials=())
            if tuned
            else failed(environment=environment, finished=finished)
        ),
        st.booleans(),
        environments,
        moments,
        st.booleans(),
    )
    many = data.draw(st.lists(one, max_size=8))
    environment: Environment = data.draw(environments)
    assert ranked(data.draw(st.permutations(many)), environment) == ranked(many, environment)
