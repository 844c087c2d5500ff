"""Short labels: facts and knobs that are the same in all problems or configs are said once, the others each time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tunedb._internal.printable import printable
from tunedb.core.device import Device, Environment
from tunedb.core.problem import Config, Problem

MAX_LABEL = 44  # characters of a kernel's name in pictures and sentences


def same_in_all(facts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the facts that all have with one value: none if there is only one, which is labelled by all it has."""
    if len(facts) < 2:
        return {}
    first, *others = facts
    return {
        name: value
        for name, value in first.items()
        if all(name in other and type(other[name]) is type(value) and other[name] == value for other in others)
    }


def pairs_text(facts: Mapping[str, Any], leave_out: Iterable[str] = ()) -> str:
    """Return facts as `name=value` with blanks between them."""
    hidden = set(leave_out)
    return printable(" ".join(f"{name}={value}" for name, value in facts.items() if name not in hidden))


class ProblemLabels:
    """The labels of problems, kernel by kernel."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        by_kernel: dict[str, dict[str, dict[str, Any]]] = {}
        for problem in problems:
            by_kernel.setdefault(problem.kernel, {})[problem.key] = problem.plain()
        self._shared = {kernel: same_in_all(list(facts.values())) for kernel, facts in by_kernel.items()}

    def __call__(self, problem: Problem) -> str:
        """Return what tells a problem from the others of its kernel."""
        return pairs_text(problem.plain(), self._shared.get(problem.kernel, {})) or "(one problem)"

    def shared(self) -> dict[str, str]:
        """Return what all problems of a kernel have in common, by kernel; without kernels that share nothing."""
        return {kernel: pairs_text(facts) for kernel, facts in sorted(self._shared.items()) if facts}


def knobs_of(configs: Iterable[Config]) -> list[str]:
    """Return the names of the knobs that differ between configs; all names if none does."""
    plain = [config.plain() for config in configs]
    names = sorted({name for knobs in plain for name in knobs})
    shared = same_in_all(plain)
    return [name for name in names if name not in shared] or names


def values_text(config: Config, knobs: Sequence[str]) -> str:
    """Return the values of these knobs, in their order."""
    plain = config.plain()
    return printable(" · ".join(str(plain.get(name, "-")) for name in knobs))


def config_text(config: Config | None) -> str | None:
    """Return a config as `name=value` with blanks between them."""
    return None if config is None else pairs_text(config.plain())


def knobs_text(config: Config, knobs: Iterable[str]) -> str:
    """Return these knobs of a config as `name=value` with blanks between them; all of it without any of them."""
    plain, names = config.plain(), list(knobs)
    return pairs_text({name: plain[name] for name in names if name in plain} or plain)


def environment_text(environment: Environment) -> str:
    """Return the versions of an environment."""
    names = [name for name in ("triton", "torch", "driver", "method") if getattr(environment, name)]
    return printable(", ".join(f"{name} {getattr(environment, name)}" for name in names))


def kernel_labels(kernels: Iterable[str]) -> dict[str, str]:
    """Return a short label for each kernel's name: without its module where that is clear, cut in the middle if long.

    No two kernels have one label.
    """
    names = sorted(set(kernels))
    tails = {name: _shortest_tail(name, names) for name in names}
    cut = {name: printable(_cut(tail)) for name, tail in tails.items()}
    labels = list(cut.values())
    return {name: cut[name] if labels.count(cut[name]) == 1 else printable(tails[name]) for name in names}


def _shortest_tail(name: str, names: Sequence[str]) -> str:
    """Return the end of a dotted name that no other name ends with."""
    parts = name.split(".")
    for start in range(len(parts) - 1, 0, -1):
        tail = ".".join(parts[start:])
        if not any(other != name and (other == tail or other.endswith(f".{tail}")) for other in names):
            return tail
    return name


def _cut(text: str) -> str:
    return text if len(text) <= MAX_LABEL else f"{text[: MAX_LABEL // 2]}…{text[-MAX_LABEL // 2 + 1 :]}"


def device_texts(devices: Iterable[Device]) -> dict[str, str]:
    """Return each device's text by digest: its name, or all that tells it apart from another one of that name."""
    every = {device.digest: device for device in devices}
    names = [device.name for device in every.values()]
    return {
        digest: device.name if names.count(device.name) == 1 else str(device)
        for digest, device in sorted(every.items())
    }
