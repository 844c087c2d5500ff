"""What the local store and the bundles hold together, for comparisons of devices and environments."""

from __future__ import annotations

from collections.abc import Sequence

from tunedb.cli.bundled import bundled_sweeps
from tunedb.cli.opening import reading
from tunedb.reporting.places import Held, held_by
from tunedb.tuner.stored_names import among


def held_here(kernels: Sequence[str] = ()) -> Held:
    """Return what they hold of these kernels, or of all: nothing if there is no store and no bundle."""
    with reading(announced=False) as store:
        held = Held((), ()) if store is None else held_by(store, kernels)
        bundled = bundled_sweeps(store)
    names = {*held.kernels, *(sweep.problem.kernel for sweep in bundled)}
    wanted = among(kernels, names) if kernels else names
    return Held(names, [*held.sweeps, *(sweep for sweep in bundled if sweep.problem.kernel in wanted)], held.copy_rates)
