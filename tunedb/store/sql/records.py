"""Records from rows, which have a column's value as an attribute, as SQLAlchemy's and the quick reader's have.

A row that this version can't read raises StoreError, so that it spoils no other one.
"""

from __future__ import annotations

import contextlib
import functools
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from tunedb.core.canonical import canonical, parse_json
from tunedb.core.device import Device, Environment
from tunedb.core.hint import Hint
from tunedb.core.problem import Config, Problem
from tunedb.core.sweep import (
    Confirmation,
    Layer,
    Mark,
    MarkKind,
    Source,
    Sweep,
    SweepStatus,
    Trial,
    TrialOutcome,
    TrialStatus,
    UsageCount,
)
from tunedb.errors import StoreError
from tunedb.store.sql.rows import (
    MAX_TEXT,
    NUMBERS,
    TIMES,
    check_confirmation,
    check_day,
    check_facts,
    check_hint,
    check_host,
    check_length,
    check_mark,
    check_moment,
    check_sweep,
    check_trial,
    check_uid,
    clean_error,
    require,
)

if TYPE_CHECKING:
    import sqlalchemy as sa


_log = logging.getLogger("tunedb")
_Record = TypeVar("_Record")


class ReadableRows:
    """The records of a store's rows, without those that this version can't read: the others still answer."""

    def __init__(self, place: str, advice: str = "") -> None:
        self._place = place
        self._advice = advice
        self._has_logged = False

    def __call__(self, selected: Iterable[Any], record_of: Callable[[Any], _Record]) -> Iterator[_Record]:
        """Yield the records; what can't be read is logged once."""
        for row in selected:
            try:
                record = record_of(row)
            except StoreError as error:
                if not self._has_logged:
                    self._has_logged = True
                    _log.warning(
                        "%s: %s It is skipped, and so are others like it.%s", self._place, str(error), self._advice
                    )
            else:
                yield record


