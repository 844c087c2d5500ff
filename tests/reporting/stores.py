"""Stores to report: sweeps whose times follow from their numbers, on two devices, in every state."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

from tests.store.samples import ENVIRONMENT, HASH, NOON
from tunedb.core.device import Device, Environment
from tunedb.core.problem import Config, Problem
from tunedb.core.sweep import Mark, MarkKind, Source, Sweep, Trial, UsageCount
from tunedb.store import Store, open_store
from tunedb.store.sql.rows import counts_of

A = Device("NVIDIA A100", "cuda", "sm_80", 108)
B = Device("NVIDIA H100", "cuda", "sm_90", 132)
OLD = Environment("3.6.0", "2.11.0", "550.54", "events-2")
BLOCKS, WARPS = (64, 128, 256, 512), (1, 2, 4, 8)


def uid(*numbers: object) -> str:
    """A uid that is the same in every run."""
    import hashlib

    return hashlib.sha256(repr(numbers).encode()).hexdigest()[:32]


def time_of(device: Device, n: int, block: int, warps: int) -> float:
    """The time of a config: the best block differs between devices and problems, warps matter little."""
    best = BLOCKS[(n + (device is B)) % len(BLOCKS)]
    return 10.0 * (1 + n) * (1 + 0.5 * abs(BLOCKS.index(block) - BLOCKS.index(best))) + WARPS.index(warps) * 0.25


def trials(device: Device, n: int, most: int = 16) -> list[Trial]:
    """The trials of a problem: the last two fail."""
    made = []
    for place, (block, warps) in enumerate((block, warps) for block in BLOCKS for warps in WARPS):
        config, one = Config.of(BLOCK=block, num_warps=warps), uid("trial", device.name, n, place)
        if place >= most:
            break
        if place >= most - 2:
            status, error = (
                ("out_of_resources", "needs 300 KiB of shared memory"),
                ("wrong", "3 of 8 outputs differ"),
            )[place % 2]
            made.append(Trial(config, status, error=error, uid=one))  # type: ignore[arg-type]  # stored as texts
            continue
        time = time_of(device, n, block, warps)
        resources = {
            "registers": 24 + 8 * BLOCKS.index(block),
            "spills": 0 if block < 512 else 16,
            "shared_bytes": 1024,
        }
        made.append(Trial(config, "ok", time, time * 0.98, time * 1.03, 20, 0.5, **resources, uid=one))  # type: ignore[arg-type]
    return made


def made(
    device: Device,
    n: int,
    kernel: str = "pool",
    environment: Environment = ENVIRONMENT,
    hours: int = 0,
    marks: tuple[Mark, ...] = (),
) -> Sweep:
    """A tuned sweep of a problem; its default is the first config."""
    of_sweep = trials(device, n)
    best = min((one for one in of_sweep if one.time_us), key=lambda one: one.time_us or 0.0)
    return Sweep(
        Problem.of(kernel, n=n, dtype_name="float32", layout="rows"),
        device,
        HASH,
        environment,
        "tuned",  # type: ignore[arg-type]
        config=best.config,
        time_us=best.time_us,
        default_time_us=of_sweep[0].time_us,
        started=NOON,
        finished=NOON + timedelta(hours=hours, seconds=n),
        trials=tuple(sorted(of_sweep, key=lambda one: one.uid)),
        counts=counts_of(of_sweep),
        marks=marks,
        host="node7",
        uid=uid("sweep", device.name, kernel, n, environment.triton),
    )


def failed(device: Device, n: int) -> Sweep:
    """A sweep that found no config."""
    of_sweep = trials(device, n, most=2)
    return Sweep(
        Problem.of("pool", n=n, dtype_name="float32", layout="rows"),
        device,
        HASH,
        ENVIRONMENT,
        "failed",  # type: ignore[arg-type]
        started=NOON,
        finished=NOON + timedelta(hours=1),
        trials=tuple(of_sweep),
        counts=counts_of(of_sweep),
        uid=uid("failed", device.name, n),
    )


def population() -> list[Sweep]:
    """Six problems on two devices and in every state but `missed`."""
    bad = (Mark(MarkKind.QUARANTINE, "wrong", NOON, uid("mark")),)
    return [
        *(made(device, n, hours=1) for device in (A, B) for n in range(4)),
        made(A, 4, environment=OLD),
        made(B, 4, marks=bad),
        failed(A, 5),
        made(A, 1, kernel="other"),
    ]


MISSED = UsageCount(
    Problem.of("pool", n=9, dtype_name="float32", layout="rows"), B, Source.DEFAULT, 7, NOON, NOON, "node7"
)


def many(sweeps: int = 625) -> Iterator[Sweep]:
    """10,000 trials."""
    for n in range(sweeps):
        yield made((A, B)[n % 2], n // 2, kernel=("pool", "softmax", "norm", "matmul")[n % 8 // 2])


def fill(store: Store, sweeps: list[Sweep] | None = None) -> None:
    """Put sweeps, with their marks, and a miss into a store."""
    sweeps = population() if sweeps is None else sweeps
    store.put_sweeps(sweeps)
    for sweep in sweeps:
        for mark in sweep.marks:
            store.marks.put(sweep.uid, mark)
    store.add_usage([MISSED])


def filled(path: Path, sweeps: list[Sweep] | None = None) -> Path:
    """Make a store in a file."""
    with open_store(f"sqlite:///{path}") as store:
        fill(store, sweeps)
    return path
