"""From the list to a newcomer's call: a run makes the bundle, and the call is answered by it and sweeps nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from benchmarks import shipped
from tests.conftest import DEVICE, runs_kernels
from tunedb import settings
from tunedb.kernels import avg_pool1d
from tunedb.store import open_store

pytestmark = runs_kernels


def test_a_run_makes_the_bundle_that_answers_a_newcomer_and_the_next_run_leaves_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "list.jsonl").write_text(json.dumps({"id": "a", "shape": [1, 2, 16], "kernel_size": 4}) + "\n")
    bundle, store = tmp_path / "b.db", tmp_path / "s.db"
    words = [f"--list={tmp_path / 'list.jsonl'}", f"--bundle={bundle}", f"--store={store}"]
    shipped.main(words)
    assert ": 2 of 2 (" in capsys.readouterr().out
    made = bundle.read_bytes()
    store.unlink()
    shipped.main(words)
    assert bundle.read_bytes() == made
    newcomer = tmp_path / "newcomer.db"
    with settings.using(store=str(newcomer), bundles=[str(bundle)], mode="tune"):
        avg_pool1d(torch.randn(1, 2, 16, device=DEVICE), 4)
    stored = open_store(str(newcomer), create=False)
    assert stored is None or list(stored.iter_sweeps(finished=False)) == []
