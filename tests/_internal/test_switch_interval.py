"""The switch interval: short inside a context, restored behind it, and left alone if the user says so."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

import pytest

import tunedb
from tunedb._internal.switch_interval import short_switch_interval


@pytest.fixture(autouse=True)
def five_milliseconds() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(0.005)
    yield
    sys.setswitchinterval(before)


def test_it_is_short_inside_and_restored_by_the_last_one_to_leave() -> None:
    with short_switch_interval:
        with short_switch_interval:
            assert sys.getswitchinterval() == pytest.approx(1e-5)
        assert sys.getswitchinterval() == pytest.approx(1e-5)
    assert sys.getswitchinterval() == pytest.approx(0.005)


def test_a_user_can_keep_pythons_own_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    with tunedb.using(switch_interval=0), short_switch_interval:
        assert sys.getswitchinterval() == pytest.approx(0.005)
        sys.setswitchinterval(0.002)  # by the user, meanwhile
    assert sys.getswitchinterval() == pytest.approx(0.002)
    monkeypatch.setenv("TUNEDB_SWITCH_INTERVAL", "0.001")
    tunedb.configure()
    with short_switch_interval:
        assert sys.getswitchinterval() == pytest.approx(0.001)


def test_a_forked_child_has_pythons_own_interval_again() -> None:
    with short_switch_interval:
        child = os.fork()
        if child == 0:
            os._exit(0 if sys.getswitchinterval() == pytest.approx(0.005) else 1)
        assert os.waitpid(child, 0)[1] == 0
