"""A report as one HTML file: tables in it, pictures drawn by the script in it, and nothing loaded from elsewhere."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from html import escape
from importlib import resources
from typing import Any

from tunedb.reporting.parallel_picture import PARALLEL_DESCRIPTION
from tunedb.reporting.parts import Figure, Table, View
from tunedb.reporting.race_pictures import RACE_DESCRIPTION, REGISTERS_DESCRIPTION

SCRIPTS = ("vega-6.4.0.min.js", "vega-lite-6.4.3.min.js")  # their licences lie next to them
LICENCES = ("vega-LICENSE.txt", "vega-lite-LICENSE.txt")
TRIALS = (
    "config",
    "status",
    "time (µs)",
    "p20 (µs)",
    "p80 (µs)",
    "samples",
    "registers per thread",
    "spills per thread",
    "shared memory (bytes)",
    "compile (s)",
    "note",
)
FAILURES = ("status", "reason", "configs", "one of them")
TEXTS = ("config", "status", "note", "reason", "one of them")


def asset(name: str) -> str:
    """Return a file that lies in the package as data."""
    return resources.files("tunedb.reporting").joinpath("assets", name).read_text(encoding="utf-8")


def page(
    title: str, intro: Sequence[str], shared: Sequence[str], views: Sequence[View], problem: str, data: dict[str, Any]
) -> str:
    """Return the page. `problem` is the view of one problem, which comes second; `data` is what the script reads."""
    figures = [
        {"id": figure.id, "view": view.id, "group": group, "spec": {**figure.spec, "description": figure.description}}
        for view in views
        for group, figure in _figures(view)
    ]
    sections = [_section(view) for view in views]
    sections.insert(1, problem)
    links = [(view.id, view.name) for view in views]
    links.insert(1, ("problem", "Problem"))
    navigation = "".join(f'<a href="#{identity}">{escape(name)}</a>' for identity, name in links)
    said = _lines(intro)
    if shared:
        heading = "<summary>Kernels, and what all problems of each share</summary>"
        said += f'<details class="soft">{heading}{_lines(shared)}</details>'
    scripts = "".join(f"<script>{_inline(asset(name))}</script>\n" for name in SCRIPTS)
    licences = "\n\n".join(f"{name}:\n{asset(licence)}" for name, licence in zip(SCRIPTS, LICENCES, strict=True))
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<link rel="icon" href="data:,">\n'
        f"<title>{escape(title)}</title>\n<style>\n{asset('page.css')}</style>\n</head>\n<body>\n"
        f'<header><h1>{escape(title)}</h1>{said}</header>\n<nav aria-label="Views">{navigation}'
        f'<button type="button" id="theme">Light or dark</button></nav>\n<main>\n{"".join(sections)}</main>\n'
        f'<noscript><p class="answer">The pictures need JavaScript; the tables do not.</p></noscript>\n'
        f'<footer class="soft"><details><summary>Software in this page</summary><pre>{escape(licences)}</pre></details>'
        f'</footer>\n<script type="application/json" id="report">{dumped(data | {"figures": figures})}</script>\n'
        f"{scripts}<script>\n{_inline(asset('page.js'))}</script>\n</body>\n</html>\n"
    )


def problem_section(labels: Sequence[str]) -> str:
    """Return the view of one problem, which the script fills."""
    head = '<section id="problem" aria-labelledby="problem-title"><h2 id="problem-title">Why this config?</h2>\n'
    if not labels:
        return f'{head}<p class="answer">No sweep is stored.</p></section>\n'
    options = "".join(f'<option value="{index}">{escape(label)}</option>' for index, label in enumerate(labels))
    race = _picture("race", "The race", RACE_DESCRIPTION, '<p class="soft" id="race-note"></p>')
    registers = _picture("registers", "Registers and spills", REGISTERS_DESCRIPTION)
    lists = '<div id="parallel-lists"></div><p id="parallel-kept" role="status"></p>'
    parallel = _picture("parallel", "Knobs and time", PARALLEL_DESCRIPTION, lists)
    return (
        f'{head}<label class="choose">Problem <select id="choose-problem">{options}</select></label>\n'
        f'<p class="answer" id="problem-answer" role="status"></p><p class="soft" id="problem-facts"></p>\n'
        f'{race}<div class="side-by-side">{registers}<div id="part-failures">'
        f"{_table('failures', 'Configs without a time, by reason', FAILURES)}</div></div>{parallel}"
        f"<details><summary>Table: every trial</summary>{_table('trials', 'Every trial', TRIALS)}</details></section>\n"
    )


def dumped(data: Any) -> str:
    """Return data as JSON that can stand in a script element."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _inline(script: str) -> str:
    """Return a script without what asks for its source map, and without what would end its element."""
    return re.sub(r"\n//# sourceMappingURL=.*", "", script).replace("</script", "<\\/script")


