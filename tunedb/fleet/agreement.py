"""`tunedb.agree`: checks that all ranks of a `torch.distributed` job launch the same configs."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from tunedb.core.problem import Config, Problem
from tunedb.errors import RanksDisagree, SettingError
from tunedb.tuner import session

MAX_SHOWN = 5  # differences in a message; all of them are returned

_log = logging.getLogger("tunedb")


@dataclass(frozen=True, slots=True)
class RankChoice:
    """What one rank launches for a problem: a config, its source, and the sweep and the kernel behind it."""

    config: Config
    source: str
    sweep_uid: str | None
    kernel_hash: str

    def __str__(self) -> str:
        sweep = "" if self.sweep_uid is None else f", sweep {self.sweep_uid[:12]}"
        return f"{self.config} ({self.source}{sweep}, kernel {self.kernel_hash[:8]})"


@dataclass(frozen=True, slots=True)
class RankDifference:
    """A problem on one model of device for which ranks launch different configs, or kernels of different source."""

    problem: Problem
    device: str  # its digest
    choices: Mapping[int, RankChoice]  # by rank; ranks that did not call the problem are missing

    def __str__(self) -> str:
        ranks: dict[RankChoice, list[int]] = {}
        for rank, choice in self.choices.items():
            ranks.setdefault(choice, []).append(rank)
        parts = [f"{_ranks(numbers)}: {choice}" for choice, numbers in ranks.items()]
        return f"{self.problem.kernel} ({self.problem}): {'; '.join(parts)}"


def agree(group: Any = None, *, on_difference: Literal["raise", "report"] = "raise") -> list[RankDifference]:
    """Compare the configs that the ranks of a job use so far; return the problems for which they differ.

    Compared is what each process's calls got, for problems that at least two ranks called on one model of device. One
    `all_gather_object` over `torch.distributed`: every rank of the group has to call it, at the same place.

    group: the process group; None: all ranks. With NCCL, call `torch.cuda.set_device` first.
    on_difference: `raise` raises RanksDisagree on every rank of the group; `report` logs the differences as warnings.

    Raises SettingError if torch.distributed is not initialised.
    """
    if on_difference not in ("raise", "report"):
        raise SettingError(f"on_difference: expected raise or report, got {on_difference!r}.")
    import torch.distributed as dist

    if not dist.is_available() or not dist.is_initialized():
        raise SettingError(
            "torch.distributed is not initialised: call torch.distributed.init_process_group() before tunedb.agree()."
        )
    gathered: list[Any] = [None] * dist.get_world_size(group)
    if not gathered or dist.get_rank(group) < 0:  # this rank is not of the group
        return []
    dist.all_gather_object(gathered, _own_choices(), group=group)
    differences = compare(dict(zip(_global_ranks(group), gathered, strict=True)))
    if differences and on_difference == "raise":
        raise RanksDisagree(_message(differences))
    for difference in differences:
        _log.warning("Ranks differ. %s", difference)
    return differences


Row = tuple[str, str, str, str, str, str, str | None]  # what a rank sends of a choice: texts only


def compare(rows_by_rank: Mapping[int, Iterable[Row]]) -> list[RankDifference]:
    """Return the problems for which the rows of ranks differ, ordered by kernel and problem."""
    choices: dict[tuple[str, str, str], dict[int, RankChoice]] = {}
    for rank, rows in sorted(rows_by_rank.items()):
        for kernel, key, device, kernel_hash, config, source, uid in rows:
            choice = RankChoice(Config(config), source, uid, kernel_hash)
            choices.setdefault((kernel, key, device), {})[rank] = choice
    return [
        RankDifference(Problem(key, kernel), device, by_rank)
        for (kernel, key, device), by_rank in sorted(choices.items())
        if len({(choice.config, choice.kernel_hash) for choice in by_rank.values()}) > 1
    ]


def _own_choices() -> list[Row]:
    return [
        (
            kernel,
            key,
            device,
            kernel_hash,
            choice.config.key,
            str(choice.source),
            None if choice.sweep is None else choice.sweep.uid,
        )
        for (kernel, kernel_hash, key, device), choice in session.active().cache.choices().items()
    ]


def _global_ranks(group: Any) -> Sequence[int]:
    import torch.distributed as dist

    return list(range(dist.get_world_size())) if group is None else dist.get_process_group_ranks(group)


def _message(differences: Sequence[RankDifference]) -> str:
    shown = [str(difference) for difference in differences[:MAX_SHOWN]]
    if len(differences) > MAX_SHOWN:
        shown.append(f"and {len(differences) - MAX_SHOWN} more")
    return (
        f"Ranks use different configs, problems: {len(differences)}. {' | '.join(shown)}. "
        "Give all ranks one shared store (TUNEDB_SHARED), and tune before the job: tunedb warm"
    )


def _ranks(numbers: Sequence[int]) -> str:
    return f"rank{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))}"
