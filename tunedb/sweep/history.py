"""The history of a problem before a sweep: the incumbent, likely configs, and trials of unfinished sweeps."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from tunedb.core.device import Device
from tunedb.core.kernel import EstimatesTimes, TunableKernel
from tunedb.core.problem import Config, Problem
from tunedb.core.sweep import Sweep, Trial, TrialOutcome, TrialStatus, new_uid

# Both by judgement.
MAX_RIVALS = 3  # fastest stored configs that race again with configs that are new in the space
NOT_RETRIED_RATIO = 1.5  # times the best of its own sweep: the sweep that continues it does not try such a config again
MAX_DEATHS = 2  # of processes that tried a config: once may be chance (a scheduler, another thread), twice counts

_OWN_VERDICTS = (TrialStatus.WRONG, TrialStatus.COMPILE_ERROR, TrialStatus.OUT_OF_RESOURCES, TrialStatus.TIMEOUT)


@dataclass(frozen=True, slots=True)
class SweepHistory:
    """The history that a sweep may build on."""

    incumbent: Config | None = None  # it has served until now, and races whatever its screening says
    likely: Sequence[Config] = ()  # winners of near problems, the nearest first, then hints
    unfinished: Sequence[Sweep] = ()  # this host's, of the same problem, device, kernel and environment, newest first
    suspects: Mapping[Config, Sequence[str]] = field(default_factory=dict)  # with the sweeps whose process they ended
    remaining: Sequence[Config] = ()  # the configs to try if stored trials cover the rest of the space; else empty

    def known_trials(self, space: Collection[Config], wanted: Collection[Config]) -> dict[Config, Trial]:
        """Return trials that need not be made again: those that failed, and those that were far behind.

        Only a failure that is certainly the config's own counts. Configs that are `wanted` are tried again even if they
        were slow, but not if they failed.
        """
        earlier = {
            config: _deadly(config, uids)
            for config, uids in self.suspects.items()
            if config in space and len(uids) >= MAX_DEATHS
        }
        for sweep in self.unfinished:
            best = min((trial.time_us for trial in sweep.trials if _is_timed(trial)), default=0.0)  # type: ignore[type-var]
            for trial in sweep.trials:
                before = earlier.get(trial.config)
                if trial.config not in space or (before is not None and before.status != "ok"):
                    continue
                if trial.status != "ok":
                    if _is_own_verdict(trial):
                        earlier[trial.config] = _carried(trial, sweep, "")
                elif (
                    before is None
                    and trial.config not in wanted
                    and (trial.time_us or 0.0) > NOT_RETRIED_RATIO * (best or 0.0)
                ):
                    earlier[trial.config] = _carried(
                        trial, sweep, f"more than {NOT_RETRIED_RATIO} times the best there"
                    )
        return earlier


NO_HISTORY = SweepHistory()


def _is_own_verdict(trial: Trial) -> bool:
    """Say whether a trial of an unfinished sweep failed for a reason that lies in its config.

    Another error of a launch may come from its machine, and what was pruned has no verdict.
    """
    return trial.status in _OWN_VERDICTS or (
        trial.status == TrialStatus.RUNTIME_ERROR
        and trial.outcome in (TrialOutcome.LOST_DEVICE, TrialOutcome.KNOWN_FROM)
    )


def _deadly(config: Config, uids: Sequence[str]) -> Trial:
    error = f"The process died while it was tried, {len(uids)} times."
    return Trial(
        config, TrialStatus.RUNTIME_ERROR, error=error, outcome=TrialOutcome.KNOWN_FROM, reference=uids[-1]
    )  # fmt: skip


def _is_timed(trial: Trial) -> bool:
    return trial.status == "ok" and trial.time_us is not None


def _carried(trial: Trial, sweep: Sweep, reason: str) -> Trial:
    first = trial.reference if trial.outcome == TrialOutcome.KNOWN_FROM else sweep.uid
    return dataclasses.replace(
        trial, uid=new_uid(), error=trial.error or reason or None, outcome=TrialOutcome.KNOWN_FROM, reference=first
    )


def in_order(kernel: TunableKernel, problem: Problem, device: Device, history: SweepHistory) -> list[Config]:
    """Return the configs of the space in the order in which they are tried, each once.

    The default, the incumbent, the likely ones, then by the kernel's estimate if it has one. Good ones come early, so
    that the others are ruled out quickly, and a sweep that is cut short has tried them. Those that are suspected to
    have ended a process come last.
    """
    space = list(history.remaining or kernel.space(problem, device))
    by_estimate = space
    if isinstance(kernel, EstimatesTimes):
        estimate = kernel.estimate
        by_estimate = sorted(space, key=lambda config: estimate(problem, config, device))

    def all_in_order() -> Iterator[Config]:
        yield kernel.default(problem, device)
        if history.incumbent in space:
            yield history.incumbent
        yield from (config for config in history.likely if config in space)
        yield from by_estimate

    return sorted(dict.fromkeys(all_in_order()), key=lambda config: config in history.suspects)


def remaining_configs(
    space: Sequence[Config], default: Config, answer: Config | None, sweeps: Iterable[Sweep]
) -> list[Config]:
    """Return the configs to try in a space that these sweeps cover in part: the new configs, and their rivals.

    The rivals are the default, the answer, and the fastest of the covered configs. Returns nothing if no config is new.
    Without an `answer`, because it has left the space, the fastest race again even then; returns nothing if no config
    of the space was timed. Of an aborted sweep only the failures count, because its other configs were not raced.
    """
    covered, fast = _covered(space, sweeps)
    new = [config for config in space if config not in covered]
    rivals = [default, *fast] if answer is None else [default, answer, *fast]
    return list(dict.fromkeys([*rivals, *new])) if (fast if answer is None else new) else []


def _covered(space: Sequence[Config], sweeps: Iterable[Sweep]) -> tuple[set[Config], list[Config]]:
    """Return the configs that trials of these sweeps cover, and the fastest of those in the space."""
    covered: set[Config] = set()
    times: dict[Config, float] = {}
    for sweep in sweeps:
        if sweep.config is not None:
            covered.add(sweep.config)  # also if its trials are in another store
        for trial in sweep.trials:
            if trial.status != "ok":
                if sweep.status != "aborted" or _is_own_verdict(trial):
                    covered.add(trial.config)
            elif sweep.status != "aborted":
                covered.add(trial.config)
                times[trial.config] = trial.time_us or times.get(trial.config, float("inf"))
    return covered, sorted((config for config in times if config in space), key=times.__getitem__)[:MAX_RIVALS]
