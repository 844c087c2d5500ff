"""`tunedb stats`: what the store holds, and how often it answered."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from tunedb import registry
from tunedb.cli.bundled import all_stored
from tunedb.cli.command import FleetOption, FormatOption, command
from tunedb.cli.opening import reading, say_unfinished
from tunedb.cli.output import Format, print_record, print_rows
from tunedb.cli.states import States
from tunedb.cli.store_words import layer, printable_store
from tunedb.core.sweep import COUNTED_SOURCES, MISSES, Layer, SweepStatus
from tunedb.errors import SettingError
from tunedb.tuner.answered_misses import missed_counts

HITS = ("store", "stale")  # the sources that are backed by a stored sweep of the problem itself
GROUPS = ("kernel", "device", "host", "day")


@command("stats")
def stats(
    by: Annotated[
        str | None,
        typer.Option("--by", metavar="NAMES", help=f"Count by some of {', '.join(GROUPS)}, with commas between them."),
    ] = None,
    fleet: FleetOption = False,
    format: FormatOption = Format.table,
) -> None:
    """Print what the store holds, and how often it answered.

    - `served`: what calls got, by source. A process counts each problem once. `store` and `stale` are hits; `nearest`,
      `hint` and `default` are misses.
    - `misses_tuned`: the misses whose problem was tuned since.
    - `misses_bundled`: the misses that a bundle of this host answers now; with `--fleet` none, as other hosts may lack
      the bundle.
    - `tuned_sweeps`: tuned sweeps by mark and state. Stale ones are known for the current device only.
    - `layers`: the sweeps of the store, and those that only bundles of this host have; with `--fleet`, those of the
      shared store.
    - `seconds`: the time that the sweeps took, imported ones included.

    With `--by`: the counts for each kernel, device, host or day (in UTC), or for each combination of several.
    """
    if by is not None:
        _print_groups(_names(by), format, fleet=fleet)
        return
    served: dict[str, int] = dict.fromkeys(map(str, COUNTED_SOURCES), 0)
    sweeps = dict.fromkeys(map(str, SweepStatus), 0)
    read = layer(fleet=fleet)
    layers = {read: 0}
    rest: dict[str, Any] = {"imported": 0, "seconds": 0.0, "problems": 0, "devices": 0}
    answered = {"misses_tuned": 0, "misses_bundled": 0}
    states = dict.fromkeys(("pinned", "quarantined", "stale", "cut_short"), 0)
    with reading(fleet=fleet) as store:
        if store is not None:
            served |= store.usage.by_source()
            for miss in missed_counts(all_stored(store, bundles=not fleet), registry.installed):
                if not miss.is_open:
                    answered["misses_bundled" if miss.bundle else "misses_tuned"] += miss.usage.count
            totals = store.upkeep.totals()
            layers[read] = sum(totals.sweeps.values())
            seen = [state for state in States().of_all(store.iter_sweeps()) if state.sweep.leaves_its_store]
            states = {
                "pinned": sum(state.sweep.is_pinned for state in seen),
                "quarantined": sum(state.sweep.is_quarantined for state in seen),
                "stale": sum(bool(state.stale) for state in seen),
                "cut_short": sum(not state.sweep.complete for state in seen),
            }
            sweeps, rest = totals.sweeps, {name: getattr(totals, name) for name in rest}
        if read == Layer.LOCAL:
            layers[str(Layer.BUNDLE)] = len(all_stored(store).bundled())
    print_record(
        {
            "store": printable_store(fleet=fleet),
            **_summary(served),
            **answered,
            "served": served,
            "sweeps": sweeps,
            "layers": layers,
            "tuned_sweeps": states,
            **rest,
        },
        format,
    )
    say_unfinished(sweeps[SweepStatus.RUNNING])


def _names(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",")]
    if not set(names) <= set(GROUPS) or len(set(names)) < len(names):
        raise SettingError(f"--by: expected some of {', '.join(GROUPS)}, each once, got {text!r}.")
    return names


def _print_groups(names: list[str], format: Format, *, fleet: bool) -> None:
    with reading(fleet=fleet) as store:
        totals = {} if store is None else store.usage.totals(names)
    rows = []
    for values, counts in sorted(totals.items()):
        served: dict[str, int] = dict.fromkeys(map(str, COUNTED_SOURCES), 0) | counts
        rows.append({**dict(zip(names, values, strict=True)), **_summary(served), **served})
    print_rows(rows, format, [*names, "hits", "misses", *COUNTED_SOURCES])


def _summary(served: Mapping[str, int]) -> dict[str, int]:
    return {
        "hits": sum(served[source] for source in HITS),
        "stale": served["stale"],
        "misses": sum(served[source] for source in MISSES),
    }