def _lines(texts: Sequence[str]) -> str:
    return "".join(f'<p class="soft">{escape(text)}</p>' for text in texts)


def _figures(view: View) -> list[tuple[int | None, Figure]]:
    grouped = [(number, figure) for number, (_, figures) in enumerate(view.groups) for figure in figures]
    return [*((None, figure) for figure in view.figures), *grouped]


def _section(view: View) -> str:
    parts = [f'<section id="{view.id}" aria-labelledby="{view.id}-title"><h2 id="{view.id}-title">']
    parts.append(f'{escape(view.question)}</h2>\n<p class="answer">{escape(view.answer)}</p>\n')
    parts += [f"{_filled(table)}\n" for table in view.tables if table.rows]
    parts += [_figure(figure) for figure in view.figures]
    if len(view.groups) > 1:
        options = "".join(
            f'<option value="{number}">{escape(name)}</option>' for number, (name, _) in enumerate(view.groups)
        )
        parts.append(
            f'<label class="choose">Kernel and device <select data-view="{view.id}">{options}</select></label>\n'
        )
    elif view.groups:
        parts.append(f'<select data-view="{view.id}" hidden aria-hidden="true"><option value="0"></option></select>')
    for number, (name, figures) in enumerate(view.groups):
        hidden = " hidden" if number else ""
        drawn = "".join(_figure(figure) for figure in figures)
        parts.append(
            f'<div class="side-by-side" data-group-of="{view.id}" data-group="{number}" role="group" '
            f'aria-label="{escape(name)}"{hidden}>{drawn}</div>\n'
        )
    return "".join([*parts, "</section>\n"])


def _picture(identity: str, title: str, description: str, more: str = "") -> str:
    return (
        f'<figure id="part-{identity}" aria-labelledby="title-{identity}">'
        f'<h3 id="title-{identity}">{escape(title)}</h3><figcaption>{escape(description)}</figcaption>{more}'
        f'<div class="picture" id="picture-{identity}"></div></figure>\n'
    )


def _figure(figure: Figure) -> str:
    table = figure.table
    rows = f"{len(table.rows):,} row{'' if len(table.rows) == 1 else 's'}"
    return (
        f'<figure aria-labelledby="title-{figure.id}"><h3 id="title-{figure.id}">{escape(figure.title)}</h3>'
        f"<figcaption>{escape(figure.description)}</figcaption>"
        f'<div class="picture" id="picture-{figure.id}"></div>'
        f"<details><summary>Table: {escape(table.title)} ({rows})</summary>{_filled(table)}</details></figure>\n"
    )


def _filled(table: Table) -> str:
    table = table.without_empty_columns()
    classes = ["number" if column.is_number else "text" for column in table.columns]
    body = "".join(
        "<tr>"
        + "".join(f'<td class="{kind}">{_breakable(text)}</td>' for kind, text in zip(classes, row, strict=True))
        + "</tr>\n"
        for row in table.texts()
    )
    return _table(table.id, table.title, [column.title for column in table.columns], classes, body)


def _breakable(text: str) -> str:
    """Return a cell's text, which may break after the dots and underscores of a long name."""
    return re.sub(r"(?<=\w)[._](?=\w)", r"\g<0><wbr>", escape(text)) if re.search(r"[\w.]{24}", text) else escape(text)


def _table(identity: str, title: str, columns: Sequence[str], classes: Sequence[str] = (), body: str = "") -> str:
    kinds = classes or ["text" if column in TEXTS else "number" for column in columns]
    head = "".join(
        f'<th scope="col" class="{kind}">{escape(column)}</th>' for column, kind in zip(columns, kinds, strict=True)
    )
    return (
        f'<div class="table"><div class="bar"><h3>{escape(title)}</h3>'
        f'<button type="button" class="copy" data-table="table-{identity}">Copy table</button></div>'
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(title)}"><table id="table-{identity}">'
        f"<caption>{escape(title)}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div></div>"
    )
