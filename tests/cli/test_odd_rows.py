"""One row hides nothing: every command works on the rest, in each format."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Cli, Kernel, put
from tests.cli.test_explain_mark import ASKED, tuned
from tests.fakes import FakeClock, config
from tests.store.odd_rows import TABLES, plant
from tests.store.samples import NOON, trial
from tunedb import settings
from tunedb.core.device import INTERPRETER, Device
from tunedb.core.problem import Config, Problem
from tunedb.core.sweep import Confirmation, Mark, MarkKind, Source, Sweep, UsageCount
from tunedb.store import open_store
from tunedb.tuner.tuner import Tuner

OTHER = Device("NVIDIA L4", "cuda", "sm_89", 58)
FACTS: tuple[dict[str, object], ...] = (
    {"kernel_size": 0, "rows": 2},
    {"kernel_size": "x", "rows": 2},
    {"rows": 2},
    {"kernel_size": 2, "rows": "torch.int8"},
    {"kernel_size": 2, "rows": 2.5},
    {"kernel_size": 2, "rows": None},
)


class Exact(Kernel):
    """A kernel that needs the facts of its problems, as real ones do."""

    def space(self, problem: Problem, device: Device) -> Any:
        """Fail on most other facts."""
        return [] if problem["kernel_size"] < 1 else super().space(problem, device)

    def module_source(self, sweeps: Any) -> str:
        """A line for each sweep, in an order that needs facts of one type."""
        return "\n".join(map(str, sorted(sweep.problem["rows"] for sweep in sweeps)))


def known(n: int, **changes: Any) -> Sweep:
    """A sweep of a problem of the kernel, with a trial of its winner."""
    values = {"problem": Problem.of("pool", rows=n, kernel_size=2), "trials": (trial(config=config(128)),)}
    return tuned(**{**values, **changes})


@pytest.fixture
def good(kernels: dict[str, Kernel], monkeypatch: pytest.MonkeyPatch) -> list[Sweep]:
    """Sound sweeps in a store that is full of odd rows."""
    kernels["pool"] = Exact({128: 1.0, 256: 1.0}, name="pool")
    made = Tuner.__init__
    monkeypatch.setattr(Tuner, "__init__", lambda self, *a, **b: made(self, *a, **(b | {"clock": FakeClock})))
    base = known(1, marks=(Mark(MarkKind.UNPIN, "as it was", NOON),))
    sweeps = [known(2), known(3), known(4, device=OTHER)]
    url = settings.current().store
    with open_store(url) as store:
        store.put_sweep(base)
        store.confirmations.put_all([(base.uid, Confirmation(base.environment, 12.0, 20.0, NOON))])
        store.add_usage([UsageCount(base.problem, INTERPRETER, Source.DEFAULT, 2, NOON, tuned(900).finished or NOON)])
    put(*sweeps)
    for table in TABLES:
        plant(f"sqlite:///{url}", table)
    put(*(known(0, problem=Problem.of("pool", **f), device=device) for f in FACTS for device in (INTERPRETER, OTHER)))
    put(known(5, config=Config.of(BLOCK=128, dtype="x"), time_us=5e-324, default_time_us=1e308))
    return sweeps


COMMANDS: tuple[tuple[tuple[str, ...], set[int]], ...] = (
    (("ls",), {0}),
    (("show", "UID"), {0}),
    (("show", "UID", "-v"), {0}),
    (("explain", *ASKED), {0}),
    (("lookup", *ASKED), {0}),
    (("mark", "UID", "pin", "--reason", "x"), {0}),
    (("verify", "--stale"), {0, 1}),
    (("diff", "interpreter", "NVIDIA L4"), {1}),
    (("misses",), {1}),
    (("misses", "--all"), {1}),
    (("stats",), {0}),
    (("stats", "--by", "kernel,device,host,day"), {0}),
    (("kernels",), {0}),
    (("devices",), {0}),
    (("warm", "pool", "--stale", "--dry-run"), {0}),
    (("warm", "--from-misses", "--dry-run"), {0}),
    (("gc", "--dry-run"), {0}),
    (("doctor",), {0, 1}),
    (("verify", "--kernel", "pool"), {0, 1}),
    (("db", "current"), {0}),
    (("sync", "--with", "OTHER"), {1}),
    (("import", "COPY"), {0, 1}),
)


@pytest.mark.parametrize("format", ["table", "json", "csv"])
def test_every_command_works_on_the_rest(
    format: str, cli: Cli, good: list[Sweep], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with open_store(str(tmp_path / "other.db")):
        pass
    (tmp_path / "copy.db").write_bytes(Path(settings.current().store).read_bytes())
    places = {"UID": good[0].uid, "OTHER": f"sqlite:///{tmp_path}/other.db", "COPY": str(tmp_path / "copy.db")}
    for words, codes in COMMANDS:
        answer = cli(*(places.get(word, word) for word in words), "--format", format)
        assert answer.code in codes, (words, answer.err[-400:])
        if words[0] in ("ls", "explain", "lookup", "show", "mark"):
            assert good[0].uid[:12] in answer.out, words
        if words[0] == "ls":
            assert all(one.uid[:12] in answer.out for one in good)
        if format == "json":
            assert answer.json is not None
    for file_format, device in (("jsonl", None), ("bundle", None), ("python", "NVIDIA L4"), ("module", "NVIDIA L4")):
        target = tmp_path / f"{file_format}.out"
        chosen = () if device is None else ("--device", device)
        answer = cli("export", "--format", file_format, "-o", target, "--kernel", "pool", *chosen)
        assert answer.code == 0, (file_format, answer.err[-400:])
        assert target.stat().st_size > 0
    answer = cli(
        "import", tmp_path / "jsonl.out", "--strict", "--store", str(tmp_path / "third.db"), "--format", "json"
    )
    assert (answer.code, answer.json["rejected"]) == (0, 0)
    assert all(record.levelno < logging.ERROR for record in caplog.records)
