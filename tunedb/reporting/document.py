"""Reports: made from a store, and written as a page, as Markdown or as pictures."""

from __future__ import annotations

import html as html_text
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunedb.core.device import Device
from tunedb.core.sweep import MISSES
from tunedb.errors import SettingError
from tunedb.reporting import html, markdown
from tunedb.reporting.comparing import compare_view
from tunedb.reporting.coverage import coverage_view
from tunedb.reporting.facts import Facts, count_misses, devices_meant, facts_of, open_misses, read_misses, read_sweeps
from tunedb.reporting.knobs import knobs_view
from tunedb.reporting.limits import limits_of
from tunedb.reporting.parallel_picture import parallel_spec
from tunedb.reporting.parts import View
from tunedb.reporting.picture import Picture, race_picture
from tunedb.reporting.race_pictures import race_spec, registers_spec
from tunedb.reporting.races import page_data
from tunedb.reporting.sides import compared, natural_comparison, sides_of_places, sides_of_stored
from tunedb.reporting.summary import summary_sentence, summary_view
from tunedb.tuner.stored_device import listed
from tunedb.tuner.stored_names import among, check_stored, no_device

if TYPE_CHECKING:
    from tunedb.store.stored import Stored


@dataclass(frozen=True)
class Report:
    """A report of what a store holds: `save` it, or show it in a notebook.

    The same store and bundles give the same report: times are absolute, and what is installed here plays no part, but
    for the bytes that an installed kernel states.
    """

    title: str
    intro: Sequence[str]
    facts: Facts = field(repr=False)
    shared: Sequence[str] = ()  # what all problems of a kernel have in common, which labels leave out

    def views(self) -> list[View]:
        """Return the views, without the one of a single problem."""
        return [
            summary_view(self.facts),
            knobs_view(self.facts),
            compare_view(self.facts.comparison),
            coverage_view(self.facts),
        ]

    def html(self) -> str:
        """Return the page: one self-contained HTML file, which loads nothing from a network."""
        races = page_data(self.facts)
        data = {
            "races": races,
            "specs": {"race": race_spec(), "registers": registers_spec(), "parallel": _parallel(races)},
        }
        short = self.facts.kernel_labels
        labels = [f"{short[one['kernel']]} · {one['label']} · {one['device']}" for one in races["problems"]]
        return html.page(self.title, self.intro, self.shared, self.views(), html.problem_section(labels), data)

    def markdown(self) -> str:
        """Return the summary, for an issue or a pull request."""
        return markdown.markdown(self.title, [*self.intro, *self.shared], self.views())

    def race(self, uid: str | None = None) -> Picture | None:
        """Return the picture of a sweep's race: of the one with that uid, else of the one that tuning gained most in.

        None if nothing was timed, or if the sweep is not one that answers.
        """
        return race_picture(self.facts, uid)

    def pictures(self) -> dict[str, Picture]:
        """Return the pictures of the views by a name for their files, and the race of `race()`."""
        pictures = {
            figure.id: Picture(figure.title if name is None else f"{figure.title}: {name}", figure.spec)
            for view in self.views()
            for name, figures in ((None, view.figures), *view.groups)
            for figure in figures
        }
        race = self.race()
        return pictures if race is None else {**pictures, "race": race}

    def save(self, path: str | Path) -> Path:
        """Write the page, or the summary if the file's name ends in `.md`; return the file."""
        file = Path(path)
        text = self.markdown() if file.suffix == ".md" else self.html()
        file.write_text(text, encoding="utf-8", newline="\n")
        return file

    def __repr__(self) -> str:
        return f"Report({self.title!r}: {summary_sentence(self.facts)})"

    def _repr_html_(self) -> str:
        """Return a frame with the page, for notebooks."""
        page = html_text.escape(self.html())
        return f'<iframe srcdoc="{page}" title="tunedb report" style="width:100%;height:720px;border:0"></iframe>'


