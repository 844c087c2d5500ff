"""The trials of one sweep: each config compiled, checked and screened, and the best of them raced."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

from tunedb.core.device import Device
from tunedb.core.kernel import Resources, Workload
from tunedb.core.problem import Config
from tunedb.core.sweep import Trial, TrialOutcome, TrialStatus, new_uid
from tunedb.errors import StickyDeviceError, TrialError
from tunedb.runtime.clock import Clock, Timing
from tunedb.runtime.compile_pool import CompilePool
from tunedb.runtime.failures import typed_errors
from tunedb.sweep.limits import SPILLS, excess, spills_much
from tunedb.sweep.observer import Observer
from tunedb.sweep.race import Outcome, Race, choose, is_beaten
from tunedb.sweep.screening import Screening


class TrialRunner:
    """The trials so far, on one workload and one clock."""

    def __init__(
        self, workload: Workload, clock: Clock, ahead: CompilePool, device: Device, observer: Observer
    ) -> None:
        self.trials: dict[Config, Trial] = {}  # in the order in which they were made
        self.lost = False  # the device context is gone
        self.over: dict[Config, float] = {}  # times over some common one, of the configs that may win
        self._workload, self._clock, self._ahead = workload, clock, ahead
        self._device = device
        self._observer = observer
        self._told: Config | None = None  # the last suspect
        self._binaries: dict[str, Config] = {}
        self._twins: dict[Config, Config] = {}  # configs that are another one's binary
        self._screening = Screening(self._sample)
        self._left: list[Config] = []  # still in the running
        self._has_lean = False  # one is right that does not spill much
        self._unbeaten: set[Config] = set()  # in the race

    def put_known(self, trial: Trial) -> None:
        """A trial of an earlier sweep, which is not made again and can't win."""
        self.trials[trial.config] = trial

    def try_config(self, config: Config) -> Trial:
        """Compile, check and screen one config. A failure is a trial too."""
        self._suspect(config)
        trial = Trial(config, TrialStatus.OK)
        try:
            resources, seconds = self._ahead.get(config)
            trial = _with(dataclasses.replace(trial, compile_s=seconds), resources)
            twin = self._binaries.setdefault(resources.binary, config) if resources.binary else config
            if twin != config:
                self._twins[config] = twin
                return self._put(_same(trial, self.trials[twin]))
            self._refuse(resources)
            with typed_errors():
                resources = self._workload.compile(config)
            trial = _with(trial, resources)
            self._refuse(resources)
            with typed_errors():
                wrong = self._workload.check(config)
            self._has_lean |= wrong is None and not spills_much(resources)
            if wrong is None:
                trial = self._timed(trial)
            else:
                trial = dataclasses.replace(trial, status=TrialStatus.WRONG, error=wrong)
        except TrialError as error:
            trial = dataclasses.replace(trial, status=TrialStatus(error.status), error=str(error))
        except StickyDeviceError as error:
            self.lost = True
            if self._told in self.trials:  # the one that others are compared with, and not this one
                self._lose(self._told, str(error))
                return self.trials[self._told]
            trial = dataclasses.replace(
                trial, status=TrialStatus.RUNTIME_ERROR, outcome=TrialOutcome.LOST_DEVICE, error=str(error)
            )
        return self._put(trial)

    def best_us(self) -> float | None:
        """The fastest time so far, in microseconds."""
        return min((trial.time_us for trial in self.trials.values() if trial.time_us is not None), default=None)

    def time_of(self, config: Config) -> float | None:
        """The time of that config, in microseconds."""
        return self.trials[config].time_us if config in self.trials else None

    def _raced(self, default: Config, incumbent: Config | None, is_late: Callable[[], bool]) -> bool:
        """Race the finalists, and give their trials the race's times; False where that was cut short.

        Where there is no race, what screening found has to do.
        """
        self.over = self._screened()
        always = [default] if incumbent is None else [default, self._twins.get(incumbent, incumbent)]
        finalists = self._finalists(always)
        finished = not finalists or (not is_late() and self._race(finalists, default, is_late))
        if set(self._finalists(always)) - set(finalists):  # who was behind one that failed in the race
            if not is_late():
                return self._raced(default, incumbent, is_late)
            finished = False
        for config, twin in self._twins.items():
            if twin in self.over:
                self.over[config] = self.over[twin]
            if (run := self.trials[twin]).status == "ok":
                self.trials[config] = dataclasses.replace(
                    self.trials[config], time_us=run.time_us, p20_us=run.p20_us, p80_us=run.p80_us
                )
        return finished

    def _screened(self) -> dict[Config, float]:
        return {config: self._screening.relative[config] for config in self._left}

    def _finalists(self, always: Sequence[Config]) -> list[Config]:
        return [] if self._clock.once else self._screening.finalists(self._left, always)

    def winner(
        self, default: Config, incumbent: Config | None, order: Sequence[Config], is_late: Callable[[], bool]
    ) -> tuple[Config | None, bool]:
        """Race, and what wins and is right a second time; and whether that was not cut short."""
        finished = True
        while not self.lost:
            finished &= self._raced(default, incumbent, is_late)
            if self.lost or not self.over:
                break
            winner = choose(self.over, default, order, beaten=self._twins.get(default, default) not in self._unbeaten)
            if self._clock.once or self._is_still_right(winner):
                return winner, finished
        return None, finished

    def _is_still_right(self, config: Config) -> bool:
        """Check a winner once more: one that is right now and then, because of a race within it, is out."""
        twin = self._twins.get(config, config)
        self._suspect(twin)
        try:
            with typed_errors():
                wrong = self._workload.check(twin)
            status = "wrong"
        except TrialError as error:
            wrong, status = str(error), error.status
        except StickyDeviceError as error:
            self._lose(twin, str(error))
            return False
        if wrong is None:
            return True
        self._drop(twin, status, f"Right at first, and then: {wrong}")
        return False

    def _race(self, finalists: Sequence[Config], default: Config, is_late: Callable[[], bool]) -> bool:
        try:
            outcome = Race(finalists, default, self._sample).run(is_late)
        except StickyDeviceError as error:
            assert self._told is not None  # told of each sample
            self._lose(self._told, f"in the race: {error}")
            return False
        self._enter(outcome)
        return outcome.settled or not is_late()

    def _enter(self, outcome: Outcome) -> None:
        for config, error in outcome.failed.items():
            self._drop(config, error.status, f"In the race: {error}")
        self.over = {config: standing.over for config, standing in outcome.standings.items()} or self._screened()
        self._unbeaten = {config for config, standing in outcome.standings.items() if not is_beaten(standing)}
        for config, standing in outcome.standings.items():
            self.trials[config] = dataclasses.replace(
                self.trials[config],
                time_us=standing.time_us, p20_us=standing.p20_us, p80_us=standing.p80_us, samples=standing.samples,
            )  # fmt: skip

    def _drop(self, config: Config, status: str, error: str) -> None:
        """What was right at first fails now: those that were behind it are back in the running."""
        self._screening.drop(config)
        self._left = list(self._screening.relative)
        self._fail(config, status, error)

    def _lose(self, config: Config, error: str) -> None:
        """The device context is gone, and this config, which was right at first, took it along."""
        self.lost = True
        self._fail(config, "runtime_error", error)
        self.trials[config] = dataclasses.replace(self.trials[config], outcome=TrialOutcome.LOST_DEVICE)

    def _fail(self, config: Config, status: str, error: str) -> None:
        """What was right at first fails now, and so do those of the same binary."""
        for one in [config, *(other for other, twin in self._twins.items() if twin == config)]:
            self.trials[one] = dataclasses.replace(
                self.trials[one], status=TrialStatus(status), error=error,
                time_us=None, p20_us=None, p80_us=None, samples=0,
            )  # fmt: skip

    def _timed(self, trial: Trial) -> Trial:
        if self._clock.once:
            taken, is_left = self._sample(trial.config, 1), True
            self._screening.relative[trial.config] = taken[0]
        else:
            taken, is_left = self._screening.run(trial.config)
        if is_left:
            self._left.append(trial.config)
        timing = Timing.of(taken)
        return dataclasses.replace(
            trial, time_us=timing.median, p20_us=timing.p20, p80_us=timing.p80, samples=timing.samples
        )

    def _sample(self, config: Config, count: int) -> list[float]:
        self._suspect(config)
        with typed_errors():
            return self._clock.sample(self._workload.launcher(config), count)

    def _suspect(self, config: Config) -> None:
        if config != self._told:
            self._told = config
            self._observer.trying(config)

    def _refuse(self, resources: Resources) -> None:
        reason = excess(resources, self._device)
        if reason is None and self._has_lean and spills_much(resources):
            reason = (
                f"{resources.spills} registers a thread are spilled, beside others more than {SPILLS} are not tried"
            )
        if reason is not None:
            raise TrialError("pruned", reason)

    def _put(self, trial: Trial) -> Trial:
        self.trials[trial.config] = trial
        return trial


def _with(trial: Trial, resources: Resources) -> Trial:
    return dataclasses.replace(
        trial, registers=resources.registers, spills=resources.spills, shared_bytes=resources.shared_bytes
    )


def _same(trial: Trial, twin: Trial) -> Trial:
    """The trial of a config that compiled to the binary of another one: what holds of that one holds of it."""
    return dataclasses.replace(
        twin, config=trial.config, uid=new_uid(), compile_s=trial.compile_s, samples=0,
        outcome=TrialOutcome.DUPLICATE_OF, reference=twin.uid,
    )  # fmt: skip
