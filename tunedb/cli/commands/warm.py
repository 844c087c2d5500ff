"""`tunedb warm`: tune ahead of the calls."""

from __future__ import annotations

import math
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tunedb import registry, settings
from tunedb._internal.setting_values import OFF
from tunedb.cli import completion
from tunedb.cli.command import TRIAL_TIMEOUT_HELP, FleetOption, FormatOption, command, log
from tunedb.cli.opening import reading, writing
from tunedb.cli.output import Format, print_rows
from tunedb.cli.shapes_file import located, read_shapes
from tunedb.cli.store_words import store_option
from tunedb.errors import SettingError

if TYPE_CHECKING:
    from tunedb.core.task import TuningTask
    from tunedb.store import Store

_COLUMNS = ("kernel", "problem", "config", "time_us", "default_time_us", "speedup", "source")


@command(
    "warm",
    takes_problem=True,
    runs_kernels=True,
    interrupted="What was tuned is stored: run the same command again to continue.",
)
def warm(
    arguments: dict[str, Any],
    kernel: Annotated[
        str | None,
        typer.Argument(
            help="A kernel's name, followed by the options of its problem.", autocompletion=completion.kernels
        ),
    ] = None,
    shapes: Annotated[
        Path | None,
        typer.Option(
            "--from",
            metavar="FILE",
            help='Tune each line of a file, such as {"shape": [64, 128, 65536], "kernel_size": 8}. A line may name its '
            '"kernel"; the default is KERNEL, or the only kernel with such arguments.',
        ),
    ] = None,
    from_misses: Annotated[
        bool, typer.Option("--from-misses", help="Tune what calls found nothing stored for, the most costly first.")
    ] = False,
    fleet: FleetOption = False,
    stale: Annotated[
        bool,
        typer.Option(
            "--stale",
            help="Tune again what was tuned with other versions of Triton, torch or the driver; KERNEL limits it to "
            "one kernel.",
        ),
    ] = False,
    incomplete: Annotated[
        bool,
        typer.Option(
            "--incomplete",
            help="Finish sweeps that were cut short, aborted or interrupted; KERNEL limits it to one kernel.",
        ),
    ] = False,
    bundles: Annotated[
        bool,
        typer.Option(
            "--bundles",
            help="With --stale and --incomplete: also what only bundles have, tunedb's own included, and no call on "
            "this machine was counted for.",
        ),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List what would be tuned and how long it would take; tune nothing.")
    ] = False,
    budget: Annotated[
        float,
        typer.Option(
            "--budget", metavar="SECONDS", min=0, help="Stop after this time, and keep the best configs found so far."
        ),
    ] = math.inf,
    trial_timeout: Annotated[
        float,
        typer.Option("--trial-timeout", metavar="SECONDS", min=0, help=TRIAL_TIMEOUT_HELP),
    ] = 120.0,
    forward_only: Annotated[bool, typer.Option("--forward-only", help="Don't tune gradients.")] = False,
    devices: Annotated[
        str | None,
        typer.Option(
            "--devices",
            metavar="all|0,2|UUID",
            help="The GPUs to use, by index or UUID, of those that CUDA_VISIBLE_DEVICES shows. The default is all.",
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option("--workers", metavar="N", min=1, help="Without a GPU: tune in this number of processes."),
    ] = None,
    force: Annotated[
        bool,
        typer.Option(
            "--force",
            help="Also tune what is stored already, without its former trials, and measure the GPU's copy rate again.",
        ),
    ] = False,
    dask: Annotated[
        str | None,
        typer.Option(
            "--dask",
            metavar="ADDRESS",
            help="Tune on the workers of the Dask cluster whose scheduler is at HOST:PORT, and store the results here.",
        ),
    ] = None,
    format: FormatOption = Format.table,
) -> None:
    """Tune ahead of calls: one problem, a file of problems, what calls missed, or what is stale or incomplete.

    Problems that are stored already or that a bundle answers are skipped; of bundles, `--stale` and `--incomplete` take
    what calls on this machine got, and with `--bundles` all. With `--fleet` bundles don't count: other hosts may lack
    them. A kernel's gradient is tuned with it. Every GPU of this host is used, and the problems that take longest come
    first. A problem that another process is tuning is skipped, and looked at again at the end.

    On a GPU, configs are timed in a child process: one that hangs or crashes counts as failed, and the run goes on.
    Without a GPU, kernels run in Triton's interpreter, whose times say nothing about a GPU. Exit code 1 if a problem
    ended without a config, or was not reached.
    """
    again = stale or incomplete
    sources = (kernel is not None and not again and shapes is None, shapes is not None, from_misses, stale, incomplete)
    if fleet and not from_misses:
        raise SettingError("warm: --fleet says whose misses to tune. Add --from-misses.")
    if bundles and not again:
        raise SettingError("warm: --bundles is for --stale and --incomplete. Add one of them.")
    if sum(sources) != 1 or (arguments and not sources[0]) or (kernel is not None and from_misses):
        raise SettingError(
            "warm: expected either a kernel and its problem's options, or --from-misses, or one of --from FILE, "
            "--stale and --incomplete with or without a kernel. See: tunedb warm --help"
        )
    if dask is not None and (from_misses or again or devices or workers or not math.isinf(budget)):
        raise SettingError(
            "--dask: expected a kernel and its problem's options, or --from FILE; and neither --budget, --devices nor "
            "--workers, as each worker has its own GPU."
        )
    lines = read_shapes(shapes, kernel) if shapes is not None else []

    from tunedb.cli.device import index_to_run_on
    from tunedb.cli.host_tasks import slots_to_use, tune
    from tunedb.cli.plan import print_plan
    from tunedb.cli.tasks import tasks_of
    from tunedb.fleet.early_workers import EarlyWorkers
    from tunedb.fleet.slots import on_slots
    from tunedb.runtime.current_device import placement_of

    index = index_to_run_on()
    slots = [] if dask is not None else slots_to_use(index, devices, workers)
    is_known = not dry_run and (shapes is not None or sources[0])  # what is to be tuned, without asking the store
    # What a bundle of this host answers, other hosts of the fleet may miss.
    counted = settings.using(bundles=OFF) if fleet else nullcontext()
    with EarlyWorkers() as early, counted:
        if is_known:
            kernels = {line.kernel for line in lines if line.kernel is not None} or ({kernel} if kernel else ())
            early.start(slots, max(len(lines), 1), kernels)
        placement = slots[0].placement if slots else placement_of(index)
        tasks: list[TuningTask] = []
        if kernel is not None:
            registry.kernel_named(kernel)  # raises if there is no such kernel
        if kernel is not None and sources[0]:
            tasks += tasks_of(kernel, arguments, placement, forward_only=forward_only)
        for line in lines:
            with located(line.path, line.number):
                tasks += tasks_of(line.kernel_name(), line.arguments, placement, forward_only=forward_only)
        with reading() if dry_run else writing() as store:
            if from_misses or again:
                kind = "incomplete" if incomplete else "stale" if stale else "missed"
                indices = {slot.device.digest: slot.here for slot in reversed(slots) if slot.here is not None}
                for here in reversed(indices.values()) if slots else [index]:
                    tasks += _pending(
                        store, here, kernel, kind, fleet=fleet, bundles=bundles, forward_only=forward_only
                    )  # fmt: skip
            elif slots:
                tasks = on_slots(tasks, slots)
            tasks = list({(task.kernel.name, task.problem, task.device.digest): task for task in tasks}.values())
            if dry_run or store is None:
                print_plan(tasks, store, format, force=force or again)
                return
            if dask is not None:
                from tunedb.cli.dask_tasks import tune_on_dask

                rows = tune_on_dask(dask, tasks, store, force=force, step=trial_timeout)
            else:
                rows = tune(
                    tasks, store, slots, force=force or again, from_nothing=force, keeps_order=from_misses,
                    budget=budget, step=trial_timeout, early=early,
                )  # fmt: skip
    print_rows(rows, format, _COLUMNS)
    if len(rows) < len(tasks) or any(row["config"] is None for row in rows):
        raise typer.Exit(1)


def _pending(
    store: Store | None,
    index: int,
    kernel: str | None,
    kind: str,
    *,
    fleet: bool,
    bundles: bool,
    forward_only: bool,
) -> list[TuningTask]:
    from tunedb.cli.bundled import all_stored, unused_note
    from tunedb.cli.tasks import make_tuner
    from tunedb.tuner import pending

    if kind == "missed":
        with reading(fleet=True) if fleet else nullcontext(store) as counted:
            work = pending.missed(all_stored(counted), index, registry.installed)
    else:
        select = pending.stale if kind == "stale" else pending.incomplete
        work = select(all_stored(store), make_tuner(store), index, registry.installed, kernel, unused=bundles)
    for sentence in work.left_out:
        log.info("%s", sentence)
    gradients = registry.gradient_names() if forward_only else ()
    left = sum(task.kernel.name not in gradients for task in work.unused)
    of_kernel, only = f" {kernel}" if kernel else "", " --forward-only" if forward_only else ""
    what = "stale winner" if kind == "stale" else "incomplete result"
    if note := unused_note(left, what, "tune", f"tunedb warm{of_kernel} --{kind} --bundles{only}{store_option()}"):
        log.info("%s", note)
    tasks = [task for task in work.tasks if task.kernel.name not in gradients]
    if not tasks:
        nothing = {"missed": "No misses", "stale": "Nothing stale", "incomplete": "Nothing incomplete"}[kind]
        others = f": {len(work.left_out)} left out, as said above" if work.left_out else ""
        log.info("%s to tune on the current device%s.", nothing, others)
    return tasks
