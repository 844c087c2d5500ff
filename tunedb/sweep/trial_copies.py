"""Trials made from others: with the resources of a config, and of a config whose binary another one has as well."""

from __future__ import annotations

import dataclasses

from tunedb.core.kernel import Resources
from tunedb.core.sweep import Trial, TrialOutcome, new_uid


def with_resources(trial: Trial, resources: Resources) -> Trial:
    """Return the trial with what its config takes."""
    return dataclasses.replace(
        trial, registers=resources.registers, spills=resources.spills, shared_bytes=resources.shared_bytes
    )


def duplicate_of(trial: Trial, original: Trial) -> Trial:
    """Return the trial of a config that compiled to the binary of another: the other's outcome holds for it."""
    return dataclasses.replace(
        original, config=trial.config, uid=new_uid(), compile_s=trial.compile_s, samples=0,
        outcome=TrialOutcome.DUPLICATE_OF, reference=original.uid,
    )  # fmt: skip
