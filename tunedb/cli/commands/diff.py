"""`tunedb diff`: how the winners of two stores, devices or environments differ."""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Any

import typer

from tunedb.cli.bundled import all_stored
from tunedb.cli.command import FormatOption, KernelOption, command, log
from tunedb.cli.opening import reading
from tunedb.cli.output import Format, print_rows
from tunedb.core.device import Environment
from tunedb.core.sweep import Sweep
from tunedb.reporting.sides import Kind, Side, common_kind, compared, sides_of_places, sides_of_stored
from tunedb.store.difference import Pair, Verdict

_COLUMNS = ("kernel", "problem", "device_a", "device_b", "verdict", "config_a", "config_b", "change", "loss_of_a")
_SIDE = "A store, a bundle or an exported file (path or URL), a stored device, or an environment such as triton=3.8.0."
_FIELDS = Environment.__slots__


@command("diff")
def diff(
    source: Annotated[str, typer.Argument(metavar="A", help=_SIDE)],
    target: Annotated[str, typer.Argument(metavar="B", help="Another one of the same kind.")],
    kernel: KernelOption = None,
    all_: Annotated[bool, typer.Option("--all", help="Also problems whose configs are the same.")] = False,
    format: FormatOption = Format.table,
) -> None:
    """Compare the winners of two stores, devices or environments, problem by problem.

    - `verdict`: `flip` if the winning configs differ; `only A` or `only B` if only that side has the problem.
    - `loss_of_a`: how much slower A's config was than B's when B was tuned (0.05 is 5 %), if it was timed then.
    - `change`: the two winners' times compared. They come from different sweeps.

    Devices and environments are those of the local store and the bundles. Exit code 1 if anything differs.
    """
    pairs = compared(*_sides(source, target, [kernel] if kernel else [])).pairs
    differing = [pair for pair in pairs if pair.verdict is not Verdict.SAME]
    print_rows(map(_row, pairs if all_ else differing), format, _COLUMNS)
    counts = Counter(pair.verdict for pair in pairs)
    log.info("%s", ", ".join(f"{counts[verdict]} {verdict}" for verdict in Verdict))
    if differing:
        raise typer.Exit(1)


def _sides(source: str, target: str, kernels: list[str]) -> tuple[Side, Side]:
    if common_kind(source, target) is Kind.STORE:
        return sides_of_places(source, target, kernels=kernels)
    with reading(announced=False) as store:
        return sides_of_stored(source, target, all_stored(store), kernels=kernels)


def _row(pair: Pair) -> dict[str, Any]:
    return {
        "kernel": pair.problem.kernel,
        "problem": pair.problem.plain(),
        "verdict": str(pair.verdict),
        **_side("a", pair.a),
        **_side("b", pair.b),
        "change": _more(pair.ratio),
        "loss_of_a": _more(pair.cost_on_b),
        "loss_of_b": _more(pair.cost_on_a),
    }


def _more(ratio: float | None) -> float | None:
    return None if ratio is None else ratio - 1


def _side(name: str, sweep: Sweep | None) -> dict[str, Any]:
    return {
        f"device_{name}": sweep and sweep.device.name,
        f"config_{name}": sweep and sweep.config and sweep.config.plain(),
        f"time_us_{name}": sweep and sweep.time_us,
        f"uid_{name}": sweep and sweep.uid,
        f"environment_{name}": sweep and {field: getattr(sweep.environment, field) for field in _FIELDS},
    }
