"""Stale winners of what tunedb ships, for someone who upgraded: `verify` and `warm` say how many, and take them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Cli, Kernel, put
from tests.cli.test_bundled_misses import Bundled, count, problem
from tests.cli.test_bundled_misses import bundled as bundled
from tests.cli.test_explain_mark import tuned
from tests.cli.test_guard import OLD, stale
from tests.cli.test_misses_stats import serve
from tests.cli.test_shipped import Ship
from tests.cli.test_shipped import ship as ship
from tests.cli.test_verify import fake_clock as fake_clock
from tests.cli.test_verify import verify
from tests.store.samples import DEVICE
from tunedb import settings
from tunedb.core.sweep import Source
from tunedb.store import open_store
from tunedb.tuner import session

TIMES = {128: 100.0, 256: 50.0}
LEFT_OUT = "Left out: {} of bundles, tunedb's own included, that no call on this machine was counted for. "


@pytest.fixture
def pool(kernels: dict[str, Kernel], ship: Ship) -> Kernel:
    """An installed kernel of which tunedb ships two stale winners, a valid one, and one of another device."""
    kernels["pool"].times = dict(TIMES)
    ship(
        *(stale(256, TIMES, problem(rows)) for rows in (1, 2)),
        tuned(problem=problem(3)),
        tuned(problem=problem(4), environment=OLD, device=DEVICE),
    )
    return kernels["pool"]


@pytest.fixture(params=["no store", "an empty store"])
def made(request: pytest.FixtureRequest) -> bool:
    """Whether there is a store, which is empty."""
    if request.param == "no store":
        return False
    put()
    return True


def rows_of(answer: Sequence[dict[str, Any]]) -> list[int]:
    return [row["problem"]["rows"] for row in answer]


def served(kernel: Kernel, rows: int) -> tuple[str, str, Any]:
    """What a call gets that may not tune: the source, the layer and the block."""
    settings.configure(mode="strict")
    choice = session.active().choose(kernel, problem(rows), -1)
    return choice.source, choice.layer, choice.config["BLOCK"]


def has_store() -> bool:
    return Path(settings.current().store).exists()


def test_verify_says_how_many_it_left_out(cli: Cli, pool: Kernel, made: bool) -> None:
    for words, what, command in (
        (("--stale",), "2 stale winners", "tunedb verify --stale --bundles"),
        (("--stale", "--kernel", "pool"), "2 stale winners", "tunedb verify --kernel pool --stale --bundles"),
        ((), "3 winners", "tunedb verify --bundles"),
    ):
        answer = cli("verify", *words)
        assert answer.code == (0 if made else 1)
        assert LEFT_OUT.format(what) + f"To check these too: {command}\n" in answer.err
        assert ("There is no store at" in answer.err) is not made
    assert "Left out" not in cli("verify", "--kernel", "other", "--stale").err
    other = Path(settings.current().store).with_name("other.db")
    assert f"tunedb verify --stale --bundles --store {other}\n" in cli("verify", "--stale", "--store", other).err
    assert has_store() is made


def test_a_winner_that_holds_is_confirmed_in_a_store_that_is_made_for_it(cli: Cli, pool: Kernel, made: bool) -> None:
    assert served(pool, 1) == ("stale", "bundle", 256)
    rows = verify(cli, "--stale", "--bundles")
    assert [(row["problem"]["rows"], row["action"]) for row in rows] == [(1, "confirmed"), (2, "confirmed")]
    assert [served(pool, number) for number in (1, 2)] == [("store", "bundle", 256)] * 2
    assert verify(cli, "--stale", "--bundles") == []
    assert "Left out" not in cli("verify", "--stale").err


def test_a_winner_that_was_beaten_is_tuned_again_and_the_local_one_answers(cli: Cli, pool: Kernel, made: bool) -> None:
    pool.times = {128: 70.0, 256: 80.0, 512: 60.0}
    rows = verify(cli, "--stale", "--bundles", code=1)
    assert [(row["verdict"], row["action"]) for row in rows] == [("beaten", "tuned"), ("beaten", "tuned")]
    assert [served(pool, number) for number in (1, 2)] == [("store", "local", 512)] * 2
    assert verify(cli, "--stale", "--bundles") == []


def test_a_bundle_in_the_settings_is_verified_without_a_store(
    cli: Cli, kernels: dict[str, Kernel], bundled: Bundled
) -> None:
    kernels["pool"].times = dict(TIMES)
    bundled(stale(256, TIMES, problem(1)))
    answer = cli("verify", "--stale", "--format", "json")
    assert (answer.code, answer.json, has_store()) == (0, [], False)
    assert LEFT_OUT.format("1 stale winner") in answer.err
    assert [row["action"] for row in verify(cli, "--stale", "--bundles")] == ["confirmed"]


def test_without_a_store_and_a_bundle_nothing_can_be_verified(
    cli: Cli, kernels: dict[str, Kernel], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNEDB_BUNDLES", "off")
    settings.configure()
    answer = cli("verify", "--stale", "--bundles")
    assert answer.code == 1
    assert "There is no store at" in answer.err
    assert "Left out" not in answer.err
    assert not has_store()


def test_a_bundle_without_rows_for_this_device_makes_no_store(cli: Cli, kernels: dict[str, Kernel], ship: Ship) -> None:
    ship(tuned(problem=problem(4), environment=OLD, device=DEVICE))
    answer = cli("verify", "--stale", "--bundles")
    assert answer.code == 0
    assert "Nothing is stale on the current device." in answer.err
    assert not has_store()


def test_warm_says_how_many_it_left_out_and_tunes_them_if_asked_to(cli: Cli, pool: Kernel, made: bool) -> None:
    answer = cli("warm", "--stale", "--dry-run", "--format", "json")
    assert (answer.code, answer.json) == (0, [])
    assert LEFT_OUT.format("2 stale winners") + "To tune these too: tunedb warm --stale --bundles\n" in answer.err
    assert served(pool, 1) == ("stale", "bundle", 256)
    answer = cli("warm", "--stale", "--bundles", "--format", "json")
    assert (answer.code, rows_of(answer.json)) == (0, [1, 2]), answer.err
    assert [served(pool, number) for number in (1, 2, 3)] == [
        ("store", "local", 256), ("store", "local", 256), ("store", "bundle", 128)
    ]  # fmt: skip
    answer = cli("warm", "--stale", "--bundles", "--dry-run", "--format", "json")
    assert answer.json == []


def test_those_that_calls_got_are_taken_without_being_asked_for(cli: Cli, pool: Kernel) -> None:
    serve(count(2, Source.STALE))
    for command in ("warm", "verify"):
        words = (command, "--stale", *(("--dry-run",) if command == "warm" else ()), "--format", "json")
        answer = cli(*words)
        assert rows_of(answer.json) == [2]
        assert LEFT_OUT.format("1 stale winner") in answer.err


def test_gradients_that_are_not_wanted_are_not_counted(cli: Cli, kernels: dict[str, Kernel], ship: Ship) -> None:
    ship(tuned(problem=problem(1), environment=OLD), tuned(problem=problem(1, "pool_backward"), environment=OLD))
    answer = cli("warm", "--stale", "--forward-only", "--dry-run")
    assert LEFT_OUT.format("1 stale winner") in answer.err
    assert "tunedb warm --stale --bundles --forward-only\n" in answer.err
    answer = cli("warm", "pool_backward", "--stale", "--dry-run")
    assert "tunedb warm pool_backward --stale --bundles\n" in answer.err


def test_what_was_cut_short_is_finished_if_asked_for(cli: Cli, kernels: dict[str, Kernel], ship: Ship) -> None:
    ship(tuned(problem=problem(1), complete=False), tuned(problem=problem(2)))
    answer = cli("warm", "--incomplete", "--dry-run", "--format", "json")
    assert answer.json == []
    assert LEFT_OUT.format("1 incomplete result") in answer.err
    answer = cli("warm", "--incomplete", "--bundles", "--dry-run", "--format", "json")
    assert rows_of(answer.json) == [1]
    assert "Left out" not in answer.err


def test_one_that_is_pinned_here_is_not_counted(cli: Cli, pool: Kernel) -> None:
    uids = {row["problem"]["rows"]: row["uid"] for row in cli("ls", "--shipped", "--format", "json").json}
    assert cli("mark", uids[1], "pin", "--reason", "known good").code == 0
    assert LEFT_OUT.format("1 stale winner") in cli("warm", "--stale", "--dry-run").err
    answer = cli("warm", "--stale", "--bundles", "--dry-run", "--format", "json")
    assert rows_of(answer.json) == [2]


def test_a_winner_that_fails_is_quarantined_and_no_longer_answers(cli: Cli, pool: Kernel) -> None:
    pool.times = {128: 70.0, 256: "wrong"}
    rows = verify(cli, "--kernel", "pool", "--bundles", code=1)
    assert rows_of([row for row in rows if row["quarantined"]]) == [1, 2]
    with open_store(settings.current().store) as store:
        assert store.get_marks_of([row["uid"] for row in rows if row["quarantined"]])
