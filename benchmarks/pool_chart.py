"""The chart of `benchmarks.avg_pool1d`: how fast each function is on each problem, as a fraction of a copy's speed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import geometric_mean
from typing import Any

from benchmarks.pool_results import DIRECTIONS, LARGE_BYTES, Row

NAMES = {"ours": "tunedb", "compile": "torch.compile", "eager": "torch", "baseline": "a plain Triton kernel"}


def plot(results: Sequence[Row], path: Path) -> None:
    """Draw the large problems of each direction, ordered by what ours reaches of the copy; the names have that mean."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    large = [row for row in results if row["bytes"] >= LARGE_BYTES and row["of_copy"]]
    directions = [name for name in DIRECTIONS if any(row["direction"] == name for row in large)]
    figure, panels = pyplot.subplots(
        1, len(directions), figsize=(5.5 * len(directions), 3.8), sharey=True, squeeze=False
    )
    for direction, axes in zip(directions, panels[0], strict=True):
        rows = sorted((row for row in large if row["direction"] == direction), key=lambda row: -row["of_copy"])
        for number, (name, shown) in enumerate(NAMES.items()):
            points = {at: speed for at, row in enumerate(rows, 1) if (speed := of_copy(row, name)) is not None}
            if not points:
                continue
            label = f"{shown}: {geometric_mean(points.values()):.2f}"
            style: dict[str, Any] = {"marker": "o"} if name == "ours" else {"marker": ".", "linestyle": ""}
            axes.plot(list(points), list(points.values()), markersize=4, label=label, color=f"C{number}", **style)
        axes.axhline(1, color="black", linewidth=1)
        axes.set_title(f"{direction}, {len(rows)} problems")
        axes.set_xlabel("problems, ordered by tunedb's speed")
        axes.legend(title="geometric means", fontsize=8, title_fontsize=8, frameon=False, ncols=len(NAMES),
                    loc="upper center", bbox_to_anchor=(0.5, -0.18), columnspacing=1, handlelength=1)  # fmt: skip
    panels[0][0].set_ylim(0, 1.15)
    panels[0][0].set_ylabel("speed, of a copy of as many bytes")
    figure.suptitle(f"{large[0]['device']}: sampled average poolings that move 64 MiB or more")
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def of_copy(row: Row, name: str) -> float | None:
    """Return the speed of a function as a fraction of the copy's; None if it was not measured."""
    if name == "ours":
        return float(row["of_copy"])
    times = row["times"]
    return float(times["copy"]["median_us"]) / times[name]["median_us"] if name in times else None
