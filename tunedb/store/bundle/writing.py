"""Writes bundles: which sweeps go into one, and the bytes that follow from them."""

from __future__ import annotations

import contextlib
import sqlite3
import tempfile
import uuid
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tunedb._internal import safe_path
from tunedb.core.canonical import canonical
from tunedb.core.device import Device
from tunedb.core.sweep import Sweep, Trial, TrialStatus, now
from tunedb.store.bundle import file_format
from tunedb.store.ranking import ended, ranked, winner
from tunedb.store.sql import rows


def select_sweeps(sweeps: Iterable[Sweep], *, only_winners: bool) -> list[Sweep]:
    """Return the sweeps that a bundle holds of these: what would answer a call, of each kernel as it was tuned last.

    With `only_winners` these are the winners in each environment that a sweep was tuned or confirmed in. A pinned
    winner is the only one of its problem: marks stay in their store, so that a bundle never beats what was measured
    where it is used.
    """
    groups: dict[tuple[str, str, str], list[Sweep]] = defaultdict(list)
    moment = now()
    for sweep in sweeps:
        groups[sweep.problem.kernel, sweep.problem.key, sweep.device.digest].append(sweep)
    selected: list[Sweep] = []
    for group in groups.values():
        able = [sweep for sweep, _ in ranked(group, None, now=moment)]
        if not able:
            continue
        latest = max(able, key=lambda sweep: (ended(sweep, moment), sweep.uid)).kernel_hash
        able = [sweep for sweep in able if sweep.kernel_hash == latest]
        if only_winners or able[0].is_pinned:
            environments = {environment for sweep in able for environment in sweep.environments}
            best = (winner(able, environment, now=moment) for environment in environments)
            able = list({answer[0].uid: answer[0] for answer in best if answer is not None}.values())
        selected += able
    return selected


def bundle_bytes(sweeps: Iterable[Sweep], *, only_winners: bool) -> tuple[bytes, int]:
    """Return a bundle of the sweeps that `select_sweeps` selects, and how many they are.

    The sweeps come with their trials. With `only_winners` a sweep keeps the trials of its own config; it counts as
    covering the search space all the same. Its confirmations go with it. Names of hosts, texts of errors, which hold
    paths, and marks are left out. Raises ValueError for a sweep that no store would take.
    """
    selected = sorted(select_sweeps(sweeps, only_winners=only_winners), key=_order)
    for sweep in selected:
        rows.check_sweep(sweep)
        rows.check_winner(sweep)
    return file_format.sealed(_database(selected, only_winners=only_winners)), len(selected)


def _database(sweeps: Sequence[Sweep], *, only_winners: bool) -> bytes:
    with tempfile.TemporaryDirectory(prefix="tunedb-") as folder:
        path = Path(folder, "bundle.db")
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as database:
            # Of the first three, what a library was built with would decide otherwise.
            for pragma in (
                *(f"page_size={file_format.PAGE_SIZE}", "encoding='UTF-8'", "auto_vacuum=NONE", "secure_delete=ON"),
                *(f"application_id={file_format.APPLICATION_ID}", f"user_version={file_format.VERSION}"),
            ):
                database.execute(f"PRAGMA {pragma}")
            for table in file_format.TABLES.values():
                database.execute(table)
            database.execute("BEGIN")
            _insert(database, sweeps, only_winners=only_winners)
            database.execute("COMMIT")
            database.execute("VACUUM")  # so that no page holds what was moved off it
            roots = [1, *(page for (page,) in database.execute("SELECT rootpage FROM sqlite_master"))]
        return file_format.without_leftovers(path.read_bytes(), roots)


def write_bundle(path: Path, content: bytes) -> None:
    """Write the file as a whole, in the place of an older one. Raises OSError."""
    path = safe_path.resolve(path)
    part = path.with_name(f".{uuid.uuid4().hex}.part")
    try:
        with part.open("xb") as file:
            file.write(content)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _order(sweep: Sweep) -> tuple[Any, ...]:
    kernel = sweep.problem.kernel, sweep.kernel_hash
    return kernel, sweep.device.digest, sweep.problem.key, sweep.finished, sweep.uid


def _insert(database: sqlite3.Connection, sweeps: Sequence[Sweep], *, only_winners: bool) -> None:
    devices: dict[str, Device] = {}
    for sweep in sorted(sweeps, key=lambda sweep: canonical(sweep.device.info)):  # of several facts the same ones win
        devices[sweep.device.digest] = sweep.device
    keys = {environment.key for sweep in sweeps for environment in sweep.environments}
    environments = {key: number for number, key in enumerate(sorted(keys), 1)}
    kernels = sorted({(sweep.problem.kernel, sweep.kernel_hash) for sweep in sweeps})
    for number, (_, device) in enumerate(sorted(devices.items()), 1):
        _put(database, "device", {"id": number, **rows.device_values(device)})
    for key, number in environments.items():
        _put(database, "environment", {"id": number, "key": key})
    for number, (name, digest) in enumerate(kernels, 1):
        _put(database, "kernel", {"id": number, "name": name, "hash": digest})
    kernel_ids = {kernel: number for number, kernel in enumerate(kernels, 1)}
    device_ids = {digest: number for number, digest in enumerate(sorted(devices), 1)}
    for number, sweep in enumerate(sweeps, 1):
        assert sweep.config is not None
        assert sweep.finished is not None
        values = {
            "kernel": kernel_ids[sweep.problem.kernel, sweep.kernel_hash],
            "device": device_ids[sweep.device.digest],
            "problem": sweep.problem.key,
            "id": number,
            "uid": sweep.uid,
            "environment": environments[sweep.environment.key],
            "complete": int(sweep.complete),
            "config": sweep.config.key,
            "time_us": sweep.time_us,
            "default_time_us": sweep.default_time_us,
            "counts": canonical(dict(sweep.counts)),
            "started": rows.text_from_time(sweep.started),
            "finished": rows.text_from_time(sweep.finished),
        }
        _put(database, "sweep", values)
        for uid, confirmation in sorted({one.uid: one for one in sweep.confirmations}.items()):
            facts = {
                "environment": environments[confirmation.environment.key],
                "time_us": confirmation.time_us,
                "default_time_us": confirmation.default_time_us,
                "time": rows.text_from_time(confirmation.time),
            }
            _put(database, "confirmation", {"sweep": number, "uid": uid, **facts})
        for trial in sorted(sweep.trials, key=lambda trial: trial.uid):
            if not only_winners or (trial.config == sweep.config and trial.status == TrialStatus.OK):
                _put(database, "trial", {"sweep": number, **_trial_values(trial)})


def _trial_values(trial: Trial) -> dict[str, Any]:
    values = rows.trial_values(trial)
    del values["error"]
    return values


def _put(database: sqlite3.Connection, table: str, values: Mapping[str, Any]) -> None:
    places = ", ".join(f":{name}" for name in values)
    database.execute(f"INSERT INTO {table} ({', '.join(values)}) VALUES ({places})", values)
