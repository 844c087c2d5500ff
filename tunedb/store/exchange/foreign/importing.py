"""The import of hints: each entry is mapped, judged and counted, and what is left is stored."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from tunedb.core.hint import Hint
from tunedb.errors import SettingError
from tunedb.store.exchange.foreign.entry import Entry, Rejection
from tunedb.store.exchange.foreign.mapping import EntryMapping

InSpace = Callable[[Hint], bool | None]  # whether a hint's config is in its kernel's search space; None if unknown


@dataclass
class Mapped:
    """The hints that were made of entries, and counts of what became of these.

    read: entries. other: those of other kernels, or without the fields that were asked for. mapped: those that became
    hints. outside_space: those whose config is in no search space of the kernel. unchecked: those for which that is not
    known, because the kernel is not installed or no problem of it fits. unknown_device: those whose device is neither
    in the table of devices nor stored. duplicate: those that are in the files twice. rejected: files, and keys in them,
    that could not be read or mapped, each with the reason.
    """

    hints: list[Hint] = field(default_factory=list)
    read: int = 0
    other: int = 0
    mapped: int = 0
    outside_space: int = 0
    unchecked: int = 0
    unknown_device: int = 0
    duplicate: int = 0
    rejected: list[Rejection] = field(default_factory=list)


def map_entries(
    found: Iterable[Entry | Rejection],
    mapping: EntryMapping,
    in_space: InSpace = lambda _: None,
    is_known_device: Callable[[str], bool] = lambda _: True,
) -> Mapped:
    """Return the hints of entries. Raises SettingError if a kernel or a device has to be named."""
    result = Mapped()
    digests: set[str] = set()
    for entry in found:
        if isinstance(entry, Rejection):
            result.rejected.append(entry)
            continue
        result.read += 1
        if not mapping.wants(entry):
            result.other += 1
            continue
        try:
            hint = mapping.hint(entry)
        except SettingError:
            raise
        except ValueError as error:
            result.rejected.append(Rejection(entry.place, str(error)))
            continue
        result.mapped += 1
        verdict = in_space(hint)
        if verdict is False:
            result.outside_space += 1
            reason = f"{hint.config} is outside the search space of {hint.problem.kernel}"
            result.rejected.append(Rejection(entry.place, reason))
            continue
        result.unchecked += verdict is None
        result.unknown_device += not is_known_device(hint.device)
        if hint.digest in digests:
            result.duplicate += 1
        else:
            digests.add(hint.digest)
            result.hints.append(hint)
    return result
