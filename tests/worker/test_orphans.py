"""Workers whose parent is gone end, wherever they are: none is left as an orphan that holds a GPU."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.forked_workers import fork_workers
from tests.planted import NAME, problem_of, register_lightly, register_module
from tests.threads import eventually
from tunedb import settings
from tunedb.store import Store
from tunedb.worker.messages import Finish, Prepare, Ready, Start, Tune, Tuned, encode
from tunedb.worker.process import end_process, start_process, tell

PATIENCE_S = 60.0  # ample for an end, also on a busy machine


@pytest.fixture(autouse=True)
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder by which workers know the planted kernel."""
    monkeypatch.setenv("PYTHONPATH", register_lightly(folder := tmp_path / "site"))
    fork_workers(monkeypatch)
    return folder


def start() -> Start:
    """The message that every worker gets."""
    return Start(-1, 20, settings.current().store, None, 5.0)


@pytest.mark.parametrize(
    ("messages", "characters"),
    [((), 1), ((Prepare((NAME,), None),), 20), ((start,), -2), ((Prepare((), None), start), 20)],
    ids=["at first", "prepared", "started", "prepared and started"],
)
def test_a_line_that_the_parent_s_end_cut_off_ends_the_worker(
    store: Store, messages: Sequence[object], characters: int, capfd: pytest.CaptureFixture[str]
) -> None:
    child, events = start_process({"TRITON_INTERPRET": "1"})
    for message in messages:
        tell(child, message() if message is start else message)  # type: ignore[arg-type, operator]
    if start in messages:
        assert events.get(timeout=PATIENCE_S) == Ready()
    assert child.stdin is not None
    child.stdin.write(encode(Tune(problem_of(b1=0.001), None, force=False, budget=9.0))[:characters])
    child.stdin.close()
    child.wait(PATIENCE_S)
    assert events.get(timeout=PATIENCE_S) is None
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize("hang", ["time.sleep(600)", "while True: pass"], ids=["sleeping", "busy"])
def test_a_kernel_s_module_that_hangs_keeps_no_worker_alive(tmp_path: Path, site: Path, hang: str) -> None:
    register_module(site, f"import os, time, pathlib\npathlib.Path(os.environ['HANGS']).touch()\n{hang}\n")
    child, events = start_process({"TRITON_INTERPRET": "1", "HANGS": str(tmp_path / "hangs")})
    tell(child, Prepare((NAME,), None))
    assert eventually((tmp_path / "hangs").exists, PATIENCE_S)
    assert child.stdin is not None
    child.stdin.close()
    child.wait(PATIENCE_S)
    assert events.get(timeout=PATIENCE_S) is None


@pytest.mark.parametrize("reads", ["sys.stdin.read()", "sys.stdin.close()", "os.close(0)"])
def test_a_kernel_s_module_that_uses_stdin_takes_no_message_away(store: Store, site: Path, reads: str) -> None:
    register_module(site, f"import os, sys\n{reads}\nfrom tests.planted import KERNEL\n")
    child, events = start_process({"TRITON_INTERPRET": "1"})
    for message in (Prepare((NAME,), None), start(), Tune(problem_of(b1=0.001), None, force=False, budget=9.0)):
        tell(child, message)  # all at once: some come while the module is loaded
    said = [events.get(timeout=PATIENCE_S) for _ in range(5)]
    assert [type(event).__name__ for event in said] == ["Ready", "SweepStarted", "Trying", "Tried", "Tuned"]
    assert isinstance(said[-1], Tuned)
    assert said[-1].outcome == "sweep"
    assert end_process(child, PATIENCE_S, Finish()) == 0
