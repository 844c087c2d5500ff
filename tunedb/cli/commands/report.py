"""`tunedb report`: what a store holds, as a page to look at and to send."""

from __future__ import annotations

import enum
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tunedb._internal.redact import is_path, without_password
from tunedb.cli.bundled import all_stored
from tunedb.cli.command import DeviceOption, command, log
from tunedb.cli.opening import no_store, reading
from tunedb.cli.output import stdout
from tunedb.cli.store_words import store_option
from tunedb.cli.streams import as_file
from tunedb.errors import SettingError

if TYPE_CHECKING:
    from tunedb.reporting.document import Report

STDOUT = "-"
MARKDOWN = (".md", ".markdown")


class ReportFormat(enum.StrEnum):
    """The formats of a report."""

    html = enum.auto()
    md = enum.auto()


@command("report")
def report(
    kernels: Annotated[
        list[str] | None, typer.Argument(metavar="KERNEL", help="Only these kernels.", show_default=False)
    ] = None,
    output: Annotated[
        str | None,
        typer.Option(
            "-o", "--output", metavar="FILE", help="The file to write; - is stdout, the default for Markdown."
        ),
    ] = None,
    format: Annotated[
        ReportFormat | None,
        typer.Option(
            "--format",
            metavar="FORMAT",
            help="html: a page; md: a summary in Markdown. By default, the file's name decides.",
        ),
    ] = None,
    device: DeviceOption = None,
    compare: Annotated[
        tuple[str, str] | None,
        typer.Option(
            "--compare",
            metavar="A B",
            help="Compare two stores, bundles or exported files (paths or URLs), two stored devices, or two "
            "environments, such as triton=3.8.0.",
        ),
    ] = None,
    png: Annotated[
        str | None,
        typer.Option(
            "--png", metavar="DIR", help="Also write the pictures into a folder. Needs the extra tunedb[png]."
        ),
    ] = None,
) -> None:
    """Write a report of the stored sweeps: what tuning gained, why each config won, which knob matters.

    The report is one HTML page that loads nothing from a network. It includes the sweeps of bundles, as `tunedb ls`
    does. The same store and bundles give the same bytes on any machine, apart from the shares of the copy rate, which
    depend on the installed kernels. For that, `stale` means here: tuned in another environment than the kernel's newest
    sweep on the same device.

    Without --compare, the two devices with the most problems in common are compared. If --compare names two stores,
    bundles or files, the report is about these two, and not about the local store and the installed bundles.
    """
    if output is not None and output != STDOUT and (not is_path(output) or Path(output).is_dir()):
        raise SettingError(f"Expected a file to write, got {without_password(output)}. Name a file with -o.")
    if format is None:
        format = ReportFormat.md if output is not None and output.endswith(MARKDOWN) else ReportFormat.html
    made = _made(kernels or (), device, compare)  # first: what can't be made is no matter of a file
    if output is None and format is ReportFormat.html and png is None:
        again = _typed_again(kernels or (), device, compare)
        raise SettingError(f"Expected a file to write the page to. Run: {again} -o report.html{store_option()}")
    if png is not None:
        _draw(made, Path(png))
    if output is not None or format is ReportFormat.md:
        _write(made.html() if format is ReportFormat.html else made.markdown(), output or STDOUT)


def _made(kernels: Sequence[str], device: str | None, compare: tuple[str, str] | None) -> Report:
    from tunedb.reporting.document import make_report, make_report_of_places
    from tunedb.reporting.sides import Kind, common_kind

    if compare is not None and common_kind(*compare) is Kind.STORE:
        return make_report_of_places(compare, kernels, device)
    with reading(announced=False) as store:
        stored = all_stored(store)
        if stored.is_empty:
            raise no_store()
        return make_report(stored, kernels, device, compare)


def _typed_again(kernels: Sequence[str], device: str | None, compare: tuple[str, str] | None) -> str:
    words = ["tunedb", "report", *kernels]
    words += [] if device is None else ["--device", device]
    words += [] if compare is None else ["--compare", *map(without_password, compare)]
    return shlex.join(words)


def _draw(made: Report, folder: Path) -> None:
    pictures = made.pictures()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, picture in pictures.items():
            picture.save(folder / f"{name}.png")
    except OSError as error:
        raise SettingError(f"Can't write to {folder}: {error.strerror}. Name another folder with --png.") from None
    log.info("%d pictures written to %s.", len(pictures), folder)


def _write(text: str, output: str) -> None:
    from tunedb.store import opened_for_writing

    if output == STDOUT:
        with as_file(stdout()) as target, opened_for_writing(target) as file:
            file.write(text)
        return
    try:
        with opened_for_writing(output) as file:
            file.write(text)
    except OSError as error:
        raise SettingError(f"Can't write {output}: {error.strerror}. Name another file with -o.") from None
    log.info("The report is in %s.", output)
