"""What a worker logs: on stderr, whatever the modules of kernels make of logging."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.forked_workers import fork_workers
from tests.planted import NAME, register_lightly, register_module
from tunedb import settings
from tunedb.core.problem import Problem
from tunedb.store import Store
from tunedb.worker.messages import Finish, Prepare, Ready, Start, Tune, Tuned
from tunedb.worker.process import end_process, start_process, tell

WAIT_S = 60.0  # ample, also on a busy machine
DICT = "{'version': 1, 'handlers': {'own': {'class': 'logging.FileHandler', 'filename': 'own.log'}}, "
DICT += "'root': {'level': 'DEBUG', 'handlers': ['own']}}"


@pytest.mark.parametrize("prepared", [(Prepare((NAME,), None),), ()], ids=["started early", "started late"])
@pytest.mark.parametrize(
    "configure",
    ["basicConfig(filename='own.log')", "basicConfig(filename='own.log', force=True)", f"config.dictConfig({DICT})"],
    ids=["basicConfig", "by force", "dictConfig"],
)
def test_a_kernel_s_module_that_configures_logging_gets_none_of_a_worker_s_messages(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str],
    configure: str, prepared: Sequence[Prepare],
) -> None:  # fmt: skip
    monkeypatch.setenv("PYTHONPATH", register_lightly(tmp_path / "site"))
    monkeypatch.chdir(tmp_path)
    fork_workers(monkeypatch)
    text = f"import logging.config\nlogging.{configure}\nfrom tests.planted import KERNEL\n"
    register_module(tmp_path / "site", text)
    child, events = start_process({"TRITON_INTERPRET": "1"})
    start = Start(-1, 20, settings.current().store, None, 5.0)
    for message in (*prepared, start, Tune(Problem.of(NAME), None, force=False, budget=9.0)):
        tell(child, message)
    assert events.get(timeout=WAIT_S) == Ready()
    assert events.get(timeout=WAIT_S) == Tuned("aborted", None, is_device_lost=False)
    assert end_process(child, WAIT_S, Finish()) == 0
    assert capfd.readouterr().err.count("could not be tuned") == 1
    assert not [line for file in tmp_path.glob("own.log") for line in file.read_text().splitlines() if "tuned" in line]
