"""From entries of other tools' files to hints for a kernel: names, devices, and what is left out."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tunedb._internal.printable import printable
from tunedb.core.hint import Hint
from tunedb.core.known_devices import device_label
from tunedb.core.problem import LAUNCH_OPTIONS, Config, Problem
from tunedb.errors import SettingError
from tunedb.store.exchange.foreign.entry import Entry
from tunedb.store.sql.rows import MAX_TEXT

_ABSENT = ""  # stands for a field that a file does not have


@dataclass(frozen=True, slots=True)
class EntryMapping:
    """How entries become hints.

    kernel: the kernel they are for; by default that of the function that the file names.
    names: new names of fields and knobs; one with an empty new name is left out. Others keep theirs.
    only: fields and the text that an entry has to have there; an empty text means that it has no such field.
    device: the device of files that name none.
    any_function: whether an entry of another function than the kernel's is taken too.
    kernel_of: returns the name of the kernel that a function is known as; by default the same name.
    """

    kernel: str | None = None
    names: Mapping[str, str] = field(default_factory=dict)
    only: Mapping[str, str] = field(default_factory=dict)
    device: str | None = None
    any_function: bool = False
    kernel_of: Callable[[str], str] = str

    def wants(self, entry: Entry) -> bool:
        """Say whether an entry is of the kernel, and has the fields that are asked for."""
        names = (None, self.kernel, (self.kernel or "").rpartition(".")[2])
        if self.kernel is not None and not self.any_function and entry.function not in names:
            return False
        texts = {name: _ABSENT if value is None else str(value) for name, value in entry.fields.items()}
        return all(texts.get(name, _ABSENT) == text for name, text in self.only.items())

    def hint(self, entry: Entry) -> Hint:
        """Return the hint of an entry.

        Raises SettingError if neither the entry nor the mapping names a kernel or a device, another ValueError for an
        entry that can't be a hint.
        """
        kernel = self.kernel
        if kernel is None and entry.function is not None:
            kernel = self.kernel_of(entry.function)
        if kernel is None:
            raise SettingError(
                f"{entry.place}: no kernel is named. Name the one that the configs are for: --kernel NAME"
            )
        device = entry.device or self.device
        if device is None:
            raise SettingError(
                f"{entry.place}: no device is named. Name the one that the configs are of: --device NAME"
            )
        if not device.isprintable() or len(device) > MAX_TEXT:
            raise ValueError(f"expected a device's name without control characters, got {device!r:.60}")
        problem = Problem.of(kernel, **self._renamed(entry.fields))
        knobs = {
            name: value
            for name, value in self._renamed(entry.knobs).items()
            if not (value is None and (name in LAUNCH_OPTIONS or name in ("pre_hook", "ir_override")))
        }
        config = Config.of(**knobs)
        if not knobs:
            raise ValueError("no knob of the config is left")
        for what, text in (("problem", problem.key), ("config", config.key), ("place", entry.place)):
            if len(text) > MAX_TEXT:
                raise ValueError(f"expected a {what} of at most {MAX_TEXT} characters")
        return Hint(
            problem, device_label(device), config, entry.tool, printable(entry.place), _evidence(entry, device)
        )  # fmt: skip

    def _renamed(self, values: Mapping[str, Any]) -> dict[str, Any]:
        renamed: dict[str, Any] = {}
        for name, value in values.items():
            new = self.names.get(name, name)
            if new and new in renamed:
                raise ValueError(f"two names became {new}: change --map")
            if new:
                renamed[new] = value
        return renamed


def _evidence(entry: Entry, device: str) -> str:
    """Return where an entry came from as JSON: the device's label, versions, and as many times as there is room for."""
    facts = {"device": device, **entry.evidence}
    timings = facts.pop("timings", None)
    while timings:
        text = _json({**facts, "timings": timings})
        if len(text) <= MAX_TEXT:
            return text
        fastest = sorted(timings, key=lambda timing: timing[1] or [float("inf")])
        timings = fastest[: len(timings) // 2]
    return _json(facts)


def _json(facts: Mapping[str, Any]) -> str:
    return json.dumps(facts, sort_keys=True, separators=(",", ":"), allow_nan=False)
