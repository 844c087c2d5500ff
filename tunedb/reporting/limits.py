"""The limits of problems: the time of copying what they move, if their kernels are installed and state it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from tunedb import registry
from tunedb.reporting.facts import Facts
from tunedb.store.answers import PairKey
from tunedb.tuner.copy_rate import limit_us

if TYPE_CHECKING:
    from tunedb.store.sql.copy_rates import CopyRate


def limits_of(facts: Facts, rates: Mapping[str, CopyRate]) -> dict[PairKey, float]:
    """Return the limits in microseconds, of problems on devices whose copy rate is known, by the device's digest."""
    answered = [answer for answer in facts.answers if answer.device.digest in rates]
    kernels = registry.installed({answer.problem.kernel for answer in answered})
    limits = {
        answer.key: limit_us(kernels.get(answer.problem.kernel), answer.problem, answer.device, rates)
        for answer in answered
    }
    return {key: limit for key, limit in limits.items() if limit is not None}
