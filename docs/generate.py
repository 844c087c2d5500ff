"""Writes the parts of the reference that follow from the code: commands, settings, tables.

`docs/conf.py` calls it at each build, so that these pages can't become outdated.
"""

from __future__ import annotations

import ast
import inspect
import io
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import ModuleType

from tunedb import settings

EXAMPLE = "report-example.html"  # the page's name in the site


def write(folder: Path) -> None:
    """Write one Markdown file per generated part into the folder."""
    folder.mkdir(exist_ok=True)
    for name, text in (("cli", commands()), ("settings", settings_table()), ("store-schema", tables())):
        (folder / f"{name}.md").write_text(text)
    (folder / "report-example.md").write_text(example_report(folder / "site" / EXAMPLE))


def example_report(page: Path, sweeps: Path | None = None) -> str:
    """Write the report of the example sweeps, if there are any; return what the guide says of it."""
    from benchmarks import report_page

    sweeps = sweeps or report_page.FOLDER

    page.parent.mkdir(parents=True, exist_ok=True)
    if not report_page.write_page(page, sweeps):
        return "To see one, tune something and make it: `tunedb demo`, then `tunedb report -o report.html`.\n"
    kinds = ", ".join(report_page.devices(sweeps))
    link = f'<a href="../{EXAMPLE}">A report of average pooling, softmax, layer norm and matrix products</a>'
    return f"{link} on real GPUs ({kinds}) shows what a page looks like.\n"


def commands() -> str:
    """Return a section per command, from Typer's own documentation of the program."""
    words = [sys.executable, "-m", "typer", "tunedb.cli", "utils", "docs", "--name", "tunedb"]
    done = subprocess.run(words, capture_output=True, text=True, check=True, cwd=Path(__file__).parent.parent)
    sections = done.stdout[done.stdout.index("\n## ") + 1 :]
    return re.sub(r"^\* `--help`:.*\n", "", sections, flags=re.MULTILINE)


def settings_table() -> str:
    """Return the table of settings: variable, meaning, default."""
    meanings = comments_of_class(settings, "Settings")
    rows = []
    for name, (variable, _, default) in settings._PARSERS.items():
        text = str(default() or "none").replace(str(Path.home()), "~")
        meaning = meanings[name].replace("MODES", ", ".join(f"`{mode}`" for mode in settings.MODES))
        rows.append((f"`{variable}`", meaning, text if text == "none" else f"`{text}`"))
    return table(("variable", "meaning", "default"), rows)


def tables() -> str:
    """Return a section per table of the store: what a row is, and its columns."""
    from tunedb.store.sql import models

    sections = []
    classes = {mapper.local_table.name: mapper.class_ for mapper in models.Base.registry.mappers}
    for stored in models.Base.metadata.sorted_tables:
        model = classes[stored.name]
        comments, rows = comments_of_class(models, model.__name__), []
        for column in stored.columns:
            notes = ["primary key"] if column.primary_key else []
            notes += [f"references `{key.target_fullname}`" for key in column.foreign_keys]
            notes += ["unique"] if column.unique else []
            notes += [comments[column.name]] if column.name in comments else []
            kind = str(column.type).lower() + (" or null" if column.nullable else "")
            rows.append((f"`{column.name}`", kind, "; ".join(notes)))
        sections.append(f"## `{stored.name}`\n\n{inspect.getdoc(model)}\n\n")
        sections.append(table(("column", "type", "notes"), rows) + "\n")
    return "".join(sections)


def comments_of_class(module: ModuleType, name: str) -> dict[str, str]:
    """Return, for each annotated field of a class, the comment at the end of its line."""
    source = inspect.getsource(module)
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    comments = {token.start[0]: token.string.lstrip("# ") for token in tokens if token.type == tokenize.COMMENT}
    (found,) = [node for node in ast.parse(source).body if isinstance(node, ast.ClassDef) and node.name == name]
    return {
        field.target.id: comments[field.end_lineno]
        for field in found.body
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and field.end_lineno in comments
    }


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)
