"""`warm --stale` and `warm --incomplete` with bundles: what calls here got of them is tuned like what is stored."""

from __future__ import annotations

import dataclasses

import pytest

from tests.cli.conftest import Cli, Kernel, put
from tests.cli.test_bundled_misses import Bundled, count, problem
from tests.cli.test_bundled_misses import bundled as bundled
from tests.cli.test_explain_mark import here, tuned
from tests.cli.test_misses_stats import serve
from tests.cli.test_pending import warm
from tests.store.samples import NOON, failed
from tunedb.core.device import Device
from tunedb.core.sweep import Mark, Source

OLD = dataclasses.replace(here(), triton="1.0")
TWIN = Device("a twin", "interpreter", "interpreter", 2)


def planned(cli: Cli, *words: str) -> list[int]:
    """The rows of the problems that `warm` would tune."""
    plan = warm(cli, *words, "--dry-run")
    assert {row["plan"] for row in plan} <= {"tune"}
    return [row["problem"]["rows"] for row in plan]


def test_a_stale_answer_of_a_bundle_is_tuned_again_if_calls_here_got_it(
    cli: Cli, kernels: dict[str, Kernel], bundled: Bundled
) -> None:
    bundled(*(tuned(problem=problem(rows), environment=OLD) for rows in (1, 2, 3)))
    serve(count(1, Source.STALE), count(2, Source.STORE), count(3, Source.STALE, device=TWIN))
    answer = cli("warm", "--stale", "--dry-run", "--format", "json")
    assert [row["problem"]["rows"] for row in answer.json] == [1, 2]
    assert (
        "Left out: 1 stale winner of bundles, tunedb's own included, that no call on this machine was counted for. "
        "To tune these too: tunedb warm --stale --bundles\n" in answer.err
    )
    assert planned(cli, "--stale", "--bundles") == [1, 2, 3]
    assert planned(cli, "other", "--stale", "--bundles") == []
    assert [(row["problem"]["rows"], row["source"]) for row in warm(cli, "--stale")] == [(1, "sweep"), (2, "sweep")]
    assert planned(cli, "--stale") == []
    found = cli("lookup", "pool", "--shape", "1,1", "--kernel-size", "1", "--format", "json").json
    assert (found["source"], found["layer"]) == ("store", "local")


def test_the_layer_that_answers_decides(cli: Cli, kernels: dict[str, Kernel], bundled: Bundled) -> None:
    put(
        tuned(problem=problem(1), environment=OLD),
        tuned(problem=problem(2)),
        tuned(problem=problem(3), environment=OLD),
        tuned(problem=problem(4), environment=OLD),
    )
    bundled(
        tuned(problem=problem(1)),  # valid, and the local one is stale
        tuned(problem=problem(2), environment=OLD),  # stale, and the local one is valid
        tuned(problem=problem(3), environment=OLD),  # both are
        tuned(problem=problem(4), kernel_hash="cd" * 32),  # of other code
    )
    assert planned(cli, "--stale") == [3, 4]
    assert planned(cli, "--stale", "--bundles") == [3, 4]


def test_without_a_store_bundles_are_tuned_if_asked_for(cli: Cli, kernels: dict[str, Kernel], bundled: Bundled) -> None:
    bundled(tuned(problem=problem(1), environment=OLD), tuned(problem=problem(2)))
    assert planned(cli, "--stale", "--bundles") == [1]
    answer = cli("warm", "--stale", "--dry-run")
    assert "Nothing stale to tune" in answer.err
    assert "Left out: 1 stale" in answer.err


def test_a_bundle_s_answer_that_is_pinned_here_stays(cli: Cli, kernels: dict[str, Kernel], bundled: Bundled) -> None:
    bundled(sweep := tuned(problem=problem(1), environment=OLD))
    serve(count(1, Source.STALE))
    assert cli("mark", sweep.uid, "pin", "--reason", "known good").code == 0
    answer = cli("warm", "--stale", "--format", "json")
    assert answer.json == []
    assert "(kernel_size=1, rows=1) is stale and pinned" in answer.err


def test_the_answer_that_was_cut_short_is_finished_whichever_layer_has_it(
    cli: Cli, kernels: dict[str, Kernel], bundled: Bundled
) -> None:
    put(
        tuned(problem=problem(1), complete=False),
        tuned(problem=problem(2)),
        failed(problem=problem(3), status="aborted", device=tuned().device, kernel_hash=tuned().kernel_hash),
        tuned(problem=problem(4), complete=False),
    )
    bundled(
        tuned(problem=problem(1)),  # complete, and the local one is not
        tuned(problem=problem(2), complete=False),  # cut short, and the local one is complete
        tuned(problem=problem(3)),
        tuned(problem=problem(5), complete=False),
        tuned(problem=problem(6), complete=False),
        tuned(problem=problem(7), complete=False, kernel_hash="cd" * 32),
    )
    serve(*(count(rows, Source.STORE) for rows in (1, 2, 3, 5, 7)))
    assert planned(cli, "--incomplete") == [4, 5]
    assert planned(cli, "--incomplete", "--bundles") == [4, 5, 6]
    answer = cli("warm", "--incomplete", "--dry-run")
    assert "Left out: 1 incomplete result of bundles" in answer.err
    assert "To tune these too: tunedb warm --incomplete --bundles\n" in answer.err


@pytest.mark.parametrize("words", [("pool",), ("--from-misses",), ("--from", "x.jsonl")])
def test_bundles_says_what_is_stale_or_incomplete(cli: Cli, kernels: dict[str, Kernel], words: tuple[str, ...]) -> None:
    answer = cli("warm", *words, "--bundles")
    assert (answer.code, answer.out) == (2, "")
    assert "--bundles is for --stale and --incomplete" in answer.err


def test_a_mark_of_a_bundle_s_sweep_counts(cli: Cli, kernels: dict[str, Kernel], bundled: Bundled) -> None:
    bundled(one := tuned(problem=problem(1), environment=OLD))
    serve(count(1, Source.STALE))
    put(tuned(problem=problem(1), environment=OLD, finished=NOON, marks=(Mark("quarantine", "wrong", NOON),)))
    assert planned(cli, "--stale") == [1]
    assert cli("mark", one.uid, "quarantine", "--reason", "slow here").code == 0
    assert planned(cli, "--stale") == []  # nothing answers: that is no stale winner
