"""What a store believes of a sweep: its end by the clock here, its winner by its own trials and by those made here."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import shutil
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.store.assets import make
from tests.store.samples import DEVICE, ENVIRONMENT, HASH, NOON, running, sweep, trial
from tests.store.test_jsonl import text_of
from tunedb.core.device import Environment
from tunedb.core.problem import Config, Problem
from tunedb.core.sweep import Mark, MarkKind, Sweep, TrialOutcome
from tunedb.errors import ImportRejected
from tunedb.store import Store, load, open_store, ranked, receive, upgrade, winner
from tunedb.store.sql.engine import locate

AHEAD = timedelta(days=3650)
HOUR = timedelta(hours=1)


def at(url: str, moment: datetime) -> Store:
    """The store as a process sees it whose clock says that moment."""
    return Store(locate(url), now=lambda: moment)


@pytest.fixture
def url(stored_url: str) -> str:
    """The URL of an empty store."""
    upgrade(stored_url)
    return stored_url


def winning(url: str, moment: datetime) -> str | None:
    best = winner(at(url, moment).get_sweeps(sweep().problem, DEVICE, HASH), ENVIRONMENT, now=moment)
    return best and best[0].uid


def test_a_sweep_from_a_clock_that_is_ahead_ranks_by_its_arrival_on_every_machine_that_takes_it(url: str) -> None:
    ahead, before, after = sweep(finished=NOON + AHEAD), sweep(finished=NOON - HOUR), sweep(finished=NOON + HOUR)
    at(url, NOON).put_sweeps([before, ahead])
    assert winning(url, NOON + timedelta(minutes=5)) == ahead.uid
    at(url, NOON + HOUR).put_sweep(after)
    for moment in (NOON + HOUR, NOON + 2 * AHEAD):
        assert winning(url, moment) == after.uid


def test_a_sweep_that_was_stored_while_this_clock_was_ahead_does_not_outrank_what_is_tuned_after_that(url: str) -> None:
    old = sweep(finished=NOON + AHEAD)
    at(url, NOON + AHEAD).put_sweep(old)
    assert winning(url, NOON) == old.uid
    new = sweep(finished=NOON)
    at(url, NOON).put_sweep(new)
    assert winning(url, NOON + HOUR) == new.uid


def test_a_running_sweep_arrives_when_it_is_finished(url: str) -> None:
    done = sweep(finished=NOON + AHEAD)
    at(url, NOON - HOUR).start_sweep(running(done))
    at(url, NOON).finish_sweep(done)
    assert at(url, NOON).get_sweep(done.uid).arrived == NOON


def test_the_newest_of_a_kernel_are_not_those_that_claim_it(url: str) -> None:
    at(url, NOON - HOUR).put_sweeps([sweep(n, finished=NOON + AHEAD) for n in range(3)])
    new = sweep(7, finished=NOON)
    at(url, NOON).put_sweep(new)
    assert [one.uid for one in at(url, NOON).get_kernel_sweeps("avg_pool1d", DEVICE, HASH, 1)] == [new.uid]


def test_an_upgrade_takes_its_own_moment_for_the_arrival_of_what_claims_to_end_later(tmp_path: Path) -> None:
    path = shutil.copy(make.FOLDER / "v0002.db", tmp_path / "store.db")
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE sweep SET finished = '9999-12-31 23:59:59.999999' WHERE id = 1")
        connection.commit()
    begun = datetime.now(UTC) - timedelta(seconds=2)  # CURRENT_TIMESTAMP has whole seconds
    with open_store(str(path)) as store:
        arrived = [one.arrived for one in sorted(store.iter_sweeps(), key=lambda one: one.uid)]
    assert arrived[0] is not None
    assert begun <= arrived[0] <= datetime.now(UTC)
    assert set(arrived[1:]) == {None}


def test_a_mark_from_the_end_of_time_is_no_mark_and_any_other_can_be_followed(url: str) -> None:
    end = datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)
    one = sweep()
    with open_store(url) as store:
        store.put_sweep(one)
        with pytest.raises(ValueError, match="a mark before the year 9001"):
            store.marks.put(one.uid, Mark(MarkKind.QUARANTINE, "x", end))
        late = Mark(MarkKind.QUARANTINE, "x", end.replace(year=9000, month=1))
        store.marks.put(one.uid, late)
        store.marks.put(one.uid, Mark.after([late], MarkKind.RELEASE, "y"))
        assert not store.get_sweep(one.uid).is_quarantined


WRONG_WINNERS: dict[str, Callable[[Sweep], tuple[object, ...]]] = {
    "no trial of it": lambda one: (trial(256),),
    "no trials": lambda _: (),
    "wrong": lambda _: (trial(128, "wrong"),),
    "pruned": lambda _: (trial(128, "pruned", time_us=None),),
    "ok and wrong": lambda _: (trial(128), trial(128, "wrong")),
}


@pytest.mark.parametrize("case", WRONG_WINNERS)
def test_a_winner_that_is_not_right_by_its_own_trials_is_neither_imported_nor_united(case: str, tmp_path: Path) -> None:
    good, bad = sweep(1), sweep(2, trials=WRONG_WINNERS[case](sweep()))
    with open_store(str(tmp_path / "theirs.db")) as theirs, open_store(str(tmp_path / "ours.db")) as ours:
        theirs.put_sweeps([good, bad])
        received = receive(ours, theirs)
        assert (received.stored, received.rejected) == (1, 1)
        assert set(ours.upkeep.uids()) == {good.uid}
        exported = text_of(theirs.iter_sweeps(with_trials=True))
    assert bad.uid not in exported
    with pytest.raises(ImportRejected):  # not even with a checksum of its own
        load(io.BytesIO(exported.replace(good.uid, bad.uid).encode()), strict=True)


def wrong_here(url: str) -> set[Config]:
    return set(at(url, NOON).get_wrong_configs(sweep().problem, DEVICE, HASH, ENVIRONMENT))


def test_a_config_that_was_found_wrong_here_is_wrong_until_it_is_found_right(url: str) -> None:
    mine = sweep(trials=(trial(128), trial(256, "wrong")))
    store = at(url, NOON)
    store.put_sweep(mine)
    assert wrong_here(url) == {Config.of(BLOCK=256, num_warps=4)}
    store.put_sweep(sweep(finished=NOON - HOUR, trials=(trial(256),)))  # tried later, whatever the clock said
    assert wrong_here(url) == set()


@pytest.mark.parametrize(
    "changes",
    [
        {"origin": "imported"},
        {"environment": dataclasses.replace(ENVIRONMENT, torch="1")},
        {"kernel_hash": "ab" * 32},
        {"problem": Problem.of("avg_pool1d", n=9)},
    ],
)
def test_what_was_found_wrong_elsewhere_or_of_something_else_is_not_wrong_here(
    changes: dict[str, object], url: str
) -> None:
    at(url, NOON).put_sweep(sweep(trials=(trial(128), trial(256, "wrong")), **changes))
    assert wrong_here(url) == set()


def test_a_finding_that_was_only_carried_over_is_not_a_new_one(url: str) -> None:
    known = trial(256, "wrong", outcome=TrialOutcome.KNOWN_FROM, reference="ab" * 16)
    at(url, NOON).put_sweep(sweep(trials=(trial(128), known)))
    assert wrong_here(url) == set()


def test_a_config_that_is_wrong_here_answers_from_no_sweep() -> None:
    one, other = sweep(finished=NOON), sweep(finished=NOON - HOUR, config=Config.of(BLOCK=256, num_warps=4))
    assert one.config is not None
    assert [each.uid for each, _ in ranked([one, other], ENVIRONMENT, wrong={one.config})] == [other.uid]


@pytest.mark.parametrize(
    "changes",
    [
        {"problem": Problem.of("other", n=1)},
        {"kernel_hash": "ab" * 32},
        {"device": make.DEVICES[1]},
        {"environment": Environment("3.9.0", "2.14.0", "590.1", "1")},
        {"host": "elsewhere"},
    ],
)
def test_a_sweep_that_has_the_uid_of_another_one_that_runs_does_not_finish_it(
    changes: dict[str, object], url: str, records: pytest.LogCaptureFixture
) -> None:
    mine = sweep()
    store = at(url, NOON)
    store.start_sweep(running(mine))
    assert store.put_sweeps([sweep(uid=mine.uid, time_us=1.0, origin="imported", **changes)]) == (0, 1)
    (record,) = records.records
    assert f"has another sweep {mine.uid}" in record.getMessage()
    store.finish_sweep(mine)
    assert store.get_sweep(mine.uid) == mine
