"""`tunedb misses`: problems that calls asked for and that no stored sweep answered."""

from __future__ import annotations

import shlex
from collections.abc import Collection
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tunedb import registry
from tunedb.cli.bundled import all_stored
from tunedb.cli.command import DeviceOption, FleetOption, FormatOption, KernelOption, command, log
from tunedb.cli.names import devices_of_list, kernel_of_list
from tunedb.cli.opening import reading
from tunedb.cli.output import Format, print_rows
from tunedb.cli.store_words import layer, printable_store, store_option
from tunedb.core.sweep import Layer
from tunedb.tuner.answered_misses import missed_counts
from tunedb.tuner.stored_device import devices_named
from tunedb.tuner.stored_names import with_module

if TYPE_CHECKING:
    from tunedb.store import Store
    from tunedb.store.sql.usage import ServedCount

_COLUMNS = ("kernel", "problem", "device", "served_by", "count", "hosts", "loss_us", "tuned", "layer", "last_seen")


@command("misses")
def misses(
    kernel: KernelOption = None,
    device: DeviceOption = None,
    fleet: FleetOption = False,
    all_misses: Annotated[bool, typer.Option("--all", help="Also the misses that were answered since.")] = False,
    format: FormatOption = Format.table,
) -> None:
    """List the problems that calls found nothing stored for, the most costly first.

    A process counts each problem once, and writes its counts every minute and when it ends. The cost of a miss is its
    count times `loss_us`.

    - `loss_us`: an estimate of what a launch loses, from the nearest tuned problem of the kernel.
    - `tuned`: when a sweep answered the problem after its last miss.
    - `layer`: where that sweep is: `local`, `shared`, or `bundle` if a bundle of this host answers the problem now.
      With `--fleet` bundles don't count: other hosts may lack them.

    Exit code 1 if there are any that nothing answers yet.
    """
    from tunedb.tuner.miss_cost import by_cost

    with reading(fleet=fleet) as store:
        served = [] if store is None else _misses(store, kernel, device, fleet=fleet)
        wanted = [miss for miss in served if all_misses or miss.is_open]
        rows = [] if store is None else [_row(cost.miss, cost.loss_us, fleet=fleet) for cost in by_cost(store, wanted)]
    print_rows(rows, format, _COLUMNS)
    if store is None:
        return
    still_open = sum(miss.is_open for miss in served)
    of_fleet = " --fleet" if fleet else ""
    if answered := len(served) - still_open:
        again = "".join(
            f" {option} {shlex.quote(text)}" for option, text in (("--kernel", kernel), ("--device", device)) if text
        )
        bundled = sum(bool(miss.bundle) for miss in served)
        counts = {"Tuned since they were missed": answered - bundled, "Answered by bundles now": bundled}
        log.info(
            "%s%s",
            " ".join(f"{words}: {count}." for words, count in counts.items() if count),
            "" if all_misses else f" List them too: tunedb misses --all{again}{of_fleet}{store_option()}",
        )
    if not still_open:
        log.info("No %smisses in %s.", "such " if kernel or device else "", printable_store(fleet=fleet))
        return
    log.info("Tune those of the current device: tunedb warm --from-misses%s%s", of_fleet, store_option())
    raise typer.Exit(1)


def _misses(store: Store, kernel: str | None, device: str | None, *, fleet: bool) -> list[ServedCount]:
    served = missed_counts(all_stored(store, bundles=not fleet), registry.installed)  # other hosts may lack a bundle
    if kernel is not None:
        kernel = _kernel(store, kernel, {miss.usage.problem.kernel for miss in served})
        served = [miss for miss in served if miss.usage.problem.kernel == kernel]
    if device is not None:
        missed = {miss.usage.device for miss in served}
        wanted = devices_named(missed, device)
        if not wanted:
            devices_of_list(store, device)  # says what the name may mean
        served = [miss for miss in served if miss.usage.device in wanted]
    return served


def _kernel(store: Store, typed: str, missed: Collection[str]) -> str:
    """Return the name of the kernel that is meant: one with misses, if there is one."""
    if typed in missed:
        return typed
    return with_module(typed, missed) or kernel_of_list(store, typed)


def _row(miss: ServedCount, loss_us: float | None, *, fleet: bool) -> dict[str, Any]:
    usage = miss.usage
    answered_in = layer(fleet=fleet) if miss.tuned else Layer.BUNDLE if miss.bundle else None
    return {
        "kernel": usage.problem.kernel,
        "problem": usage.problem.plain(),
        "device": usage.device.name,
        "arch": usage.device.arch,
        "served_by": usage.source,
        "count": usage.count,
        "hosts": miss.hosts,
        "loss_us": loss_us,
        "tuned": miss.tuned and miss.tuned.isoformat(),
        "layer": answered_in,
        "bundle": miss.bundle or None,
        "first_seen": usage.first_seen.isoformat(),
        "last_seen": usage.last_seen.isoformat(),
    }
