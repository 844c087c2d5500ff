"""`tunedb ls`: the stored sweeps."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from enum import StrEnum, auto
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tunedb.cli.bundled import all_stored
from tunedb.cli.command import DeviceOption, FleetOption, FormatOption, KernelOption, command, log
from tunedb.cli.facts import read_where
from tunedb.cli.limits import Limits
from tunedb.cli.opening import for_people, reading_lists, say_unfinished, state_row, sweeps_of
from tunedb.cli.output import Format, print_rows
from tunedb.cli.states import States, SweepState
from tunedb.cli.store_words import layer as read_layer
from tunedb.cli.store_words import printable_store
from tunedb.core.sweep import Layer, SweepStatus, now
from tunedb.errors import SettingError

if TYPE_CHECKING:
    from tunedb.store import Store
    from tunedb.store.reading import ReadStore

_COLUMNS = (
    "uid", "kernel", "problem", "device", "config", "time_us", "speedup", "status", "age", "answers", "notes", "layer",
)  # fmt: skip


class Order(StrEnum):
    """What the rows can be sorted by. The newest, the slowest and the greatest speedup come first."""

    kernel = auto()
    device = auto()
    status = auto()
    age = auto()
    time_us = auto()
    speedup = auto()


class Place(StrEnum):
    """The layers that can be listed alone."""

    local = auto()
    bundle = auto()


_KEYS: dict[Order, Callable[[SweepState], Any]] = {
    Order.kernel: lambda state: state.sweep.problem.kernel,
    Order.device: lambda state: str(state.sweep.device),
    Order.status: lambda state: state.sweep.status,
    Order.age: lambda state: (state.sweep.finished is not None, -(state.sweep.finished or now()).timestamp()),
    Order.time_us: lambda state: -(state.sweep.time_us or 0.0),
    Order.speedup: lambda state: -(state.sweep.speedup or 0.0),
}


@command("ls")
def ls(
    kernel: KernelOption = None,
    device: DeviceOption = None,
    where: Annotated[
        str | None,
        typer.Option(
            "--where", metavar="NAME=VALUE,...", help="Only problems with these facts, such as kernel_size=8."
        ),
    ] = None,
    status: Annotated[
        SweepStatus | None,
        typer.Option("--status", metavar="STATUS", help="Only sweeps that are running, tuned, failed or aborted."),
    ] = None,
    stale: Annotated[bool, typer.Option("--stale", help="Only sweeps of the current device that are stale.")] = False,
    sort: Annotated[
        Order | None,
        typer.Option(
            "--sort",
            metavar="ORDER",
            help="By kernel, device, status, age, time_us or speedup. The default is by kernel, problem, device and "
            "time of finish, oldest first.",
        ),
    ] = None,
    limit: Annotated[int | None, typer.Option("--limit", metavar="N", min=1, help="Only the first N rows.")] = None,
    limits: Annotated[
        bool, typer.Option("--limits", help="Add `copy_share`: how near each winner is to the speed of a copy.")
    ] = False,
    layer: Annotated[
        Place | None,
        typer.Option(
            "--layer",
            metavar="LAYER",
            help="local: only the local store's sweeps; bundle: only those of bundles alone.",
        ),
    ] = None,
    shipped: Annotated[bool, typer.Option("--shipped", help="Also the sweeps that come with tunedb.")] = False,
    fleet: FleetOption = False,
    format: FormatOption = Format.table,
) -> None:
    """List the stored sweeps, finished or not, and those of bundles.

    A sweep is the timing of the configs of one problem on one device. The sweeps of average pooling that come with
    tunedb, hundreds for each kind of GPU, are listed with --shipped only.

    - `answers`: whether calls of that kernel's code on that device get the sweep's config.
    - `stale`: tuned with other versions of Triton, torch or the driver than those that are installed. This is known for
      the current device only.
    - `copy_share`, with --limits: the winner's speed as a share of a copy's that moves as many bytes. It is known for
      installed kernels that state these bytes, on devices whose copy rate `tunedb warm` has measured.

    JSON is an array with an object for each sweep, empty if nothing is stored.
    """
    if layer is not None and fleet:
        raise SettingError("--layer is not for --fleet, which lists the shared store alone.")
    if shipped and (fleet or layer is Place.local):
        raise SettingError("--shipped lists a bundle: it is not for --fleet, and not for --layer local.")
    facts = read_where(where or "")
    is_filtered = any(option is not None for option in (kernel, device, where, status, layer)) or stale
    unfinished, moment = 0, now()

    def states(store: Store | ReadStore | None) -> Iterator[SweepState]:
        nonlocal unfinished
        stored = all_stored(store, bundles=not fleet, shipped=shipped)  # also for --layer local: they may answer
        sweeps = sweeps_of(stored, kernel=kernel, device=device, finished=False)
        for state in States(moment, stored.get_unlisted).of_all(sweeps):
            sweep = state.sweep
            if not facts.fits(sweep.problem) or (status is not None and sweep.status != status):
                continue
            if stale and not state.stale:
                continue
            if layer is not None and (layer is Place.bundle) != (sweep.layer is Layer.BUNDLE):
                continue
            unfinished += sweep.status == SweepStatus.RUNNING
            yield state

    with reading_lists(fleet=fleet) as store:
        listed = states(store)
        if sort is not None:
            listed = iter(sorted(listed, key=_KEYS[sort]))
        shares = Limits(store) if limits else None
        rows = (
            state_row(state)
            | (for_people(state, moment) if format is Format.table else {})
            | ({"layer": read_layer(fleet=fleet)} if fleet else {})
            | ({} if shares is None else {"copy_share": shares.share(state.sweep)})
            for state in itertools.islice(listed, limit)
        )
        printed = print_rows(rows, format, (*_COLUMNS, "copy_share") if limits else _COLUMNS)
    if not printed and (unknown := facts.unknown()):
        log.info("%s", unknown)
    elif not printed and store is not None:
        log.info("Nothing is stored%s in %s.", " for that" if is_filtered else "", printable_store(fleet=fleet))
    say_unfinished(unfinished)
