"""The import of other tools' configs as hints: `tunedb import --as-hints`."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterable, Sequence
from pathlib import Path

import typer

from tunedb import registry
from tunedb.cli.bundled import all_stored
from tunedb.cli.command import log
from tunedb.cli.device import current_device_if_any
from tunedb.cli.names import kernel_called, kernel_of_list
from tunedb.cli.opening import reading, writing
from tunedb.cli.output import Format, print_record
from tunedb.cli.store_words import store_option
from tunedb.core.device import Device
from tunedb.core.hint import Candidates, Hint, facts_to_compare, short_facts
from tunedb.core.kernel import ODD_FACTS, RegisteredKernel
from tunedb.core.known_devices import device_label, known_device
from tunedb.core.problem import Problem
from tunedb.errors import AmbiguousName, SettingError
from tunedb.store.exchange.foreign.importing import Mapped, map_entries
from tunedb.store.exchange.foreign.mapping import EntryMapping
from tunedb.store.exchange.foreign.reading import read
from tunedb.store.interface import SweepLists

MAX_PROBLEMS = 50  # stored ones in whose spaces a hint's config is sought


def pairs_of(texts: Sequence[str], option: str) -> dict[str, str]:
    """Return the names and values of options such as `--map M=rows`. Raises SettingError for another form."""
    pairs = {}
    for text in texts:
        name, separator, value = text.partition("=")
        if not (name and separator):
            raise SettingError(f"{option}: expected NAME=NAME, got {text!r:.80}.")
        if name in pairs:
            raise SettingError(f"{option}: {name} is given twice.")
        pairs[name] = value
    return pairs


def import_hints(
    source: str,
    *,
    kernel: str | None,
    names: Sequence[str],
    only: Sequence[str],
    keys: str | None,
    device: str | None,
    dry_run: bool,
    strict: bool,
    format: Format,
) -> None:
    """Store the configs in a file or a folder as hints, and print what became of them. Exit code 1 if any is rejected.

    With `strict` nothing is stored if any is.
    """
    path = Path(source)
    if not path.exists():
        raise SettingError(f"Expected a file or a folder to import, found nothing at {source}.")
    here = current_device_if_any() if device is None else None
    renamed, fields = pairs_of(names, "--map"), pairs_of(only, "--only")
    with reading(announced=False) as store:
        stored_lists = all_stored(store)
        mapping = EntryMapping(
            None if kernel is None else kernel_of_list(stored_lists, kernel),
            renamed, fields, device or (here.name if here else None), any_function=not path.is_dir(),
            kernel_of=functools.cache(functools.partial(_kernel_of, stored_lists)),
        )  # fmt: skip
        spaces = _Spaces(stored_lists, here)
        found = read(path, tuple(name.strip() for name in keys.split(",")) if keys else ())
        mapped = map_entries(found, mapping, spaces.holds, spaces.knows)
        digests = [hint.digest for hint in mapped.hints]
        known = len(store.hints.known(digests)) if store else 0
    stored = 0
    if mapped.hints and not dry_run and not (strict and mapped.rejected):
        with writing() as store:
            stored = store.hints.put_all(mapped.hints)
    _report(mapped, known, stored, format)
    if not (mapped.read or mapped.rejected):
        log.info("There are no configs of other tools in %s. Which files are read: see the guide on hints.", source)
    spaces.say_what_does_not_fit()
    if dry_run:
        log.info("Nothing was stored.")
    if mapped.rejected:
        raise typer.Exit(1)


def _kernel_of(stored: SweepLists, function: str) -> str:
    """Return the name of the kernel that a file's function is; its own if none is known, as it may be decorated yet."""
    try:
        return kernel_called(stored, function)
    except AmbiguousName:
        raise
    except SettingError:
        return function


def _report(mapped: Mapped, known: int, stored: int, format: Format) -> None:
    counts = ("read", "other", "mapped", "outside_space", "unchecked", "unknown_device")
    record = {name: getattr(mapped, name) for name in counts}
    duplicate = {"duplicate": mapped.duplicate + known, "rejected": len(mapped.rejected), "stored": stored}
    print_record({**record, **duplicate}, format)
    for rejection in mapped.rejected:
        log.error("tunedb: %s: %s", rejection.place, rejection.reason)


class _Spaces:
    """The search spaces of installed kernels, for the problems that hints may be for."""

    def __init__(self, stored: SweepLists, here: Device | None) -> None:
        devices = (*stored.upkeep.devices(), *([here] if here else []))
        self._devices = {device_label(device.name): device for device in devices}
        self._stored = stored
        self._kernels: dict[str, RegisteredKernel | None] = {}
        self._problems: dict[str, list[Problem]] = {}
        self._candidates: dict[tuple[Problem, str], Candidates | None] = {}
        self._unfit: dict[str, set[str]] = {}  # names of facts of hints that no known problem fits, by kernel

    def knows(self, device: str) -> bool:
        """Say whether the device of a label is known."""
        return device in self._devices or known_device(device) is not None

    def holds(self, hint: Hint) -> bool | None:
        """Say whether a hint's config is in a space of its kernel; None if none of its spaces is known."""
        kernel = self._kernel(hint.problem.kernel)
        known = known_device(hint.device)
        device = self._devices.get(hint.device) or (None if known is None else known.device)
        if kernel is None or device is None:
            return None
        spaces = [self._space(kernel, problem, device) for problem in self._problems_for(hint, kernel)]
        if not spaces:
            self._unfit.setdefault(kernel.name, set()).update(short_facts(hint.problem))
        known_spaces = [space for space in spaces if space is not None]
        return any(space.find(hint.config) is not None for space in known_spaces) if known_spaces else None

    def say_what_does_not_fit(self) -> None:
        """Say which facts of hints no problem of their kernel has: a field may have another name there."""
        for kernel, names in sorted(self._unfit.items()):
            log.info(
                "No known problem of %s has all of these facts of hints, which stay unchecked: %s. To rename a field: "
                "--map FIELD=FACT; to leave it out: --map FIELD=. Stored problems show their facts: "
                "tunedb ls --kernel %s%s",
                kernel, ", ".join(sorted(names)), kernel, store_option(),
            )  # fmt: skip

    def _kernel(self, name: str) -> RegisteredKernel | None:
        if name not in self._kernels:
            self._kernels[name] = registry.installed([name]).get(name)
        return self._kernels[name]

    def _problems_for(self, hint: Hint, kernel: RegisteredKernel) -> Iterable[Problem]:
        """Yield the problem that the hint's facts make, and stored ones that it may serve."""
        with contextlib.suppress(*ODD_FACTS):  # most hints lack some of what a problem is made of
            yield kernel.problem(dict(hint.problem))
        name = hint.problem.kernel
        if name not in self._problems:
            sweeps = self._stored.iter_sweeps(kernel=name)
            self._problems[name] = list(dict.fromkeys(sweep.problem for sweep in sweeps))
        facts = short_facts(hint.problem)
        fitting = (
            problem for problem in self._problems[name] if facts_to_compare(facts, short_facts(problem)) is not None
        )
        yield from (problem for problem, _ in zip(fitting, range(MAX_PROBLEMS), strict=False))

    def _space(self, kernel: RegisteredKernel, problem: Problem, device: Device) -> Candidates | None:
        key = problem, device.digest
        if key not in self._candidates:
            try:
                self._candidates[key] = Candidates(kernel.space(problem, device))
            except ODD_FACTS:
                self._candidates[key] = None
        return self._candidates[key]
