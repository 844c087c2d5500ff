"""Makes the file of this version's schema, to be kept for ever: python -m tests.store.assets.make

Run it when a revision is about to be released, and add the file. One that is there is never made again: it is what
people have.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from tunedb.core.device import Device, Environment
from tunedb.core.problem import Config, Problem
from tunedb.core.sweep import Mark, MarkKind, Source, Sweep, SweepStatus, Trial, TrialOutcome, TrialStatus, UsageCount
from tunedb.store import open_store
from tunedb.store.sql import schema
from tunedb.store.sql.rows import counts_of

FOLDER = Path(__file__).parent
NOON = datetime(2026, 8, 22, 12, 0, 0, 123456, tzinfo=UTC)
DEVICES = (
    Device("NVIDIA H200", "cuda", "sm_90", 132, {"memory_bytes": 150_000_000_000}),
    Device("AMD Instinct MI300X", "hip", "gfx942", 304, {}),
)
ENVIRONMENT = Environment("3.8.0", "2.13.0", "580.65.06", "1")
HASH = "c0ffee" + "0" * 58
MARKS = {
    0: Mark(MarkKind.QUARANTINE, "gives wrong results with driver 570", NOON + timedelta(hours=1), f"{1:032x}"),
    3: Mark(MarkKind.PIN, "measured by hand; naïve", NOON + timedelta(hours=2), f"{2:032x}"),
}


def problem(n: int) -> Problem:
    """A problem with facts of every type."""
    return Problem.of("avg_pool1d", n=n, padding=None, scale=0.5, exact=True, dtype_name="float32", layout="rows")


def sweeps() -> list[Sweep]:
    """Tuned ones, two of them of one problem, one that failed and one that was aborted, on two devices."""
    return [_sweep(number, *about) for number, about in enumerate(
        [(1, 0, "tuned"), (1, 0, "tuned"), (2, 0, "tuned"), (3, 0, "tuned"), (3, 1, "tuned"), (4, 0, "failed"),
         (5, 1, "aborted")]
    )]  # fmt: skip


def served() -> list[UsageCount]:
    """A hit, and misses that are left."""
    return [
        UsageCount(problem(n), DEVICES[0], Source(source), count, NOON, NOON + timedelta(minutes=count), "node7")
        for n, source, count in ((1, "store", 5), (8, "default", 3), (9, "nearest", 2))
    ]


def _sweep(number: int, n: int, device: int, status: str) -> Sweep:
    tuned = status == "tuned"
    trials = (
        Trial(
            Config.of(BLOCK=128, num_warps=4), TrialStatus.OK if tuned else TrialStatus.WRONG,
            12.5 + number, 12.25, 14.0, 50, 0.75, 32, 0,
            1024, uid=f"{1000 * number + 1:032x}",
        ),
        Trial(
            Config.of(BLOCK=4096, num_warps=8), TrialStatus.OUT_OF_RESOURCES,
            error="shared memory: 300000 > 232448", uid=f"{1000 * number + 2:032x}",
        ),
        Trial(
            Config.of(BLOCK=64, num_warps=4), TrialStatus.PRUNED, error="too slow",
            outcome=TrialOutcome.DUPLICATE_OF, reference=f"{1000 * number + 2:032x}", uid=f"{1000 * number + 3:032x}",
        ),
        Trial(
            Config.of(BLOCK=32, num_warps=4), TrialStatus.TIMEOUT, error="nothing happened for 60 s",
            outcome=TrialOutcome.KNOWN_FROM, reference=f"{99:032x}", uid=f"{1000 * number + 4:032x}",
        ),
        Trial(
            Config.of(BLOCK=16, num_warps=4), TrialStatus.RUNTIME_ERROR, error="an illegal memory access",
            outcome=TrialOutcome.LOST_DEVICE, uid=f"{1000 * number + 5:032x}",
        ),
    )  # fmt: skip
    return Sweep(
        problem(n),
        DEVICES[device],
        HASH,
        ENVIRONMENT,
        SweepStatus(status),
        complete=status != "aborted",
        config=trials[0].config if tuned else None,
        time_us=trials[0].time_us if tuned else None,
        default_time_us=20.0 if tuned else None,
        started=NOON + timedelta(minutes=number),
        finished=NOON + timedelta(minutes=number, seconds=30),
        expires=NOON + timedelta(days=1) if status == "failed" else None,
        trials=trials,
        counts=counts_of(trials),
        marks=(MARKS[number],) if number in MARKS else (),
        origin="imported" if number % 2 else "local",
        host="node7",
        uid=f"{number + 1:032x}",
    )


def main() -> None:
    """Make the file."""
    path = FOLDER / f"v{schema.HEAD}.db"
    if path.exists():
        raise SystemExit(f"{path} is there: people have such files, so it stays as it is.")
    with open_store(str(path)) as store:
        store.put_sweeps(sweeps())
        store.add_usage(served())
    Path(f"{path}.lock").unlink(missing_ok=True)
    path.chmod(0o644)


if __name__ == "__main__":
    main()
