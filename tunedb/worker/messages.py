"""Messages between a supervisor and its worker: dataclasses, one line of JSON each."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tunedb.core.problem import Config, Problem
from tunedb.core.sweep import Trial, TrialOutcome, TrialStatus
from tunedb.core.verification import Verification


@dataclass(frozen=True, slots=True)
class Prepare:
    """A line to a worker before `Start`, while its tasks are not known yet: what it can load until then."""

    kernels: tuple[str, ...]  # that the tasks may be of
    index: int | None  # of the GPU whose context it makes; None: of none


@dataclass(frozen=True, slots=True)
class Start:
    """The first line to a worker, or the second: its device and its settings."""

    index: int
    log_level: int
    store: str
    shared: str | None
    lock_timeout: float
    owner: str | None = None  # the name under which it claims problems
    bundles: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Tune:
    """A message to a worker: tune a problem. `arguments` are those that the problem was made of, if they are known."""

    problem: Problem
    arguments: Mapping[str, Any] | None
    force: bool
    budget: float  # seconds
    builds_on: Sequence[str] | None = None  # uids, see `Tuner.tune_ahead`
    waits: bool = True  # for another process that has claimed the problem
    waited: float = 0.0  # seconds, see `Tuner.tune_ahead`
    compiles: int | None = None  # configs that it compiles at a time; None: one for each core


@dataclass(frozen=True, slots=True)
class Verify:
    """A message to a worker: verify a stored sweep of a problem."""

    problem: Problem
    uid: str
    rivals: int = 0  # runners-up that race too, see `verification.verify`
    compiles: int | None = None  # as in `Tune`


@dataclass(frozen=True, slots=True)
class MeasureCopyRate:
    """A message to a worker: measure the copy rate of its device, and store it."""


@dataclass(frozen=True, slots=True)
class Finish:
    """The last message to a worker: send what is still to be sent to a shared store, and end."""


@dataclass(frozen=True, slots=True)
class Ready:
    """A message from a worker: it has started and waits for tasks."""


@dataclass(frozen=True, slots=True)
class SweepStarted:
    """A message from a worker: a sweep has started, as in `Observer.started`."""

    uid: str
    candidates: int


@dataclass(frozen=True, slots=True)
class Trying:
    """A message from a worker: it is about to try a config, as in `Observer.trying`."""

    config: Config


@dataclass(frozen=True, slots=True)
class Tried:
    """A message from a worker: a trial is done, as in `Observer.tried`."""

    trial: Trial
    best_us: float | None
    default_us: float | None


@dataclass(frozen=True, slots=True)
class Tuned:
    """A worker's answer to `Tune`: how it ended (see `child.tune_task`), and the sweep behind that."""

    outcome: str
    uid: str | None
    is_device_lost: bool


@dataclass(frozen=True, slots=True)
class Verified:
    """A worker's answer to `Verify`."""

    verification: Verification


@dataclass(frozen=True, slots=True)
class CopyRateMeasured:
    """A worker's answer to `MeasureCopyRate`: the error, or None if the rate was measured and stored."""

    error: str | None


@dataclass(frozen=True, slots=True)
class DeviceLost:
    """A message from a worker instead of an answer, except to `Tune`: the device is lost, and the worker ends."""

    reason: str


FINISH_S = 12.0  # in which a worker sends what waits: a sweep is tried again for 10 s

Request = Tune | Verify | MeasureCopyRate
Answer = Tuned | Verified | CopyRateMeasured | DeviceLost
Event = Ready | SweepStarted | Trying | Tried | Answer

_KINDS = (
    Prepare, Start, Tune, Verify, MeasureCopyRate, Finish, Ready, SweepStarted, Trying, Tried, Tuned, Verified,
    CopyRateMeasured, DeviceLost,
)  # fmt: skip
_TYPES: dict[str, Callable[..., Any]] = {kind.__name__: kind for kind in _KINDS}
_READERS: dict[str, Callable[[Any], Any]] = {
    "problem": lambda facts: Problem(facts["key"], facts["kernel"]),
    "config": Config,
    "bundles": tuple,
    "kernels": tuple,
    "trial": lambda facts: Trial(
        **facts
        | {
            "config": Config(facts["config"]),
            "status": TrialStatus(facts["status"]),
            "outcome": TrialOutcome(facts["outcome"]),
        }
    ),
    "verification": lambda facts: Verification(**facts),
}


def encode(message: Prepare | Start | Request | Finish | Event) -> str:
    """Return the message as a line of JSON, its end included."""
    return json.dumps({"type": type(message).__name__, **_fields(message)}, default=_plain) + "\n"


def decode(line: str) -> Any:
    """Return the message that a line holds. Raises ValueError for a line that was cut off."""
    facts = json.loads(line)
    kind = _TYPES[facts.pop("type")]
    return kind(**{name: _READERS[name](value) if name in _READERS else value for name, value in facts.items()})


def _fields(value: Any) -> dict[str, Any]:
    return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}


def _plain(value: object) -> Any:
    if isinstance(value, Config):
        return value.key
    if isinstance(value, Problem):
        return {"key": value.key, "kernel": value.kernel}
    if isinstance(value, Mapping):
        return dict(value)
    return _fields(value)
