"""Executes a notebook's code cells, and writes their outputs into it: `python -m docs.notebook FILE.ipynb`.

Without Jupyter: a cell's outputs are what it prints and the text and HTML of its last expression, as IPython's are.
"""

from __future__ import annotations

import ast
import base64
import contextlib
import io
import json
import sys
from pathlib import Path
from typing import Any


def load(path: Path) -> dict[str, Any]:
    """Return a notebook."""
    return dict(json.loads(path.read_text(encoding="utf-8")))


def code_cells(notebook: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the cells that hold code."""
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def execute(notebook: dict[str, Any]) -> None:
    """Execute the code cells in one namespace, and give each its outputs. Raises what a cell raises."""
    names: dict[str, Any] = {"__name__": "__main__"}
    for number, cell in enumerate(code_cells(notebook), 1):
        cell["execution_count"], cell["outputs"] = number, _run("".join(cell["source"]), f"cell {number}", names)


def _run(source: str, name: str, names: dict[str, Any]) -> list[dict[str, Any]]:
    tree = ast.parse(source, name)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(tree, name, "exec"), names)
        value = None if last is None else eval(compile(ast.Expression(last.value), name, "eval"), names)  # type: ignore[attr-defined]
    outputs = []
    if printed.getvalue():
        outputs.append(
            {"name": "stdout", "output_type": "stream", "text": printed.getvalue().splitlines(keepends=True)}
        )
    if value is not None:
        bundle = value._repr_mimebundle_() if hasattr(value, "_repr_mimebundle_") else {}
        if hasattr(value, "_repr_html_"):
            bundle["text/html"] = value._repr_html_()
        data = {kind: _encoded(content) for kind, content in sorted({"text/plain": repr(value), **bundle}.items())}
        outputs.append({"data": data, "execution_count": 0, "metadata": {}, "output_type": "execute_result"})
    return outputs


def _encoded(content: Any) -> Any:
    if isinstance(content, bytes):
        return base64.b64encode(content).decode()
    return content.splitlines(keepends=True) if isinstance(content, str) else content


def main(path: Path) -> None:
    """Execute a notebook in place."""
    notebook = load(path)
    execute(notebook)
    for cell in code_cells(notebook):
        for output in cell["outputs"]:
            if "execution_count" in output:
                output["execution_count"] = cell["execution_count"]
    path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
