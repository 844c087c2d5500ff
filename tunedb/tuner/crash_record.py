"""The record of what a sweep is trying, from which the next process learns which config ended this one.

A file of its own in the folder of the lock files, read and written under the problem's lock. Written before each step,
without a flush to the disk: it has to outlive the process, not the machine. So it costs a microsecond or two a step,
which a row of the store would not, and works with a store that is read-only or away.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tunedb._internal.control import let_pass, suppress
from tunedb.core.device import Environment, host
from tunedb.core.problem import Config
from tunedb.core.sweep import Sweep, Trial, TrialOutcome, TrialStatus
from tunedb.core.task import TuningTask
from tunedb.sweep.observer import Observer

MAX_BYTES = 2**20  # of a record; one of a hundred configs takes a few KiB
_log = logging.getLogger("tunedb")


class CrashRecord:
    """The record of one task on this host. `deaths` are the uids of the sweeps whose process a config ended.

    The file has two lines of JSON: what it is about, with the deaths; and the config that is being tried, if any. A
    file that can't be read or written, or that is about another kernel hash, environment or host, counts as absent.
    """

    def __init__(self, folder: Path, task: TuningTask, environment: Environment) -> None:
        identity = "\n".join((task.kernel.name, task.problem.key, task.device.digest, host()))
        self._path = folder / f"{hashlib.sha256(identity.encode()).hexdigest()[:32]}.trying"
        self._about = {"kernel": task.kernel.hash, "environment": environment.key, "host": host()}
        self.deaths: dict[Config, list[str]] = {}
        # Whatever the file holds is a hint at most: a damaged one must cost no call its sweep.
        with suppress(OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
            self._read()

    def clear(self) -> None:
        """Forget the deaths."""
        self.deaths = {}

    @contextlib.contextmanager
    def kept(self, observer: Observer) -> Iterator[Observer]:
        """Keep the record of the sweep that the block runs, and yield the observer for it.

        A config that is tried well is no suspect any more. The file goes with the block, unless there are suspects.
        """
        keeper = _Keeper(self, observer)
        try:
            yield keeper
        finally:
            keeper.close()

    def _read(self) -> None:
        with os.fdopen(self.open(os.O_RDONLY | os.O_NONBLOCK), "rb") as file:  # a pipe would never answer
            head, trying, *_ = [*(file.read(MAX_BYTES) or b"").split(b"\n"), b""]
        about = json.loads(head)
        if {name: about[name] for name in self._about} != self._about:
            return
        self.deaths = {Config(key): [str(uid) for uid in uids] for key, uids in about["deaths"].items()}
        if trying:
            self.deaths.setdefault(Config(trying.decode()), []).append(str(about["sweep"]))

    def head(self, sweep: Sweep) -> bytes:
        """Return the first line for a sweep."""
        deaths = {config.key: uids for config, uids in self.deaths.items()}
        facts: dict[str, Any] = {**self._about, "sweep": sweep.uid, "deaths": deaths}
        return json.dumps(facts).encode() + b"\n"

    def open(self, flags: int = os.O_RDWR | os.O_CREAT) -> int:
        """Open the file. Raises OSError, also if the path is a link: the folder may be open to others."""
        return os.open(self._path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)

    def remove(self) -> None:
        """Remove the file."""
        self._path.unlink(missing_ok=True)


class _Keeper:
    """An observer that notes each step in the record's file, and passes everything on to another observer."""

    def __init__(self, record: CrashRecord, observer: Observer) -> None:
        self._record, self._observer = record, observer
        self._file: int | None = None
        self._sweep: Sweep | None = None
        self._start = 0  # of the second line

    def started(self, sweep: Sweep, candidates: int) -> None:
        """Begin the record."""
        self._sweep = sweep
        with self._tolerating():
            self._file = self._record.open()
            self._write_head()
        self._observer.started(sweep, candidates)

    def trying(self, config: Config) -> None:
        """Note the config, so that it is the suspect if this process ends now."""
        if self._file is not None:
            with self._tolerating():
                os.pwrite(self._file, config.key.encode() + b"\n", self._start)
        self._observer.trying(config)

    def tried(self, trial: Trial, best_us: float | None, default_us: float | None) -> None:
        """Clear a suspect that was right."""
        if trial.status == TrialStatus.OK and trial.outcome == TrialOutcome.MEASURED:
            self._record.deaths.pop(trial.config, None)
        self._observer.tried(trial, best_us, default_us)

    def finished(self, sweep: Sweep) -> None:
        """Pass it on: the record ends with `close`."""
        self._observer.finished(sweep)

    def close(self) -> None:
        """End the record: the process lives, however the sweep ended."""
        if self._file is None:
            return
        with self._tolerating():
            if self._record.deaths:
                self._write_head()
            else:
                self._record.remove()
        os.close(self._file)
        self._file = None

    def _write_head(self) -> None:
        assert self._file is not None
        assert self._sweep is not None
        head = self._record.head(self._sweep)
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, head, 0)
        self._start = len(head)

    @contextlib.contextmanager
    def _tolerating(self) -> Iterator[None]:
        """Go on without a record if the file can't be written."""
        try:
            yield
        except OSError as error:
            let_pass(error)
            _log.debug("No record of what is tried: %s", str(error))
