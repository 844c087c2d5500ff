"""The statements of a look-up as text, which SQLAlchemy and the quick reader run alike, on SQLite and PostgreSQL."""

from __future__ import annotations

from typing import Any

from tunedb.core.device import Device
from tunedb.core.problem import Problem
from tunedb.core.sweep import MarkKind, TrialOutcome, TrialStatus, UsageCount
from tunedb.store.sql import rows
from tunedb.store.sql.revision import VERSION_TABLE
from tunedb.store.sql.rows import MAX_TEXT

SWEEP = (
    "id", "uid", "problem_id", "device_id", "kernel_hash", "environment", "status", "complete", "config", "time_us",
    "default_time_us", "counts", "started", "finished", "expires", "origin", "host", "arrived",
)  # fmt: skip
MARK = ("id", "uid", "sweep_uid", "kind", "reason", "time")
CONFIRMATION = ("id", "uid", "sweep_uid", "environment", "time_us", "default_time_us", "time")
FACTS = ("kernel", "key", "name", "backend", "arch", "multiprocessors", "info")  # of a sweep's problem and device
HINT = ("kernel", "key", "device", "config", "tool", "place", "arrived")  # a look-up needs no evidence, which is long
TIMES = ("started", "finished", "expires", "arrived", "time")
NO_LIMIT = 2**31 - 1
MAX_ROWS = 10_000  # of one host's usage counts; beyond that those that were not seen for longest are removed
MAX_COUNT = 2**31 - 1  # of calls: what PostgreSQL's integers hold
MAX_SWEEPS = 500  # of one problem that a look-up reads, in 0.1 s: an import may bring any number
MAX_MARKS = 10_000  # of a page of sweeps; beyond that older ones, which say nothing any more, are left out
NEWEST = 10  # of each sweep and kind: some of them may be unreadable
PAGE = 200  # rows that one statement names by their ids; SQLite before 3.32 takes at most 999 parameters
MAX_HINTS = 1000  # of a kernel on a device, the newest: a bound for one query, as for sweeps of near problems
MAX_TRIED = 100_000  # trials of one sweep whose configs are read
_TEXTS = {
    *("uid", "kernel_hash", "environment", "status", "config", "counts", "origin", "host"),
    *("sweep_uid", "kind", "reason", "kernel", "key", "name", "backend", "arch", "info"),
    *("device", "tool", "place", "evidence"),
}


def identity(problem: Problem, device: Device, kernel_hash: str) -> dict[str, str]:
    """Return the parameters that identify a problem's sweeps."""
    return {"kernel": problem.kernel, "problem": problem.digest, "device": device.digest, "kernel_hash": kernel_hash}


def hint_values(kernel: str, device: str) -> dict[str, Any]:
    """Return the parameters of HINTS: other tools know a kernel by the name of its function, without the module."""
    return {"kernel": kernel, "function": kernel.rpartition(".")[2], "device": device, "most": MAX_HINTS}


def count_values(usage: UsageCount) -> dict[str, Any]:
    """Return the parameters of COUNT, but for the two times."""
    problem, device = rows.problem_values(usage.problem), rows.device_values(usage.device)
    return {
        **problem, "problem": problem["digest"], **device, "device": device["digest"],
        "host": usage.host, "source": str(usage.source), "day": usage.day, "count": usage.count, "max": MAX_COUNT,
    }  # fmt: skip


def _columns(table: str, names: tuple[str, ...]) -> str:
    """Return a SELECT's columns; a text that is longer than any that tunedb writes is cut off, as in `models`."""
    return ", ".join(_bounded(f"{table}.{name}", name) if name in _TEXTS else f"{table}.{name}" for name in names)


def _bounded(column: str, name: str) -> str:
    return (
        f"CASE WHEN length({column}) > {MAX_TEXT} THEN substr({column}, 1, {MAX_TEXT + 1}) ELSE {column} END AS {name}"
    )


