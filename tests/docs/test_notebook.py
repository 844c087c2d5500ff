"""The notebooks of the documentation run as they stand, and their stored outputs say what they give now."""

from __future__ import annotations

import copy
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from docs import notebook
from tests import forked
from tests.conftest import runs_interpreter

NOTEBOOKS = sorted((Path(notebook.__file__).parent / "notebooks").glob("*.ipynb"))
OPTIONAL = {"image/png"}  # needs an extra
CHANCE = (  # of each run
    (r"\b[0-9a-f]{12}\b", "UID"),
    (r"ALGORITHM=.*?(?=, (source|time_us)=)", "CONFIG"),  # any may win on a busy machine, and long ones are shortened
    (r"\d[\d,]*(\.\d+)?", "0"),
)


def kinds(cell: dict[str, Any]) -> list[object]:
    """The kinds of a cell's outputs."""
    return [output.get("name") or sorted(set(output["data"]) - OPTIONAL) for output in cell["outputs"]]


def texts(cell: dict[str, Any]) -> list[str]:
    """The texts of a cell's outputs, without what differs between two runs."""
    outputs = ["".join(output.get("text") or output["data"]["text/plain"]) for output in cell["outputs"]]
    for pattern, word in CHANCE:
        outputs = [re.sub(pattern, word, text) for text in outputs]
    return outputs


@runs_interpreter
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_cell_of_a_notebook_runs_and_gives_what_is_stored(path: Path, tmp_path: Path) -> None:
    stored, file = notebook.load(path), tmp_path / "notebook.ipynb"
    emptied = copy.deepcopy(stored)
    for cell in notebook.code_cells(emptied):
        cell["outputs"] = []
    file.write_text(json.dumps(emptied), encoding="utf-8")
    environment = {"TRITON_INTERPRET": "1", "CUDA_VISIBLE_DEVICES": "", "TUNEDB_STORE": str(tmp_path / "other.db")}
    done = forked.run(["-m", "docs.notebook", str(file)], env={**os.environ, **environment})
    assert done.returncode == 0, done.stderr
    executed = notebook.load(file)
    assert [kinds(cell) for cell in notebook.code_cells(executed)] == [
        kinds(cell) for cell in notebook.code_cells(stored)
    ]
    for number, (now, then) in enumerate(
        zip(notebook.code_cells(executed), notebook.code_cells(stored), strict=True), 1
    ):
        assert texts(now) == texts(then), f"cell {number} says something else. Run: python -m docs.notebook {path.name}"
    assert [cell["execution_count"] for cell in notebook.code_cells(stored)] == list(
        range(1, len(notebook.code_cells(stored)) + 1)
    )
    assert any(
        "image/png" in output.get("data", {}) for cell in notebook.code_cells(stored) for output in cell["outputs"]
    )


def test_a_failing_cell_fails_with_its_number() -> None:
    book = {"cells": [{"cell_type": "code", "source": ["1 +", " 1"]}, {"cell_type": "code", "source": ["nothing"]}]}
    with pytest.raises(NameError, match="nothing") as caught:
        notebook.execute(book)
    assert str(caught.traceback[-1].path).endswith("cell 2")
    assert book["cells"][0]["outputs"] == [
        {"data": {"text/plain": ["2"]}, "execution_count": 0, "metadata": {}, "output_type": "execute_result"}
    ]
