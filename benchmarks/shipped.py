"""Makes the bundle that the wheel ships: tunes a committed list on this GPU, and adds the winners to the file.

    python -m benchmarks.shipped --seconds 540
    python -m benchmarks.shipped --table

What the bundle holds for this GPU is not tuned again, so that the same command goes on where it stopped; --force tunes
again. What a budget cut short is not shipped, and tuned again in any case. The problems that models use most come
first. Results of other GPUs stay in the file. It holds one winner of each problem on each kind of GPU, that of the
newest versions. What was tuned with other code of the kernels, or is no longer on the list, is left out. The same
results give the same bytes. Needs an installed tunedb: pip install --editable .
"""

from __future__ import annotations

import argparse
import contextlib
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any

from benchmarks.cut_short import reopen
from tunedb import registry, settings
from tunedb.cli.shapes_file import located, read_shapes
from tunedb.core.problem import Problem
from tunedb.core.sweep import Sweep
from tunedb.store.bundle.reading import Bundle
from tunedb.store.bundle.sources import named
from tunedb.store.bundle.writing import bundle_bytes, write_bundle
from tunedb.store.layered import united
from tunedb.store.ranking import ended, winner

ROOT = Path(__file__).parent.parent
LIST, BUNDLE = (ROOT / "kernels" / "avg_pool" / name for name in ("problems.jsonl", "tuned.db"))
STORE = ROOT / "build" / "shipped.db"
KERNEL = "avg_pool1d"
TRIAL_S = 120.0  # as `tunedb warm` has it


def listed(path: Path) -> list[tuple[Problem, dict[str, Any]]]:
    """Return the problems of a list with their arguments, each followed by that of its gradient."""
    problems = []
    for line in read_shapes(path, KERNEL):
        with located(line.path, line.number):
            kernel = registry.kernel_named(line.kernel_name())
            gradient = registry.gradient_of(kernel)
            for member in (kernel, *([] if gradient is None else [registry.kernel_named(gradient)])):
                problems.append((member.problem(line.arguments), dict(line.arguments)))
    return problems


def selected(sweeps: Iterable[Sweep], problems: Iterable[Problem]) -> list[Sweep]:
    """Return what is shipped of these sweeps: one for each of the problems and each device, of today's kernels.

    One that was cut short is not: its user would never get anything better.
    """
    wanted = set(problems)
    hashes = {name: registry.kernel_named(name).hash for name in {problem.kernel for problem in wanted}}
    groups: dict[tuple[Problem, str], list[Sweep]] = defaultdict(list)
    for sweep in united(sweeps):
        is_current = sweep.problem in wanted and sweep.kernel_hash == hashes[sweep.problem.kernel]
        if is_current and sweep.leaves_its_store and sweep.complete:
            groups[sweep.problem, sweep.device.digest].append(sweep)
    best = []
    for group in groups.values():
        # Of the versions that were tuned or confirmed with last.
        tuned = [(ended(sweep, None), sweep.uid, sweep.environment) for sweep in group]
        confirmed = [(one.time, one.uid, one.environment) for sweep in group for one in sweep.confirmations]
        *_, newest = max([*tuned, *confirmed], key=itemgetter(0, 1))
        answer = winner([sweep for sweep in group if sweep.is_valid_in(newest)], newest)
        best += [] if answer is None else [answer[0]]
    return best


def tune(
    problems: Sequence[tuple[Problem, dict[str, Any]]], store: Path, bundle: Path, seconds: float, *, force: bool
) -> None:
    """Tune on the current device what neither the store nor the bundle answers, or all with `force`, into the store.

    A sweep that was cut short is not an answer: it is tuned again.
    """
    from tunedb.cli import host_tasks
    from tunedb.cli.device import index_to_run_on
    from tunedb.core.task import TuningTask
    from tunedb.runtime.current_device import placement_of
    from tunedb.store import open_store

    index = index_to_run_on()
    placement = placement_of(index)
    store.parent.mkdir(parents=True, exist_ok=True)
    bundles = [str(bundle)] if bundle.exists() else []
    with settings.using(store=str(store), shared=None, bundles=bundles, mode="tune"), open_store(str(store)) as opened:
        reopen(opened, in_bundle(bundle))
        host_tasks.tune(
            [TuningTask(registry.kernel_named(of.kernel), of, placement, arguments) for of, arguments in problems],
            opened, host_tasks.slots_to_use(index, None, None), force=force, keeps_order=True, budget=seconds,
            step=TRIAL_S,
        )  # fmt: skip


def in_store(path: Path) -> list[Sweep]:
    """Return the sweeps of a store with their trials; an empty list without a store."""
    from tunedb.store import open_store

    store = open_store(str(path), create=False)
    if store is None:
        return []
    with store:
        return list(store.iter_sweeps(with_trials=True))


def in_bundle(path: Path) -> list[Sweep]:
    """Return the sweeps of a bundle; an empty list without a file."""
    if not path.exists():
        return []
    with contextlib.closing(Bundle(named([str(path)])[0])) as bundle:
        return list(bundle.iter_sweeps())


def table(sweeps: Sequence[Sweep], problems: Sequence[Problem], size: int) -> str:
    """Say how many problems of the list each kind of GPU has, with which versions, and how large the file is."""
    kinds = Counter((str(sweep.device), sweep.environment) for sweep in sweeps)
    lines = [
        f"{device}: {count} of {len(set(problems))} (Triton {of.triton}, torch {of.torch}, driver {of.driver})"
        for (device, of), count in sorted(kinds.items(), key=str)
    ]
    return "\n".join([*(lines or ["The bundle has no rows."]), f"{size} bytes"])


def main(words: list[str] | None = None) -> None:
    """Tune for so many seconds, write the bundle, and print what it holds."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.shipped", description=__doc__.splitlines()[0])
    parser.add_argument("--list", type=Path, default=LIST, help="the problems, as `tunedb warm --from` reads them")
    parser.add_argument("--bundle", type=Path, default=BUNDLE, help="the bundle to complete")
    parser.add_argument("--out", type=Path, help="where to write it; by default in its place")
    parser.add_argument("--store", type=Path, default=STORE, help="where the sweeps with all their trials are kept")
    parser.add_argument("--seconds", type=float, default=math.inf, help="stop tuning after so long")
    parser.add_argument("--force", action="store_true", help="tune again what the bundle holds")
    parser.add_argument("--table", action="store_true", help="only print what the bundle holds")
    options = parser.parse_args(words)
    if KERNEL not in registry.kernel_names():
        raise SystemExit("tunedb is not installed, so that its kernels are not found. Run: pip install --editable .")
    problems = listed(options.list)
    names = [problem for problem, _ in problems]
    if options.table:
        print(table(in_bundle(options.bundle), names, options.bundle.stat().st_size if options.bundle.exists() else 0))
        return
    tune(problems, options.store, options.bundle, options.seconds, force=options.force)
    content, _ = bundle_bytes(
        selected([*in_store(options.store), *in_bundle(options.bundle)], names), only_winners=True
    )
    out = options.out or options.bundle
    write_bundle(out, content)
    print(table(in_bundle(out), names, len(content)))


if __name__ == "__main__":
    main()
