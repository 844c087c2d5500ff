"""`tunedb diff`: how the winners of two stores, devices or environments differ."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from tunedb._internal.redact import without_password
from tunedb.cli.bundled import bundled_sweeps
from tunedb.cli.command import FormatOption, KernelOption, command, log
from tunedb.cli.opening import reading, sweeps_of
from tunedb.cli.output import Format, print_rows
from tunedb.cli.store_words import printable_store
from tunedb.core.device import Environment
from tunedb.core.sweep import Sweep
from tunedb.errors import SettingError, TunedbError
from tunedb.store.difference import Pair, Verdict, difference

_COLUMNS = ("kernel", "problem", "device_a", "device_b", "verdict", "config_a", "config_b", "change", "loss_of_a")
_SIDE = "A store or a bundle (a file, a URL), a stored device, or an environment such as triton=3.8.0."
_FIELDS = Environment.__slots__


@command("diff")
def diff(
    source: Annotated[str, typer.Argument(metavar="A", help=_SIDE)],
    target: Annotated[str, typer.Argument(metavar="B", help="Another one of the same kind.")],
    kernel: KernelOption = None,
    all_: Annotated[bool, typer.Option("--all", help="Also problems whose configs are the same.")] = False,
    format: FormatOption = Format.table,
) -> None:
    """List how the winners of two stores, devices or environments differ: problem by problem.

    `flip` is a problem whose winning configs differ, `only A` and `only B` one that one side has. `loss_of_a` says
    by how much A's config was slower than B's when B was tuned (0.05: by 5 %), if it was timed there. `change` compares
    the two winners' times, which are of two sweeps. Devices and environments are those of the store. Exit code 1 if
    anything differs.
    """
    kinds = {_kind(text) for text in (source, target)}
    if len(kinds) > 1:
        raise SettingError(
            f"Expected two stores, two devices or two environments, got a {' and a '.join(sorted(kinds))}. "
            "A file has to exist; a device is named as tunedb devices lists it."
        )
    (kind,) = kinds
    pairs = difference(_sweeps(kind, source, kernel), _sweeps(kind, target, kernel), across_devices=kind == "device")
    differing = [pair for pair in pairs if pair.verdict is not Verdict.SAME]
    print_rows(map(_row, pairs if all_ else differing), format, _COLUMNS)
    counts = Counter(pair.verdict for pair in pairs)
    log.info("%s", ", ".join(f"{counts[verdict]} {verdict}" for verdict in Verdict))
    if differing:
        raise typer.Exit(1)


def _kind(text: str) -> str:
    if "://" in text or Path(text).is_file():
        return "store"
    return "environment" if text.partition("=")[0] in _FIELDS and "=" in text else "device"


def _sweeps(kind: str, text: str, kernel: str | None) -> list[Sweep]:
    """Return the sweeps of one side, with their trials. Raises TunedbError if it has none."""
    if kind == "store":
        sweeps = [sweep for sweep in _of_file(text) if kernel in (None, sweep.problem.kernel)]
        place = without_password(text)
    else:
        device, is_wanted = (text, _any) if kind == "device" else (None, _matching(text))
        with reading(announced=False) as store:
            stored = list(sweeps_of(store, kernel=kernel, device=device, with_trials=True))
            sweeps = [*stored, *bundled_sweeps(store, kernel=kernel, device=device)]
        if len({sweep.device for sweep in sweeps}) > 1 and kind == "device":
            raise SettingError(f"{text!r} fits several devices. Give the whole text of one: tunedb devices")
        sweeps = [sweep for sweep in sweeps if is_wanted(sweep)]
        place = f"{kind} {text} in {printable_store()}"
    tuned = [sweep for sweep in sweeps if sweep.leaves_its_store]
    if not tuned:
        raise TunedbError(f"Nothing is tuned{f' of {kernel}' if kernel else ''} in {place}. See: tunedb ls")
    return tuned


def _of_file(text: str) -> list[Sweep]:
    from tunedb.store import open_store
    from tunedb.store.bundle import sources
    from tunedb.store.bundle.file_format import is_bundle
    from tunedb.store.bundle.reading import Bundle

    if "://" not in text:
        with Path(text).open("rb") as file:
            head = file.read(100)
        if is_bundle(head):
            with contextlib.closing(Bundle(sources.named([text])[0])) as bundle:
                return list(bundle.iter_sweeps())
    store = open_store(text, migrate=False, create=False)
    if store is None:
        raise TunedbError(f"There is no store at {without_password(text)}. See: tunedb path")
    with store:
        return list(store.iter_sweeps(with_trials=True))


def _any(_: Sweep) -> bool:
    return True


def _matching(text: str) -> Callable[[Sweep], bool]:
    """Return whether a sweep's environment has these facts, such as `triton=3.8.0,torch=2.13.0`."""
    wanted = dict(part.partition("=")[::2] for part in text.split(","))
    if not set(wanted) <= set(_FIELDS):
        raise SettingError(f"Expected some of {', '.join(f'{name}=...' for name in _FIELDS)}, got {text!r}.")

    def fits(environment: Environment) -> bool:
        return all(getattr(environment, name) == value for name, value in wanted.items())

    return lambda sweep: any(map(fits, sweep.environments))


def _row(pair: Pair) -> dict[str, Any]:
    return {
        "kernel": pair.problem.kernel,
        "problem": pair.problem.plain(),
        "verdict": str(pair.verdict),
        **_side("a", pair.a),
        **_side("b", pair.b),
        "change": _more(pair.ratio),
        "loss_of_a": _more(pair.cost_on_b),
        "loss_of_b": _more(pair.cost_on_a),
    }


def _more(ratio: float | None) -> float | None:
    return None if ratio is None else ratio - 1


def _side(name: str, sweep: Sweep | None) -> dict[str, Any]:
    return {
        f"device_{name}": sweep and sweep.device.name,
        f"config_{name}": sweep and sweep.config and sweep.config.plain(),
        f"time_us_{name}": sweep and sweep.time_us,
        f"uid_{name}": sweep and sweep.uid,
        f"environment_{name}": sweep and {field: getattr(sweep.environment, field) for field in _FIELDS},
    }
