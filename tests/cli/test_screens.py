"""Golden screens: what commands print on terminals of 80, 120 and 200 columns, as a terminal's emulator shows it.

The screens lie in `screens/`. `WRITE_SCREENS=1 python -m pytest tests/cli/test_screens.py` writes them again: look at
each.
"""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
import pty
import re
import struct
import termios
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pyte
import pytest

from tests.cli.conftest import Cli, put
from tests.store.samples import DEVICE, sweep, trial
from tunedb import settings
from tunedb.cli import run
from tunedb.core.device import Device
from tunedb.core.problem import Config, Problem
from tunedb.core.sweep import Mark, MarkKind, Sweep, now

SCREENS = Path(__file__).parent / "screens"
WIDTHS = (80, 120, 200)
LINES = 400
OTHER = Device("NVIDIA H100 80GB HBM3", "cuda", "sm_90", 132)
POOL = {
    "alignment": 16, "batch": 1, "ceil_mode": False, "count_include_pad": True, "dtype": "float32", "layout": "rows",
    "padding": 0,
}  # fmt: skip
UIDS = tuple(f"{digit}" * 32 for digit in "123456")


def pooling(uid: str, length: int, device: Device, ended: datetime, **changes: object) -> Sweep:
    """A sweep as average pooling's are, which ended then."""
    problem = Problem.of("avg_pool1d", **POOL, rows=8192, length=length, kernel_size=8, stride=8)
    knobs = {"ALGORITHM": "vectors", "BLOCK_OUT": 4096, "ROWS_PER_PROG": 1, "num_warps": 4}
    values = {"config": Config.of(**knobs), "time_us": 123.456, "default_time_us": 234.5, "host": "node7"}
    trials = (
        trial(config=Config.of(**knobs), time_us=123.456),
        trial(config=Config.of(**{**knobs, "BLOCK_OUT": 16384}), time_us=234.5, p20_us=230.0, p80_us=240.0),
        trial(config=Config.of(**{**knobs, "num_warps": 8}), status="out_of_resources", time_us=None, p20_us=None,
              p80_us=None, samples=0, error="out of resource: shared memory, Required: 262144, Hardware limit: 232448. "
              "Reducing block sizes or num_stages may help."),
    )  # fmt: skip
    started = ended - timedelta(seconds=3)
    whole = {"problem": problem, "device": device, "trials": trials, "started": started, "finished": ended}
    return sweep(uid=uid, **{**whole, **values, **changes})


@pytest.fixture
def shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store with sweeps of every kind, some minutes to days old."""
    monkeypatch.setattr("tunedb.cli.device.current_index", lambda: -1)
    monkeypatch.chdir(tmp_path)
    moment = now()
    pin = (Mark(MarkKind.PIN, "measured by hand", uid="a" * 32),)
    bad = (Mark(MarkKind.QUARANTINE, "wrong on the last column", uid="b" * 32),)
    ages = [timedelta(**{unit: count}, seconds=30) for unit, count in
            (("days", 3), ("hours", 5), ("minutes", 12), ("days", 40), ("hours", 2))]  # fmt: skip
    times = [moment - age for age in ages]
    put(
        pooling(UIDS[0], 65536, DEVICE, times[0], marks=pin),
        pooling(UIDS[1], 65536, DEVICE, times[1], complete=False),
        pooling(UIDS[2], 65536, DEVICE, times[2], marks=bad),
        pooling(UIDS[3], 512, OTHER, times[3], origin="imported"),
        pooling(UIDS[4], 512, OTHER, times[4], status="failed", config=None, time_us=None, default_time_us=None),
    )
    settings.configure(store="tunedb.db")


@contextlib.contextmanager
def terminal(columns: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[pyte.Screen]:
    """A terminal of that width as stdout; the screen has what was printed when the block has ended."""
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, columns, 0, 0))
    screen = pyte.Screen(columns, LINES)
    stream = pyte.ByteStream(screen)

    def read() -> None:
        with contextlib.suppress(OSError):  # the other end is closed
            while data := os.read(leader, 65536):
                stream.feed(data)

    reader = threading.Thread(target=read)
    reader.start()
    with monkeypatch.context() as patched:
        patched.setenv("TERM", "xterm-256color")
        patched.setenv("COLUMNS", str(columns))
        for variable in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
            patched.delenv(variable, raising=False)
        with io.TextIOWrapper(io.FileIO(follower, "w"), encoding="utf-8", write_through=True) as stdout:
            patched.setattr("sys.stdout", stdout)
            yield screen
    reader.join(30)
    os.close(leader)


@pytest.mark.usefixtures("shown")
@pytest.mark.parametrize("columns", WIDTHS)
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("ls", ["ls"]),
        ("ls-one-device", ["ls", "--device", "h200", "--sort", "age"]),
        ("show", ["show", UIDS[0][:12]]),
        ("show-verbose", ["show", UIDS[0][:12], "-v"]),
        ("stats", ["stats"]),
        ("devices", ["devices"]),
    ],
)
def test_a_terminal_shows(cli: Cli, name: str, words: list[str], columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    with terminal(columns, monkeypatch) as screen:
        assert run(words) == 0
    lines = "\n".join(line.rstrip() for line in screen.display).rstrip() + "\n"
    path = SCREENS / f"{name}-{columns}.txt"
    stable = _without_times(lines)
    if os.environ.get("WRITE_SCREENS"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(stable)
    assert stable == path.read_text()
    in_a_pipe = cli(*words).out
    assert set(in_a_pipe.split()) - set(lines.split()) <= {
        "-",
        "spills",
    }  # no word is broken or lost but a column's without a value


def _without_times(text: str) -> str:
    """Return the text without the times of the day, which are those of the test."""
    return re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+\+00:00", lambda match: "T" * len(match[0]), text)