_JOINED = "FROM sweep JOIN problem ON problem.id = sweep.problem_id JOIN device ON device.id = sweep.device_id"
_IDENTITY = (
    "problem.kernel = :kernel AND problem.digest = :problem AND device.digest = :device "
    "AND sweep.kernel_hash = :kernel_hash"
)
_ENDED = "CASE WHEN sweep.arrived < sweep.finished THEN sweep.arrived ELSE sweep.finished END"  # as in `ranking`
_IS_PINNED = f"EXISTS (SELECT 1 FROM mark WHERE mark.sweep_uid = sweep.uid AND mark.kind = '{MarkKind.PIN}')"
# Marks are few, and asked for only if there are any.
_OF_PROBLEM = (
    f"SELECT {_columns('sweep', SWEEP)}, EXISTS (SELECT 1 FROM mark WHERE mark.sweep_uid = sweep.uid) AS is_marked, "
    "EXISTS (SELECT 1 FROM confirmation WHERE confirmation.sweep_uid = sweep.uid) AS is_confirmed "
    f"{_JOINED} WHERE {_IDENTITY} AND sweep.status <> 'running'"
)
OF_PROBLEM = f"{_OF_PROBLEM} ORDER BY sweep.finished, sweep.uid LIMIT :most"
FIRST_OF_PROBLEM = (
    f"{_OF_PROBLEM} ORDER BY {_IS_PINNED} DESC, (sweep.origin = 'local') DESC, {_ENDED} DESC, sweep.uid DESC "
    "LIMIT :most"
)
# SQLite joins in the order of CROSS JOINs: by itself it would read every sweep of the device, of all kernels.
OF_KERNEL = (
    f"SELECT {_columns('sweep', SWEEP)}, {_columns('problem', FACTS[:2])}, {_columns('device', FACTS[2:])} "
    "FROM device CROSS JOIN problem CROSS JOIN sweep "
    "WHERE problem.id = sweep.problem_id AND device.id = sweep.device_id "
    "AND problem.kernel = :kernel AND device.digest = :device AND sweep.kernel_hash = :kernel_hash "
    f"AND sweep.status <> 'running' ORDER BY {_ENDED} DESC, sweep.uid LIMIT :most"
)
# The last to arrive, by an index: of a hundred thousand, the last to end would be sought among all.
NEWEST_WINNERS = (
    f"SELECT {_columns('sweep', SWEEP)}, {_columns('problem', FACTS[:2])}, {_columns('device', FACTS[2:])} "
    "FROM (SELECT sweep.id AS id FROM sweep JOIN problem ON problem.id = sweep.problem_id "
    "WHERE sweep.device_id = (SELECT device.id FROM device WHERE device.digest = :device) "
    "AND sweep.kernel_hash = :kernel_hash AND problem.kernel = :kernel AND sweep.status = 'tuned' "
    "ORDER BY sweep.id DESC LIMIT :most) AS newest JOIN sweep ON sweep.id = newest.id "
    "JOIN problem ON problem.id = sweep.problem_id JOIN device ON device.id = sweep.device_id ORDER BY sweep.id DESC"
)
WRONG_CONFIGS = (
    f"SELECT {_columns('trial', ('config',))} {_JOINED} JOIN trial ON trial.sweep_id = sweep.id "
    f"WHERE {_IDENTITY} AND sweep.environment = :environment AND sweep.origin = 'local' "
    f"AND trial.outcome <> '{TrialOutcome.KNOWN_FROM}' GROUP BY trial.config "
    f"HAVING max(CASE WHEN trial.status = '{TrialStatus.WRONG}' THEN trial.id ELSE 0 END) "
    f"> max(CASE WHEN trial.status = '{TrialStatus.OK}' THEN trial.id ELSE 0 END)"
)
HAS_UNFINISHED = (
    f"SELECT EXISTS (SELECT 1 {_JOINED} WHERE {_IDENTITY} AND sweep.environment = :environment "
    "AND (sweep.status IN ('running', 'aborted') OR NOT sweep.complete))"
)
_OTHER = (
    f"SELECT 1 {_JOINED} WHERE {_IDENTITY} AND sweep.environment = :environment AND sweep.uid <> :uid "
    "AND sweep.status = 'tuned' AND NOT EXISTS (SELECT 1 FROM mark WHERE mark.sweep_uid = sweep.uid "
    f"AND mark.kind = '{MarkKind.QUARANTINE}')"
)
HAS_OTHER = f"SELECT EXISTS ({_OTHER})"
# `since` is an expression of the database's own clock. What this host had swept before may arrive late, too.
HAS_NEW = (
    f"SELECT EXISTS ({_OTHER} AND sweep.arrived >= {{since}} "
    "AND NOT COALESCE(sweep.host = :host AND sweep.finished <= :started, 1 = 0))"
)
TRIED = (
    f"SELECT {_columns('trial', ('config',))} FROM trial JOIN sweep ON sweep.id = trial.sweep_id "
    f"WHERE sweep.uid = :sweep LIMIT {MAX_TRIED}"
)
HINTS = (
    f"SELECT {_columns('hint', HINT)} FROM hint WHERE hint.kernel IN (:kernel, :function) "
    "AND hint.device = :device ORDER BY hint.kernel <> :kernel, hint.id DESC LIMIT :most"
)
_ARE_ASKED = "mark.sweep_uid IN :sweeps"
MARKS = f"SELECT {_columns('mark', MARK)} FROM mark WHERE {_ARE_ASKED} ORDER BY mark.time, mark.uid LIMIT :most"
NEWEST_MARKS = (
    f"SELECT {_columns('mark', MARK)} FROM mark WHERE mark.id IN (SELECT aged.id FROM (SELECT mark.id AS id, "
    "row_number() OVER (PARTITION BY mark.sweep_uid, mark.kind ORDER BY mark.time DESC, mark.uid DESC) AS age "
    f"FROM mark WHERE {_ARE_ASKED}) AS aged WHERE aged.age <= :newest) ORDER BY mark.time, mark.uid"
)
CONFIRMATIONS = (
    f"SELECT {_columns('confirmation', CONFIRMATION)} FROM confirmation WHERE confirmation.sweep_uid IN :sweeps "
    "ORDER BY confirmation.time DESC, confirmation.uid LIMIT :most"
)
OWN_HOST = "INSERT INTO host (uid, name, own, origin) VALUES (:uid, :host, :host, 'local') ON CONFLICT (own) DO NOTHING"
# The facts of the problem and the device have to be as their digests say: an altered row is written again first.
COUNT = (
    "INSERT INTO miss (host_id, problem_id, device_id, served_by, day, count, first_seen, last_seen) "
    "SELECT host.id, problem.id, device.id, :source, :day, :count, :first_seen, :last_seen FROM host, problem, device "
    "WHERE host.own = :host AND host.origin = 'local' "
    "AND problem.kernel = :kernel AND problem.digest = :problem AND problem.key = :key "
    "AND device.digest = :device AND device.name = :name AND device.backend = :backend AND device.arch = :arch "
    "AND device.multiprocessors = :multiprocessors "
    "ON CONFLICT (host_id, problem_id, device_id, served_by, day) DO UPDATE SET last_seen = excluded.last_seen, "
    "count = CASE WHEN miss.count < :max - excluded.count THEN miss.count + excluded.count ELSE :max END"
)
COUNTS = "SELECT count(*) FROM miss WHERE host_id IN (SELECT id FROM host WHERE own = :host AND origin = 'local')"
# What commands list: the sweeps of every problem.
_WITH_FACTS = f"SELECT {_columns('sweep', SWEEP)}, {_columns('problem', FACTS[:2])}, {_columns('device', FACTS[2:])}"
ANY_DEVICE_OF_PROBLEM = (
    f"{_WITH_FACTS} {_JOINED} WHERE problem.kernel = :kernel AND problem.digest = :problem "
    "AND sweep.status <> 'running' ORDER BY sweep.finished, sweep.uid"
)
LISTED_IDS = (
    f"SELECT sweep.id {_JOINED} WHERE sweep.id IN (SELECT sweep.id {_JOINED} "
    "WHERE (:kernel IS NULL OR problem.kernel = :kernel) AND (:device_name IS NULL OR device.name = :device_name) "
    "AND (NOT :finished OR sweep.status <> 'running') ORDER BY sweep.id DESC LIMIT :latest) "
    "ORDER BY problem.kernel, problem.key, device.name, device.digest, sweep.finished IS NULL, sweep.finished, "
    "sweep.uid"
)
LISTED = f"{_WITH_FACTS} {_JOINED} WHERE sweep.id IN :ids"
SWEPT_DEVICES = (
    f"SELECT {_columns('device', FACTS[2:])} FROM device "
    "WHERE EXISTS (SELECT 1 FROM sweep JOIN problem ON problem.id = sweep.problem_id "
    "WHERE sweep.device_id = device.id AND sweep.status <> 'running' "
    "AND (CAST(:kernel AS TEXT) IS NULL OR problem.kernel = :kernel))"
)
TUNED_DEVICES = (
    f"SELECT {_columns('device', FACTS[2:])} FROM device WHERE EXISTS (SELECT 1 FROM sweep "
    "WHERE sweep.device_id = device.id AND sweep.kernel_hash = :kernel_hash AND sweep.status = 'tuned')"
)
TUNED_KERNELS = (
    f"SELECT DISTINCT {_columns('problem', ('kernel',))} FROM problem "
    "WHERE EXISTS (SELECT 1 FROM sweep WHERE sweep.problem_id = problem.id AND sweep.status = 'tuned')"
)
PROBLEMS_OF_KERNEL = (
    f"SELECT {_columns('problem', ('kernel', 'key'))} FROM problem WHERE problem.kernel = :kernel "
    "AND EXISTS (SELECT 1 FROM sweep WHERE sweep.problem_id = problem.id AND sweep.status <> 'running') "
    "ORDER BY problem.key"
)
TRIED_OF_KERNEL = (
    f"SELECT DISTINCT {_columns('trial', ('config',))} {_JOINED} JOIN trial ON trial.sweep_id = sweep.id "
    f"WHERE problem.kernel = :kernel "
    f"UNION SELECT {_columns('sweep', ('config',))} {_JOINED} "
    f"WHERE problem.kernel = :kernel AND sweep.config IS NOT NULL LIMIT {MAX_TRIED}"
)
KNOWN_UIDS = "SELECT sweep.uid FROM sweep WHERE sweep.uid IN :uids AND sweep.status <> 'running'"
REVISIONS = f"SELECT version_num FROM {VERSION_TABLE}"