@contextlib.contextmanager
def _reading(what: str, uid: object) -> Iterator[None]:
    """Raise StoreError for a row that this version can't read. SQLite holds anything in any column."""
    try:
        yield
    # IdentityError is a ValueError; the others come from values of another type, and from deeply nested JSON.
    except (ValueError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        name = repr(str(uid)[:32])[1:-1]  # untrusted: short, and without a terminal's control codes
        raise StoreError(f"{what} {name} can't be read: {error!s:.200}.") from error


def to_mark(row: Any) -> tuple[str, Mark]:
    """Return the uid of the sweep and its mark. Raises StoreError if this version can't read the row."""
    with _reading("Mark", row.uid):
        mark = Mark(MarkKind(row.kind), row.reason, row.time, row.uid)
        check_uid(row.sweep_uid)
        check_mark(mark)
        return row.sweep_uid, mark


def to_confirmation(row: Any) -> tuple[str, Confirmation]:
    """Return the uid of the sweep and its confirmation. Raises StoreError if this version can't read the row."""
    with _reading("Confirmation", row.uid):
        require(type(row.environment) is str, row.environment, "an environment as JSON")
        environment = Environment.from_key(row.environment)
        confirmation = Confirmation(environment, row.time_us, row.default_time_us, row.time, row.uid)
        check_uid(row.sweep_uid)
        check_confirmation(confirmation)
        return row.sweep_uid, confirmation


def to_trial(row: sa.Row[*tuple[Any, ...]]) -> Trial:
    """Return the record of a row of `trial`. Raises StoreError if this version can't read the row."""
    with _reading("Trial", row.uid):
        values = {name: getattr(row, name) for name in ("uid", "reference", *TIMES, *NUMBERS)}
        trial = Trial(
            config=Config(row.config),
            status=TrialStatus(row.status),
            outcome=TrialOutcome(row.outcome),
            error=clean_error(row.error),
            **values,
        )
        check_trial(trial)
        return trial


def to_config(row: Any) -> Config:
    """Return the config in a row's column. Raises StoreError if this version can't read it."""
    with _reading("Config", row.config):
        return Config(row.config)


@functools.lru_cache(maxsize=1024, typed=True)  # the winners of a list are few different ones
def _config(key: str) -> Config:
    return Config(key)


def to_keys(rows: Iterable[Any]) -> frozenset[str]:
    """Return the keys of configs in rows, without those that no config has."""
    return frozenset(row.config for row in rows if isinstance(row.config, str))


def in_order(sweeps: Iterable[Sweep]) -> list[Sweep]:
    """Return finished sweeps in the order in which they ended, by their own account."""
    return sorted(sweeps, key=lambda sweep: (sweep.finished, sweep.uid))


def to_device(row: Any) -> Device:
    """Return the device in a row's columns. Raises StoreError if this version can't read the row."""
    with _reading("Device", row.name):
        return _device(row.name, row.backend, row.arch, row.multiprocessors, row.info)


@functools.lru_cache(maxsize=128, typed=True)  # the rows of a list are of a few devices
def _device(name: str, backend: str, arch: str, multiprocessors: int, info: object) -> Device:
    require(type(name) is str, name, "a device's name")
    return Device(name, backend, arch, multiprocessors, _info(info))


def _info(text: object) -> dict[str, Any]:
    """Return the facts about a device that are never compared: none if they can't be read, for sweeps need them not."""
    try:
        info = parse_json(text) if isinstance(text, str) and len(text) <= MAX_TEXT else {}
        canonical(info)
    except (ValueError, TypeError, AttributeError):
        return {}
    return dict(info)


def to_problem(row: Any) -> Problem:
    """Return the problem in a row's columns. Raises StoreError if this version can't read the row."""
    with _reading("Problem of", row.kernel):
        problem = Problem(row.key, row.kernel)
        check_length("problem", problem.key)
        return problem


def to_hint(row: Any) -> Hint:
    """Return the hint in a row's columns. Raises StoreError if this version can't read the row."""
    with _reading("Hint from", row.place):
        check_moment(row.arrived)
        evidence = getattr(row, "evidence", "{}")  # a look-up leaves it out
        hint = Hint(
            Problem(row.key, row.kernel), row.device, Config(row.config), row.tool, row.place, evidence, row.arrived
        )
        check_hint(hint)
        return hint


def to_usage(row: sa.Row[*tuple[Any, ...]], problem: Problem, device: Device, host: str) -> UsageCount:
    """Return the count in a row of `miss`. Raises StoreError if this version can't read the row."""
    with _reading("Count of", problem.kernel):
        check_facts(problem, device)
        check_host(host)
        check_day(row.day)
        count = row._mapping["count"]  # `row.count` is a tuple's method
        require(type(count) is int and count > 0, count, "a count of calls")
        for moment in (row.first_seen, row.last_seen):
            check_moment(moment)
        return UsageCount(problem, device, Source(row.served_by), count, row.first_seen, row.last_seen, host)


def to_sweep(
    row: Any,
    trials: Sequence[Trial] = (),
    marks: Sequence[Mark] = (),
    *,
    confirmations: Sequence[Confirmation] = (),
    problem: Problem | None = None,
    device: Device | None = None,
    layer: Layer = Layer.LOCAL,
    bundle: str = "",
) -> Sweep:
    """Return the record of a row of `sweep`, whose columns also give problem and device unless they are passed.

    Raises StoreError if this version can't read the row.
    """
    with _reading("Sweep", row.uid):
        require(type(row.environment) is str, row.environment, "an environment as JSON")
        sweep = Sweep(
            problem=problem or Problem(row.key, row.kernel),
            device=device or to_device(row),
            kernel_hash=row.kernel_hash,
            environment=Environment.from_key(row.environment),
            status=SweepStatus(row.status),
            complete=row.complete,
            config=None if row.config is None else _config(row.config),
            time_us=row.time_us,
            default_time_us=row.default_time_us,
            started=row.started,
            finished=row.finished,
            expires=row.expires,
            trials=tuple(trials),
            counts=parse_json(row.counts),
            marks=tuple(marks),
            origin=row.origin,
            host=row.host,
            uid=row.uid,
            arrived=row.arrived,
            confirmations=tuple(confirmations),
            layer=layer,
            bundle=bundle,
        )
        check_sweep(sweep)
        good = isinstance(sweep.counts, dict) and all(type(count) is int for count in sweep.counts.values())
        require(good, sweep.counts, "trials by status")
        return sweep
