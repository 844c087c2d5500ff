"""`tunedb mark`: pin or quarantine a sweep."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from tunedb import registry, settings
from tunedb.cli.bundled import find_sweep, storing_about
from tunedb.cli.command import FormatOption, UidArgument, command, log
from tunedb.cli.output import Format, print_record
from tunedb.core.sweep import Mark, MarkKind, Sweep, now
from tunedb.errors import SettingError

if TYPE_CHECKING:
    from tunedb.store import Store


@command("mark")
def mark(
    uid: UidArgument,
    kind: Annotated[
        MarkKind,
        typer.Argument(help="pin: it wins; quarantine: it is never used; unpin, release: undo."),
    ],
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why. It is kept with the mark.")],
    format: FormatOption = Format.table,
) -> None:
    """Pin or quarantine a sweep, or undo that, and print which sweep wins now.

    Marks and their reasons are kept forever; they are exported and synchronised with their sweep. If the winner is
    quarantined, the sweep that it beat wins again.
    """
    if not reason.strip():
        raise SettingError("--reason: expected text, got nothing. Say why the sweep is marked.")
    with storing_about(uid) as store:
        sweep = find_sweep(store, uid)
        try:
            store.marks.put(sweep.uid, Mark.after(sweep.marks, kind, reason))
        except ValueError as error:
            raise SettingError(f"--reason: {error}.") from None
        winner = _winner_now(store, sweep)
    config = None if winner is None or winner[0].config is None else winner[0].config.plain()
    print_record(
        {
            "uid": sweep.uid,
            "mark": kind.value,
            "reason": reason,
            "kernel": sweep.problem.kernel,
            "problem": sweep.problem.plain(),
            "device": sweep.device.name,
            "wins": winner and winner[0].uid,
            "config": config,
            "source": winner and winner[1],
        },
        format,
    )


def _winner_now(store: Store, sweep: Sweep) -> tuple[Sweep, str] | None:
    """Return the winner of the sweep's problem on its device and its source, as a call would get it.

    If the kernel is not installed as it was tuned, returns the winner by rank.
    """
    from tunedb.cli.device import placement_on
    from tunedb.cli.tasks import make_tuner
    from tunedb.core.task import TuningTask
    from tunedb.store import winner
    from tunedb.tuner.pending import accepts
    from tunedb.tuner.session import with_bundles

    problem, device = sweep.problem, sweep.device
    kernel = registry.installed([problem.kernel]).get(problem.kernel)
    if kernel is None or kernel.hash != sweep.kernel_hash:
        log.info("No %s is installed with the source that was tuned, so no call here uses it.", problem.kernel)
        stored = with_bundles(store, settings.current()).get_sweeps(problem, device, sweep.kernel_hash)
        return winner(stored, None, now=now())
    if not accepts(kernel, problem, device):
        log.info("The installed %s does not know this problem, so no call here uses it.", problem.kernel)
        return None
    choice = make_tuner(store).look_up(TuningTask(kernel, problem, placement_on(device)))
    return None if choice is None or choice.sweep is None else (choice.sweep, choice.source)
