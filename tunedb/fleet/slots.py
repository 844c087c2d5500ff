"""Slots: the places of this host where one sweep at a time runs, which are its GPUs, or interpreters on the CPU."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tunedb import settings
from tunedb._internal.child_environment import environment_without
from tunedb._internal.control import let_pass
from tunedb.core.device import INTERPRETER, Device, Placement
from tunedb.core.task import TuningTask
from tunedb.errors import SettingError, SweepError
from tunedb.runtime import driver
from tunedb.runtime.current_device import gpu
from tunedb.runtime.driver import DriverSilent

PROBE_S = 120.0  # for a process that asks what a GPU is; by judgement: it imports torch and makes a CUDA context
_PROBE = """
import dataclasses, json
from tunedb.runtime import driver
from tunedb.runtime.current_device import gpu
from tunedb.runtime.driver import DriverSilent
device = gpu(0)
names = ("name", "backend", "arch", "multiprocessors", "info")
print(json.dumps({name: getattr(device, name) for name in names}))
"""


@dataclass(frozen=True, slots=True)
class Slot:
    """A place where one sweep at a time runs, in a worker of its own."""

    name: str  # for people, such as `GPU 0`
    device: Device
    here: int | None  # the device's index in this process; None if only a process of its own sees it
    index: int  # the device's index in the worker
    variables: Mapping[str, str] = field(default_factory=dict)  # of the worker's environment
    words: tuple[str, ...] = ()  # by which `--devices` may name it, other than by its number
    uuid: str = ""  # the GPU's, if it is known

    @property
    def gpu_name(self) -> str | None:
        """The GPU's name on this host: its UUID, or what CUDA_VISIBLE_DEVICES calls it; None for an interpreter.

        Under a launcher that shows each process one GPU, every process calls its own 0. A MIG instance's name is its
        own, while torch may know the UUID of the GPU that it is a part of.
        """
        name = self.variables.get("CUDA_VISIBLE_DEVICES")
        return name if name is None or name.startswith("MIG-") else self.uuid or name

    @property
    def placement(self) -> Placement:
        """The placement on its device, as this process sees it."""
        return Placement(self.device, self.here)


def interpreters(workers: int) -> list[Slot]:
    """Return slots for so many interpreters on the CPU."""
    return [Slot(f"interpreter {number}", INTERPRETER, -1, -1, {"TRITON_INTERPRET": "1"}) for number in range(workers)]


def gpu_slots() -> list[Slot]:
    """Return a slot for each GPU that this process may use; none without a GPU.

    CUDA_VISIBLE_DEVICES says which they are, by number, UUID or name of a MIG instance. Asks the driver library, and
    torch only if that is loaded or if the driver can't tell: this process runs nothing on them.
    """
    if "torch" not in sys.modules:
        with contextlib.suppress(DriverSilent):
            return _gpu_slots(("CUDA_VISIBLE_DEVICES",), [(gpu.device, gpu.uuid) for gpu in driver.visible_gpus()])
    import torch

    variables = ("HIP_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES") if torch.version.hip else ("CUDA_VISIBLE_DEVICES",)
    return _gpu_slots(variables, [_as_torch_sees_it(number) for number in range(torch.cuda.device_count())])


def visible_names(listed: str | None, count: int) -> list[str]:
    """Return what a worker's CUDA_VISIBLE_DEVICES has to be for each GPU of which this process sees `count`.

    `listed` is this process's own CUDA_VISIBLE_DEVICES. CUDA shows a process only the first MIG instance of the list;
    the others are returned too, because a worker of its own sees each of them.
    """
    if listed is None:
        return [str(number) for number in range(count)]
    names = list(dict.fromkeys(name.strip() for name in listed.split(",")))
    if names[0].startswith("MIG-"):
        return [name for name in names if name.startswith("MIG-")]
    return names[:count]


def select(slots: Sequence[Slot], text: str) -> list[Slot]:
    """Return the slots that `text` names: `all`, or numbers and UUIDs, or the beginnings of these, with commas.

    Numbers count the visible GPUs from 0, as torch does. Raises SettingError for a word that names none or several.
    """
    if text.strip() == "all":
        return list(slots)
    selected: dict[int, Slot] = {}
    for word in (word.strip() for word in text.split(",")):
        numbers = [number for number, slot in enumerate(slots) if _is_named(slot, number, word)]
        if len(numbers) != 1:
            known = ", ".join(_described(number, slot) for number, slot in enumerate(slots)) or "none"
            fault = "no visible GPU" if not numbers else "several GPUs"
            raise SettingError(f"--devices: {word!r} names {fault}. Visible: {known}. To use all: --devices all")
        selected[numbers[0]] = slots[numbers[0]]
    return list(selected.values())


def on_slots(tasks: Sequence[TuningTask], slots: Sequence[Slot]) -> list[TuningTask]:
    """Return the tasks for each model of GPU among the slots."""
    placements = {slot.device.digest: slot.placement for slot in reversed(slots)}
    return [
        TuningTask(task.kernel, task.problem, placement, task.arguments)
        for placement in reversed(placements.values())
        for task in tasks
    ]


def needed(slots: Sequence[Slot], tasks: Sequence[TuningTask]) -> list[Slot]:
    """Return the slots that the tasks need: of each device no more than it has tasks."""
    left = Counter(task.device.digest for task in tasks)
    taken = []
    for slot in slots:
        if left[slot.device.digest]:
            left[slot.device.digest] -= 1
            taken.append(slot)
    return taken


def _is_named(slot: Slot, number: int, word: str) -> bool:
    if word.isdecimal():
        return int(word) == number
    return len(word) >= len("GPU-x") and any(name.lower().startswith(word.lower()) for name in slot.words)


def _described(number: int, slot: Slot) -> str:
    return " or ".join((str(number), *slot.words)) + f" ({slot.device.name})"


def _gpu_slots(variables: Sequence[str], seen: Sequence[tuple[Device, str] | None]) -> list[Slot]:
    """Return the slots of the GPUs that this process sees, each with its UUID, or as None if it can't ask for it."""
    if not seen:
        return []
    slots = []
    for number, name in enumerate(visible_names(settings.visible_devices(variables), len(seen))):
        own = dict.fromkeys(variables, name)
        device, uuid = (seen[number] if number < len(seen) else None) or (probe(own), "")
        words = [] if name.isdecimal() else [name]
        if uuid and not words:
            words.append(uuid)
        here = number if number < len(seen) else None
        slots.append(Slot(f"GPU {number}", device, here, 0, own, tuple(words), uuid))
    return slots


def _as_torch_sees_it(index: int) -> tuple[Device, str] | None:
    try:
        return gpu(index), _uuid(index)
    except RuntimeError as error:  # this process is a fork of one that uses CUDA: it can't
        let_pass(error)
        return None


def _uuid(index: int) -> str:
    import torch

    uuid = getattr(torch.cuda.get_device_properties(index), "uuid", None)  # not in every build of torch
    return "" if uuid is None else f"GPU-{uuid}"


def probe(variables: Mapping[str, str], run: Callable[..., Any] = subprocess.run) -> Device:
    """Return the only GPU that a process with these variables sees. Raises SweepError if it sees none."""
    answer = run(
        [sys.executable, "-P", "-c", _PROBE],
        env=environment_without() | dict(variables),
        capture_output=True,
        text=True,
        check=False,
        timeout=PROBE_S,
    )
    if answer.returncode:
        reason = (answer.stderr.strip().splitlines() or [f"exit code {answer.returncode}"])[-1]
        raise SweepError(f"The GPU {', '.join(variables.values())} can't be used: {reason}")
    return Device(**json.loads(answer.stdout))
