"""Sampling of configs in turns, for the screening and the race alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tunedb.core.problem import Config

# A config runs no longer than this in one turn, unless a single launch does. By judgement: short enough that a GPU's
# clocks hardly drift between two turns, and long enough for several launches of most kernels.
TURN_US = 2500.0

Sample = Callable[[Config, int], list[float]]  # microseconds of that many launches


def launches_in_turn(taken: Sequence[float], most: int) -> int:
    """Return how many launches fit a turn, by the microseconds that earlier ones took: from one to `most`."""
    return max(1, min(most, int(TURN_US / max(min(taken), 0.01))))


def is_long(taken: Sequence[float]) -> bool:
    """Say whether one launch takes longer than a turn, by the microseconds that earlier ones took."""
    return min(taken) > TURN_US
