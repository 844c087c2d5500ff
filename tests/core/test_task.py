"""Tuning tasks, placements and choices."""

from __future__ import annotations

import pytest

from tests.fakes import FakeKernel
from tests.store.samples import DEVICE, sweep
from tunedb.core.device import INTERPRETER, Placement
from tunedb.core.sweep import Source, Trial, TrialOutcome, TrialStatus
from tunedb.core.task import Choice, TuningTask


def test_a_placement_says_whether_this_process_has_its_device() -> None:
    assert Placement(DEVICE, 1).is_here
    assert not Placement(DEVICE, None).is_here
    assert Placement(INTERPRETER, -1).is_here
    assert [Placement(device, 0).is_interpreter for device in (DEVICE, INTERPRETER)] == [False, True]


def test_two_tasks_that_differ_in_the_index_alone_have_one_key() -> None:
    kernel = FakeKernel({1: 1.0})
    here, elsewhere = (TuningTask(kernel, kernel.problem(), Placement(DEVICE, index)) for index in (0, None))
    assert here.key == elsewhere.key
    assert (here.index, elsewhere.index, here.device) == (0, None, DEVICE)


def test_a_choice_prints_in_one_short_line_however_many_trials_its_sweep_has() -> None:
    done = sweep(uid="ab" * 16)
    assert done.config is not None
    choice = Choice(done.config, Source.STORE, done)
    assert repr(choice) == "Choice(BLOCK=128, num_warps=4, source=store, sweep=abababababab, layer=local)"
    assert repr(Choice(done.config, Source.DEFAULT, failed=True)) == (
        "Choice(BLOCK=128, num_warps=4, source=default, failed)"
    )


@pytest.mark.parametrize(
    ("outcome", "reference", "error", "note"),
    [
        ("measured", None, None, ""),
        ("measured", None, "Same binary as", "Same binary as"),  # a text decides nothing
        ("duplicate_of", "cd" * 16, None, "Same binary as BLOCK=128, num_warps=4"),
        ("duplicate_of", "ef" * 16, "it hangs", "Same binary as another config: it hangs"),
        ("known_from", "cd" * 16, "it hangs", "Known from sweep cdcdcdcdcdcd: it hangs"),
        ("lost_device", None, "an illegal access", "Lost: an illegal access"),
    ],
)
def test_what_people_read_about_a_trial(outcome: str, reference: str | None, error: str | None, note: str) -> None:
    config = sweep().trials[0].config
    trial = Trial(config, TrialStatus.OK, error=error, outcome=TrialOutcome(outcome), reference=reference)
    assert trial.note({"cd" * 16: sweep().trials[0].config.of(BLOCK=128, num_warps=4)}) == note
