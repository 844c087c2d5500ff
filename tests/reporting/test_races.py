"""Why a config won, in words."""

from __future__ import annotations

import pytest

from tests.store.samples import failed, sweep, trial
from tunedb.core.problem import Config
from tunedb.core.sweep import TrialOutcome
from tunedb.reporting.facts import Facts
from tunedb.reporting.races import default_of, failures, in_order, page_data, winning_sentence
from tunedb.store.answers import answers

WINNER = Config.of(BLOCK=128, num_warps=4)


def test_the_winner_comes_first_then_the_fastest_then_what_failed() -> None:
    blocks = [one.config["BLOCK"] for one in in_order(sweep(1))]
    assert blocks == [128, 256, 512]
    near = (trial(128), trial(256, time_us=12.4), trial(512, "wrong", time_us=None))
    assert [one.config["BLOCK"] for one in in_order(sweep(1, trials=near))] == [128, 256, 512]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "1.60 times as fast as the default; the next best (BLOCK=256) takes 12.0% longer"),
        ({"default_time_us": 12.5}, "takes 12.50 µs and is the default"),
        ({"trials": (trial(128), trial(256, time_us=12.6))}, "takes 0.8% longer, within the 1% that counts as equal."),
        ({"trials": (trial(128), trial(256, time_us=12.504))}, "the next best (BLOCK=256) takes as long."),
        (
            {"trials": (trial(128), trial(256, time_us=12.4))},
            "BLOCK=256 was 0.8% faster: within 1%, which counts as equal, and the first in the search space wins.",
        ),
        (
            {"trials": (trial(128), trial(256, time_us=12.5))},
            "BLOCK=256 took as long, and the first in the search space wins.",
        ),
        ({"trials": (trial(128), trial(256, time_us=12.496))}, "BLOCK=256 took as long, and the first in"),
        (
            {"trials": (trial(128), trial(256, time_us=12.0))},
            "BLOCK=256 was 4.0% faster, but was not timed next to the winner.",
        ),
        (
            {"trials": (trial(128), trial(256, time_us=12.4)), "default_time_us": 12.5},
            "BLOCK=256 was 0.8% faster, within the 2% that the default keeps its place by.",
        ),
        (
            {"trials": (trial(128), trial(256, time_us=12.496)), "default_time_us": 12.5},
            "and is the default; BLOCK=256 took as long, and the default keeps its place.",
        ),
        (
            {"trials": (trial(128), trial(256, time_us=12.0)), "default_time_us": 12.5},
            "BLOCK=256 was 4.0% faster, but not for certain: the default keeps its place.",
        ),
        ({"default_time_us": 12.52}, "BLOCK=128 takes 12.50 µs, as fast as the default; the next best"),
        ({"trials": (trial(128),)}, "One config was tried, all with a time"),
        ({"default_time_us": 14.0}, "1.12 times as fast as the default (BLOCK=256); the next best (BLOCK=256) takes"),
        (
            {"default_time_us": 14.0, "trials": (trial(128), *(trial(block, time_us=14.0) for block in (1, 2)))},
            "1.12 times as fast as the default (BLOCK=1 or BLOCK=2); the next best (BLOCK=1) takes",
        ),
        (
            {"default_time_us": 14.0, "trials": (trial(128), *(trial(block, time_us=14.0) for block in (1, 2, 4, 8)))},
            "as fast as the default (BLOCK=1, BLOCK=2 or one of 2 others);",
        ),
        ({"default_time_us": None}, "takes 12.50 µs; the next best"),
    ],
)
def test_a_sentence_says_why_it_won(changes: dict[str, object], words: str) -> None:
    assert words in winning_sentence(sweep(1, **changes))


def test_a_sentence_names_the_knobs_that_differ_and_the_limit() -> None:
    assert winning_sentence(sweep(1)).startswith("BLOCK=128 takes")
    assert winning_sentence(sweep(1, trials=(trial(128),))).startswith("BLOCK=128 num_warps=4 takes")
    said = winning_sentence(sweep(1), limit_us=10.0)
    assert "without a time: 1 compile error." in said
    assert said.endswith(" A copy of the bytes that it has to move takes 10.00 µs, 80% of its time.")


def test_the_default_is_the_trial_that_took_its_time() -> None:
    assert default_of(sweep(1, default_time_us=14.0)) == 1
    assert default_of(sweep(1, default_time_us=12.5)) == 0
    assert default_of(sweep(1, default_time_us=14.000000000000002)) == 1  # rounded on another path
    assert "and is the default" in winning_sentence(sweep(1, default_time_us=12.500000000000002))
    assert default_of(sweep(1, default_time_us=99.0)) is None
    twice = (trial(128), trial(256, time_us=14.0), trial(64, time_us=14.0))
    assert default_of(sweep(1, default_time_us=14.0, trials=twice)) is None


def test_a_winner_that_took_the_default_s_time_is_the_default() -> None:
    tie = (trial(256), trial(128), trial(64))
    assert default_of(sweep(1, default_time_us=12.5, trials=tie)) == 0
    assert in_order(sweep(1, trials=tie))[0].config == WINNER
    original = trial(64, uid="a" * 32)
    twin = trial(128, outcome=TrialOutcome.DUPLICATE_OF, reference=original.uid)
    twins = sweep(1, default_time_us=12.5, trials=(original, twin))
    assert default_of(twins) == 0
    assert page_data(Facts(answers([twins])))["problems"][0]["default_row"] == 0
    assert winning_sentence(twins).startswith("BLOCK=128 takes 12.50 µs and is the default; BLOCK=64 took as long")


def test_a_sentence_says_that_none_won() -> None:
    trials = (trial(128, "wrong", time_us=None), trial(256, "timeout", time_us=None), trial(512, "wrong", time_us=None))
    assert winning_sentence(failed(1, trials=trials)) == "None of 3 configs won: 1 timeout, 2 wrong."
    assert winning_sentence(failed(1, trials=())) == "None of 0 configs won: no trial is stored."


def test_failures_are_grouped_by_status_and_reason_the_most_frequent_first() -> None:
    trials = [
        trial(128),
        trial(1, "wrong", time_us=None, error="a"),
        trial(2, "wrong", time_us=None, error="b\n  c"),
        trial(4, "wrong", time_us=None, error="b c"),
        trial(8, "timeout", time_us=None, error=None),
    ]
    rows = [(status, reason, count) for status, reason, count, _ in failures(sweep(1, trials=trials))]
    assert rows == [("wrong", "b c", 2), ("timeout", "no reason is stored", 1), ("wrong", "a", 1)]