def make_report(
    stored: Stored,
    kernels: Sequence[str] = (),
    device: str | None = None,
    compare: tuple[str, str] | None = None,
) -> Report:
    """Return the report of what is stored, in a store, in bundles or in both, of these kernels on a device, or of all.

    A kernel may be named without its module. `compare` names two stored devices, or two environments
    (`triton=3.8.0`). Without it, the two devices with the most problems in common are compared. Raises SettingError for
    names that nothing stored has.
    """
    store = stored.whole
    missed_kernels = () if store is None else (miss.usage.problem.kernel for miss in store.usage.served(MISSES))
    known = {*stored.upkeep.kernels(), *missed_kernels}
    check_stored(kernels, known)
    unanswered = open_misses(stored)
    names, wanted = among(kernels, known), devices_meant(stored, device, unanswered)
    sweeps = read_sweeps(stored, names, wanted)
    missed = read_misses(unanswered, names, wanted)
    if device is not None and not sweeps and not missed:
        raise SettingError(_nothing_on(device, wanted or (), stored.upkeep.devices()))
    facts = facts_of(sweeps, missed, count_misses(unanswered))
    facts = replace(facts, limits_us=limits_of(facts, {} if store is None else store.copy_rates.get()))
    if compare is None:
        comparison = natural_comparison(sweeps)
    else:
        comparison = compared(*sides_of_stored(*compare, stored, kernels=names, device=device))
    return _report(replace(facts, comparison=comparison))


def make_report_of_places(places: tuple[str, str], kernels: Sequence[str] = (), device: str | None = None) -> Report:
    """Return the report of two stores, bundles or exported files together, which compares them.

    The local store plays no part. Raises as `sides_of_places` does.
    """
    sides = sides_of_places(*places, kernels=kernels, device=device)
    facts = facts_of({sweep.uid: sweep for side in sides for sweep in side.sweeps}.values(), {}, {})
    rates = {digest: rate for side in reversed(sides) for digest, rate in side.copy_rates.items()}
    report = _report(replace(facts, limits_us=limits_of(facts, rates), comparison=compared(*sides)))
    return replace(report, intro=[f"All of {sides[0].name} and {sides[1].name}.", *report.intro])


def _report(facts: Facts) -> Report:
    names = [f"{label} is {kernel}" for kernel, label in facts.kernel_labels.items() if label != kernel]
    shared = [f"All problems of {kernel}: {text}" for kernel, text in facts.labels.shared().items()]
    shared = [f"{'; '.join(names)}.", *shared] if names else shared
    return Report(_title(facts), _intro(facts), facts, shared)


def _nothing_on(device: str, wanted: Collection[Device], stored: Collection[Device]) -> str:
    """Return why nothing is reported: no device has the name, or nothing of these kernels is stored for it."""
    if not wanted:
        return no_device(device, stored)
    return f"Nothing of these kernels is stored for {listed(wanted)}."


def _title(facts: Facts) -> str:
    kernels = sorted({answer.problem.kernel for answer in facts.answers})
    devices = list(facts.devices.values())
    named = ", ".join(kernels) if 0 < len(kernels) <= 3 else f"{len(kernels)} kernels"
    where = devices[0] if len(devices) == 1 else f"{len(devices)} devices"
    return f"{named} on {where}" if facts.answers else "Nothing is stored"


def _intro(facts: Facts) -> list[str]:
    moments = [one.finished for answer in facts.answers for one in answer.sweeps if one.finished is not None]
    lines = []
    if moments:
        count = sum(len(answer.sweeps) for answer in facts.answers)
        first, last = (f"{moment:%Y-%m-%d %H:%M}" for moment in (min(moments), max(moments)))
        lines.append(
            f"{count:,} sweep{'' if count == 1 else 's'}, from {first} to {last} UTC. Times are medians in "
            "microseconds. Times of one sweep are compared with each other; those of different sweeps only in Compare."
        )
    return lines


def _parallel(races: dict[str, Any]) -> list[Any]:
    """Return the specs of parallel coordinates, and give each problem the number of its own."""
    numbers: dict[tuple[str, ...], int] = {}
    for problem in races["problems"]:
        problem["parallel"] = numbers.setdefault(tuple(problem["knobs"]), len(numbers))
    return [parallel_spec(dict.fromkeys(knobs, ())) for knobs in numbers]
