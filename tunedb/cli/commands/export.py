"""`tunedb export`: stored sweeps as a file."""

from __future__ import annotations

import contextlib
import enum
import itertools
from pathlib import Path
from typing import Annotated

import typer

from tunedb._internal.counted import counted
from tunedb._internal.redact import is_path, without_password
from tunedb.cli.bundled import Exported, check_output, write_bundle_of
from tunedb.cli.command import DeviceOption, KernelOption, command, log
from tunedb.cli.opening import reading
from tunedb.cli.output import stdout
from tunedb.cli.streams import as_file
from tunedb.errors import SettingError, TunedbError

STDOUT = "-"
_WHY_LEFT_OUT = "A newer or better sweep superseded them, they failed, are quarantined, or of another device or kernel."


class FileFormat(enum.StrEnum):
    """The formats of an exported file."""

    jsonl = enum.auto()
    python = enum.auto()
    module = enum.auto()
    bundle = enum.auto()
    json_configs = "json-configs"
    t4 = enum.auto()
    kernel_tuner_cache = "kernel-tuner-cache"


_OF_FOLDERS = (FileFormat.json_configs, FileFormat.t4, FileFormat.kernel_tuner_cache)


@command("export")
def export(
    output: Annotated[
        str, typer.Option("-o", "--output", metavar="FILE", help="The file to write, or the folder; - is stdout.")
    ],
    file_format: Annotated[
        FileFormat,
        typer.Option(
            "--format",
            metavar="FORMAT",
            help="jsonl: all that import needs; python: a table of configs; module: a kernel; "
            "bundle: a read-only store for a package; json-configs, t4, kernel-tuner-cache: folders.",
        ),
    ] = FileFormat.jsonl,
    kernel: KernelOption = None,
    device: DeviceOption = None,
    winners: Annotated[
        bool | None,
        typer.Option("--winners/--all", help="bundle: only what answers calls (the default), or all trials."),
    ] = None,
    bundles: Annotated[
        bool, typer.Option("--bundles", help="Also sweeps that only bundles have. Not with jsonl.")
    ] = False,
    shipped: Annotated[
        bool, typer.Option("--shipped", help="With --bundles: also the sweeps that come with tunedb.")
    ] = False,
    cover: Annotated[
        float | None,
        typer.Option(
            "--cover", metavar="FACTOR", help="python: the fewest configs that are within this factor of the best."
        ),
    ] = None,
    layout: Annotated[
        str | None,
        typer.Option(
            "--layout", metavar="NAME", help="json-configs: the files' names, with facts and {device} in braces."
        ),
    ] = None,
    rows: Annotated[
        str | None, typer.Option("--rows", metavar="FACT", help="json-configs: the fact that is the key inside a file.")
    ] = None,
    names: Annotated[
        list[str] | None,
        typer.Option("--map", metavar="NAME=NAME", help="json-configs: rename a fact or knob; NAME= leaves it out."),
    ] = None,
    fold_h200: Annotated[
        bool, typer.Option("--fold-h200", help="json-configs: call every H200 NVIDIA_H200, as vLLM does.")
    ] = False,
    triton_version: Annotated[
        bool, typer.Option("--triton-version", help="json-configs: write Triton's version into each file.")
    ] = False,
) -> None:
    """Write stored sweeps to a file.

    The file is written as a whole or not at all. If nothing is stored, no file is written and the exit code is 1.

    - `jsonl`: tuned sweeps with all their trials and marks; `tunedb import` reads it.
    - `python`: a module with a table of triton.Config. With --cover: the fewest configs that serve all problems of a
      kernel, and a function that chooses one.
    - `module`: one file with a kernel, its tuned configs and a class ModelNew, which needs only torch and triton.
    - `bundle`: a read-only store to ship in a package or an image, which calls find by the entry point group
      tunedb.bundles or by TUNEDB_BUNDLES. It has no names of hosts, no marks and no texts of errors.
    - `json-configs`: a folder with the winners, as vLLM, SGLang and Hugging Face's kernels read them.
    - `t4`, `kernel-tuner-cache`: a folder with all trials of each problem, as Kernel Tuner and its tools read them.

    What other packages tuned and ship is left out unless --bundles is given, and what tunedb ships unless --shipped is
    given too.
    """
    options = {"--layout": layout, "--rows": rows, "--map": names, "--fold-h200": fold_h200,
               "--triton-version": triton_version}  # fmt: skip
    given = [option for option, value in options.items() if value]
    if given and file_format is not FileFormat.json_configs:
        raise SettingError(f"{', '.join(given)}: needs --format json-configs.")
    if cover is not None and file_format is not FileFormat.python:
        raise SettingError("--cover needs --format python.")
    is_bundle = file_format is FileFormat.bundle
    if winners is not None and not is_bundle:
        raise SettingError("--winners and --all are of --format bundle: the other formats say what they hold.")
    if bundles and file_format is FileFormat.jsonl:
        raise SettingError(
            "--bundles is not for jsonl, which is for sweeps with all trials: a bundle may have left some out. "
            "Use --format bundle."
        )
    if shipped and not bundles:
        raise SettingError("--shipped is for --bundles: it adds the bundle that comes with tunedb.")
    source = Exported(kernel, device, bundles=bundles, shipped=shipped)
    if not is_path(output):
        raise SettingError(f"Expected a file to write, got {without_password(output)}. Name a file with -o.")
    if file_format in _OF_FOLDERS:
        from tunedb.cli.foreign_export import export_folder, layout_of

        chosen = (
            layout_of(layout, rows, names or [], folds_h200=fold_h200, with_version=triton_version)
            if file_format is FileFormat.json_configs
            else None
        )
        export_folder(output, file_format.value, chosen, source)
        return
    if output != STDOUT and Path(output).is_dir():
        raise SettingError(f"Expected a file to write, got the folder {output}. Name a file with -o.")
    if is_bundle:
        check_output(output)
    from tunedb.store import dump, opened_for_writing

    with contextlib.ExitStack() as stack:
        target = stack.enter_context(as_file(stdout())) if output == STDOUT else output
        store = stack.enter_context(reading(announced=False))
        with_trials = is_bundle or file_format is FileFormat.jsonl or cover is not None
        sweeps = source.sweeps(store, with_trials=with_trials)
        first = next(sweeps, None)
        if first is None:
            raise source.nothing_found(store)
        found = itertools.chain([first], sweeps)
        try:
            if file_format is FileFormat.jsonl:
                count = written = dump(found, target, ordered=True)
            elif is_bundle:
                exported = list(found)
                count, written = len(exported), write_bundle_of(exported, output, only_winners=winners is not False)
                if not written:
                    raise TunedbError(f"No stored sweep can answer a call: no file was written. {_WHY_LEFT_OUT}")
            else:
                from tunedb.cli import module_export
                from tunedb.cli.foreign_export import covered
                from tunedb.store.exchange.python_source import python_source

                exported = list(found)
                make = python_source if file_format is FileFormat.python else module_export.module_source
                text, written = make(exported) if cover is None else covered(exported, cover)
                count = len(exported)
                with opened_for_writing(target) as file:
                    file.write(text)
        except OSError as error:
            if output == STDOUT:
                raise
            raise SettingError(f"Can't write {output}: {error.strerror}. Name another file with -o.") from None
    place = "stdout" if output == STDOUT else output
    if cover is not None:  # whose figures and what it leaves out were logged
        log.info("Written to %s.", place)
    elif written == count:
        log.info("%s written to %s.", counted(written, "sweep"), place)
    else:
        many = counted(count, "sweep")
        log.info("%s of %s written to %s: the others are left out. %s", f"{written:,}", many, place, _WHY_LEFT_OUT)
