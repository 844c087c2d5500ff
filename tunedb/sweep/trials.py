"""The trials of one sweep: each config is compiled, checked and screened, and the best of them are raced."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tunedb.core.device import Device
from tunedb.core.kernel import Resources, Workload
from tunedb.core.problem import Config
from tunedb.core.sweep import Trial, TrialOutcome, TrialStatus
from tunedb.errors import HostFaultError, StickyDeviceError, TrialError
from tunedb.runtime.clock import Clock, Timing
from tunedb.runtime.compile_pool import CompilePool
from tunedb.runtime.failures import typed_errors
from tunedb.sweep.limits import MAX_SPILLS, excess, spills_much
from tunedb.sweep.observer import Observer
from tunedb.sweep.race import Outcome, Race, choose, is_beaten
from tunedb.sweep.screening import Screening
from tunedb.sweep.trial_copies import duplicate_of, with_resources


@dataclass(frozen=True, slots=True)
class Decision:
    """The decision of a sweep: the config that won, its time and the default's, and whether the race was finished."""

    winner: Config | None
    time_us: float | None
    default_us: float | None
    is_complete: bool


class TrialRunner:
    """A runner of a sweep's trials, on one workload and one clock."""

    def __init__(
        self,
        workload: Workload,
        clock: Clock,
        pool: CompilePool,
        device: Device,
        observer: Observer,
        monotonic: Callable[[], float],
    ) -> None:
        self._workload, self._clock, self._pool = workload, clock, pool
        self._device, self._observer, self._monotonic = device, observer, monotonic
        self._trials: dict[Config, Trial] = {}
        self._originals: dict[str, Config] = {}  # by binary: the config that is tried for all that have it
        self._duplicates: dict[Config, Config] = {}  # with the config whose binary each has
        self._screening = Screening(self._sample)
        self._running: list[Config] = []  # not ruled out by screening
        self._has_lean = False  # a config is right and does not spill much
        self._over: dict[Config, float] = {}  # times over a common one, of the configs that may win
        self._unbeaten: set[Config] = set()  # in the race
        self._raced: set[Config] = set()
        self._suspect: Config | None = None  # the config that was compiled, checked or run last
        self._is_device_lost = False
        self._met_host_fault = False

    @property
    def trials(self) -> Mapping[Config, Trial]:
        """The trials so far, in the order in which they were made."""
        return self._trials

    @property
    def is_device_lost(self) -> bool:
        """Whether the device's context is gone, so that nothing more can run."""
        return self._is_device_lost

    @property
    def met_host_fault(self) -> bool:
        """Whether this machine failed, so that no more configs can be judged."""
        return self._met_host_fault

    @property
    def is_over(self) -> bool:
        """Whether nothing more is to be tried: the device is lost, or this machine failed."""
        return self._is_device_lost or self._met_host_fault

    def put_known(self, trial: Trial) -> None:
        """Add a trial of an earlier sweep, which is not repeated and can't win."""
        self._trials[trial.config] = trial

    def best_us(self) -> float | None:
        """Return the fastest time so far, in microseconds."""
        return min((trial.time_us for trial in self._trials.values() if trial.time_us is not None), default=None)

    def time_us(self, config: Config) -> float | None:
        """Return the time of that config, in microseconds."""
        return self._trials[config].time_us if config in self._trials else None

    def is_judged(self, config: Config) -> bool:
        """Say whether the sweep has found out about a config what it can: it raced, or failed."""
        if config not in self._trials:
            return False
        is_timed = self._trials[config].status == TrialStatus.OK
        return not is_timed or self._clock.once or self._duplicates.get(config, config) in self._raced

    def try_config(self, config: Config) -> Trial:
        """Compile, check and screen one config, and return its trial, also if it fails."""
        self._announce(config)
        trial = Trial(config, TrialStatus.OK)
        try:
            resources, seconds = self._pool.get(config)
            trial = with_resources(dataclasses.replace(trial, compile_s=seconds), resources)
            original = self._originals.setdefault(resources.binary, config) if resources.binary else config
            if original != config:
                self._duplicates[config] = original
                return self._put(duplicate_of(trial, self._trials[original]))
            self._check_resources(resources)
            with typed_errors():
                resources = self._workload.compile(config)
            trial = with_resources(trial, resources)
            self._check_resources(resources)
            with typed_errors():
                wrong = self._workload.check(config)
            if wrong is None:
                self._has_lean |= not spills_much(resources)
                trial = self._screened(trial)
            else:
                trial = dataclasses.replace(trial, status=TrialStatus.WRONG, error=wrong)
        except TrialError as error:
            trial = dataclasses.replace(trial, status=TrialStatus(error.status), error=str(error))
        except HostFaultError as error:
            self._met_host_fault = True
            trial = Trial(config, TrialStatus.PRUNED, error=f"A fault of this machine, not of the config: {error}")
        except StickyDeviceError as error:
            if self._suspect in self._trials:  # the reference that this one is compared with
                self._lose_device(self._suspect, str(error))
                return self._trials[self._suspect]
            self._is_device_lost = True
            trial = dataclasses.replace(
                trial, status=TrialStatus.RUNTIME_ERROR, outcome=TrialOutcome.LOST_DEVICE, error=str(error)
            )
        return self._put(trial)

    def decide(
        self, default: Config, incumbent: Config | None, order: Sequence[Config], is_late: Callable[[], bool]
    ) -> Decision:
        """Race the finalists; the winner is the fastest that is right a second time. Ties go by the order."""
        is_complete = True
        while not self.is_over:
            is_complete &= self._race_finalists(default, incumbent, is_late)
            if self.is_over or not self._over:
                break
            default_is_beaten = self._duplicates.get(default, default) not in self._unbeaten
            winner = choose(self._over, default, order, beaten=default_is_beaten)
            if self._clock.once or self._is_still_right(winner):
                time_us, default_us = self.time_us(winner), self.time_us(default)
                assert time_us is not None  # what may win was timed
                if default in self._over:  # compared next to the winner, so that a drift is in neither
                    default_us = time_us * self._over[default] / self._over[winner]
                return Decision(winner, time_us, default_us, is_complete)
        return Decision(None, None, self.time_us(default), is_complete)

    def _race_finalists(self, default: Config, incumbent: Config | None, is_late: Callable[[], bool]) -> bool:
        """Race the finalists, and give their trials the race's times; return whether that was not cut short.

        If the clock or the time allows no race, the screening decides.
        """
        always = [default] if incumbent is None else [default, self._duplicates.get(incumbent, incumbent)]
        while True:
            self._over = self._screened_over()
            finalists = self._finalists(always)
            is_complete = not finalists or (not is_late() and self._race(finalists, default, is_late))
            # If one fails in the race, configs that were ruled out because of it become finalists.
            has_newcomers = bool(set(self._finalists(always)) - set(finalists))
            if not has_newcomers or is_late():
                break
        for config, original in self._duplicates.items():
            if original in self._over:
                self._over[config] = self._over[original]
            if (trial := self._trials[original]).status == TrialStatus.OK:
                self._trials[config] = dataclasses.replace(
                    self._trials[config], time_us=trial.time_us, p20_us=trial.p20_us, p80_us=trial.p80_us
                )
        return is_complete and not has_newcomers

    def _screened_over(self) -> dict[Config, float]:
        return {config: self._screening.relative[config] for config in self._running}

    def _finalists(self, always: Sequence[Config]) -> list[Config]:
        return [] if self._clock.once else self._screening.finalists(self._running, always)

    def _race(self, finalists: Sequence[Config], default: Config, is_late: Callable[[], bool]) -> bool:
        try:
            race = Race(finalists, default, self._sample, configs=len(self._trials), monotonic=self._monotonic)
            outcome = race.run(is_late)
        except HostFaultError as error:
            assert self._suspect is not None  # each sample sets it
            self._note_host_fault(self._suspect, error)
            return False
        except StickyDeviceError as error:
            assert self._suspect is not None
            self._lose_device(self._suspect, f"in the race: {error}")
            return False
        self._enter(outcome)
        return outcome.settled or not is_late()

    def _enter(self, outcome: Outcome) -> None:
        for config, error in outcome.failed.items():
            self._drop(config, error.status, f"In the race: {error}")
        standings = outcome.standings
        self._raced.update(standings)
        self._over = {config: standing.over for config, standing in standings.items()} or self._screened_over()
        self._unbeaten = {config for config, standing in standings.items() if not is_beaten(standing)}
        for config, standing in standings.items():
            self._trials[config] = dataclasses.replace(
                self._trials[config],
                time_us=standing.time_us, p20_us=standing.p20_us, p80_us=standing.p80_us, samples=standing.samples,
            )  # fmt: skip

    def _is_still_right(self, config: Config) -> bool:
        """Check a winner once more: one that is only sometimes right, because of a race condition within it, is out."""
        original = self._duplicates.get(config, config)
        self._announce(original)
        try:
            with typed_errors():
                wrong = self._workload.check(original)
            status = str(TrialStatus.WRONG)
        except TrialError as error:
            wrong, status = str(error), error.status
        except HostFaultError as error:
            self._note_host_fault(original, error)
            return False
        except StickyDeviceError as error:
            self._lose_device(original, str(error))
            return False
        if wrong is None:
            return True
        self._drop(original, status, f"Right at first, and then: {wrong}")
        return False

    def _drop(self, config: Config, status: str, error: str) -> None:
        """Rule out a config that was right at first; those that were behind it are back in the running."""
        self._screening.drop(config)
        self._running = list(self._screening.relative)
        self._fail(config, status, error)

    def _lose_device(self, config: Config, error: str) -> None:
        """Note that the device's context is gone because of this config, which was right at first."""
        self._is_device_lost = True
        self._fail(config, TrialStatus.RUNTIME_ERROR, error)
        self._trials[config] = dataclasses.replace(self._trials[config], outcome=TrialOutcome.LOST_DEVICE)

    def _note_host_fault(self, config: Config, error: HostFaultError) -> None:
        """Note that this machine failed while a config ran that was right before, and still counts as right."""
        self._met_host_fault = True
        self._trials[config] = dataclasses.replace(
            self._trials[config], error=f"Later a fault of this machine, not of the config: {error}"
        )

    def _fail(self, config: Config, status: str, error: str) -> None:
        """Turn the trial of a config that was right at first, and those of its duplicates, into failures."""
        for failed in [config, *(other for other, original in self._duplicates.items() if original == config)]:
            self._trials[failed] = dataclasses.replace(
                self._trials[failed], status=TrialStatus(status), error=error,
                time_us=None, p20_us=None, p80_us=None, samples=0,
            )  # fmt: skip

    def _screened(self, trial: Trial) -> Trial:
        if self._clock.once:
            taken, is_running = self._sample(trial.config, 1), True
            self._screening.relative[trial.config] = taken[0]
        else:
            taken, is_running = self._screening.run(trial.config)
        if is_running:
            self._running.append(trial.config)
        timing = Timing.of(taken)
        return dataclasses.replace(
            trial, time_us=timing.median, p20_us=timing.p20, p80_us=timing.p80, samples=timing.samples
        )

    def _sample(self, config: Config, count: int) -> list[float]:
        self._announce(config)
        with typed_errors():
            return self._clock.sample(self._workload.launcher(config), count)

    def _announce(self, config: Config) -> None:
        """Report to the observer which config runs next: the suspect if the process ends now."""
        if config != self._suspect:
            self._suspect = config
            self._observer.trying(config)

    def _check_resources(self, resources: Resources) -> None:
        """Raise TrialError for a config that does not fit the device, or that is not worth a try."""
        reason = excess(resources, self._device)
        if reason is None and self._has_lean and spills_much(resources):
            reason = f"spills {resources.spills} registers a thread; other configs are right with at most {MAX_SPILLS}"
        if reason is not None:
            raise TrialError(TrialStatus.PRUNED, reason)

    def _put(self, trial: Trial) -> Trial:
        self._trials[trial.config] = trial
        return trial
